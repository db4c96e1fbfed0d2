//! `headroom need` as a shell sees it, without an agent: folders, names, commands, and what is refused.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use collector_tests::agent::headroom;
use collector_tests::model::{checkpoint, hole, ollama};
use collector_tests::scratch::scratch;
use serde_json::Value;

const GIB: u64 = 1 << 30;

/// The verb where no agent answers, and with no other models than those of the test.
fn command(line: &[&str]) -> Command {
    let mut command = headroom("need");
    command.args(["--config", "/dev/null", "--socket", "/nonexistent/socket", "--listen", "127.0.0.1:1"]).args(line);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("OLLAMA_") || name.starts_with("LLAMA_ARG_") || name == "CUDA_VISIBLE_DEVICES" {
            command.env_remove(&*name);
        }
    }
    command.env("OLLAMA_MODELS", "/nonexistent").env("HF_HUB_CACHE", "/nonexistent");
    command
}

fn json(mut command: Command) -> Value {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The exit code and what is said.
fn refused(line: &[&str]) -> (i32, String) {
    let output = command(line).output().unwrap();
    (output.status.code().unwrap(), text(&output))
}

#[test]
fn each_way_to_start_a_server_is_understood() {
    let folder = scratch();
    let model = folder.join("llama");
    checkpoint(&model, 16 * GIB);
    let model = model.to_str().unwrap();
    let vram = |line: &[&str]| {
        let said = json(command(&[&["--json", "--gpu-memory", "80G"], line].concat()));
        assert_eq!(said["missing"], serde_json::json!([]), "{said}");
        said["total"]["vram"]["0"].as_u64().unwrap()
    };
    let half = ["--gpu-memory-utilization", "0.5"];
    assert_eq!(vram(&[&[model][..], &half].concat()), 40 * GIB);
    assert_eq!(vram(&[&["--", "vllm", "serve", model][..], &half].concat()), 40 * GIB);
    let two = [&["--", "vllm", "serve", model, "-tp", "2"][..], &half].concat();
    assert_eq!(vram(&two), 40 * GIB, "one size is that of all GPUs");
    let module = ["--", "python3", "-m", "vllm.entrypoints.openai.api_server", "--model", model];
    assert_eq!(vram(&[&module[..], &half].concat()), 40 * GIB);
    assert_eq!(vram(&["--", "text-generation-launcher", "--model-id", model]), 80 * GIB);
    let sglang = vram(&["--", "python", "-m", "sglang.launch_server", "--model-path", model]);
    assert!(sglang.abs_diff(80 * GIB) < GIB / 20, "{sglang}");
}

#[test]
fn what_is_not_known_is_said() {
    let folder = scratch();
    let model = folder.join("llama");
    checkpoint(&model, 16 * GIB);
    let line = ["--json", "--gpus", "1", "--", "vllm", "serve", model.to_str().unwrap(), "--brand-new-flag", "7"];
    let said = json(command(&line));
    assert_eq!(said["need"]["not_considered"], serde_json::json!(["--brand-new-flag 7"]));
    assert_eq!(said["need"]["shares"][0]["millionths"], 920_000);
    assert!(said["missing"][0].as_str().unwrap().starts_with("how much 92 % of GPU 0 is"), "{said}");
    let absent = json(command(&["--json", "--gpu-memory", "80G", "--", "vllm", "serve", "org/absent"]));
    assert!(absent["missing"][0].as_str().unwrap().starts_with("what org/absent needs"), "{absent}");
    let output = command(&["--gpu-memory", "8G", "--", "vllm", "serve", model.to_str().unwrap()]).output().unwrap();
    assert!(
        text(&output).contains("\nIt would not start:\n  - 92 % of GPU 0 (8.00 GiB) are 7.36 GiB"),
        "{}",
        text(&output)
    );
}

/// Bytes of the parts of this name.
fn part(said: &Value, what: &str) -> u64 {
    let parts = said["need"]["parts"].as_array().unwrap().iter();
    parts.filter(|part| part["what"] == what).map(|part| part["amount"].as_u64().unwrap()).sum()
}

#[test]
fn variables_of_the_environment_set_flags() {
    let folder = scratch();
    let model = folder.join("m.gguf");
    let header = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/need/llama-mha.gguf")).unwrap();
    hole(&model, &header, GIB);
    let model = model.to_str().unwrap();
    let cache = |mut command: Command| {
        command.env("LLAMA_ARG_CTX_SIZE", "8192").env("LLAMA_ARG_BRAND_NEW", "7");
        let said = json(command);
        assert_eq!(said["need"]["not_considered"], serde_json::json!(["LLAMA_ARG_BRAND_NEW=7"]));
        part(&said, "KV cache") >> 20
    };
    // 128 MiB at 4096 tokens, by llama.cpp's own estimator.
    let start = ["--json", "--gpus", "0", "--"];
    assert_eq!(cache(command(&["--json", "--gpus", "0", model])), 256);
    assert_eq!(cache(command(&[&start[..], &["llama-server", "-m", model, "-c", "4096"]].concat())), 128);
    let before = ["env", "LLAMA_ARG_CTX_SIZE=2048", "llama-server", "-m", model];
    assert_eq!(cache(command(&[&start[..], &before].concat())), 64, "what stands before it is nearer");
}

#[test]
fn what_is_declared_settles_what_was_not_known() {
    let line = |declared: &[&str]| {
        let said =
            json(command(&[&["--json", "--gpus", "1"], declared, &["--", "vllm", "serve", "org/absent"]].concat()));
        said["missing"].as_array().unwrap().len()
    };
    // The model, and the share of a GPU whose size is not known.
    assert_eq!([line(&[]), line(&["--memory", "8G"]), line(&["--vram", "20G"])], [2, 2, 1]);
    assert_eq!(line(&["--memory", "8G", "--vram", "20G"]), 0);
}

#[test]
fn models_of_ollama_are_found_by_name() {
    let folder = scratch();
    let header = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/need/llama-mha.gguf")).unwrap();
    ollama(&folder, "tiny:1b", r#"{"num_ctx":2048}"#, &header, GIB);
    let with = |line: &[&str]| {
        let mut command = command(line);
        command.env("OLLAMA_MODELS", &*folder);
        json(command)
    };
    // 128 MiB at 4096 tokens, by llama.cpp's own estimator.
    for line in [
        &["--json", "--gpus", "0", "--", "ollama", "run", "tiny:1b", "hello"][..],
        &["--json", "--gpus", "0", "tiny:1b"],
    ] {
        let said = with(line);
        let parts = said["need"]["parts"].as_array().unwrap();
        let cache = parts.iter().find(|part| part["what"] == "KV cache").unwrap();
        assert_eq!(cache["amount"], 64 << 20, "{said}");
    }
    let (code, said) = refused(&["ollama:tiny:1b"]);
    assert!(code == 2 && said.contains("Ollama has no model tiny:1b here"), "{said}");
}

#[test]
fn models_are_declared_by_name() {
    let folder = scratch();
    let config = folder.join("headroom.toml");
    fs::write(&config, "[[model]]\nname = \"whisper-*\"\nvram = \"10G\"\nnote = \"measured here\"\n").unwrap();
    let with = |line: &[&str]| {
        let mut command = headroom("need");
        command.arg("--json").arg("--config").arg(&config);
        command.args(["--listen", "127.0.0.1:1", "--socket", "/nonexistent/socket"]).args(line);
        json(command)
    };
    for line in [&["openai/whisper-large-v3"][..], &["--", "python", "transcribe.py", "--model=whisper-small"]] {
        let said = with(line);
        assert_eq!(said["total"]["vram"]["0"], 10 * GIB, "{said}");
        assert_eq!(said["need"]["assumptions"][0], "measured here");
    }
    let musicgen = json(command(&["--json", "facebook/musicgen-medium"]));
    assert_eq!(
        (&musicgen["total"]["vram"]["0"], &musicgen["total"]["host_hard"]),
        (&12_000_000_000u64.into(), &6_000_000_000u64.into())
    );
    assert_eq!(musicgen["need"]["compute_capability"], 70);
}

#[test]
fn what_cannot_be_is_refused_with_a_reason() {
    let folder = scratch();
    let pipe = folder.join("pipe.gguf");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (line, code, why) in [
        (&["--", "bash", "-c", "x"][..], 2, "bash: what this program needs is not known"),
        (&["no-such-model"], 2, "no-such-model: what this program needs is not known"),
        (&["--", "vllm", "serve", "--port", "8000"], 2, "names no model"),
        (&["--", "vllm", "serve", "m", "--gpu-memory-utilization", "-1"], 2, "a share above 0"),
        (&["--", "ollama", "run", "../../etc/passwd"], 2, "cannot be the name of a model of Ollama"),
        (&["--gpu-memory", "huge", "--", "vllm", "serve", "m"], 2, "--gpu-memory huge"),
        (&[pipe.to_str().unwrap()], 1, "is not a regular file"),
        (&["--", "vllm", "serve", pipe.to_str().unwrap()], 1, "is not a folder with a model"),
    ] {
        let (found, said) = refused(line);
        assert!(found == code && said.contains(why), "{line:?}: {found}: {said}");
    }
    let declared = json(command(&["--json", "--memory", "3G", "--", "./train.sh"]));
    assert_eq!(declared["total"]["host_hard"], 3 * GIB);
}
