//! What a model needs of GPUs whose size and kind the agent knows.

use collector_tests::agent::{Agent, headroom};
use collector_tests::model::checkpoint;
use collector_tests::needs;
use collector_tests::nvml::host;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use serde_json::{Value, json};

fn need(agent: &Agent, line: &[&str]) -> Value {
    let mut command = headroom("need");
    let output =
        command.args(["--json", "--config", "/dev/null", "--listen", &agent.address]).args(line).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn shares_and_kinds_of_gpus_come_from_the_agent() {
    needs!(is_root(), "programs need root");
    let mut nvml = host(&["GPU-a", "GPU-b"]);
    nvml.change("/gpus/1/compute_capability", json!([7, 5]));
    let agent = nvml.agent();
    agent.scrape_until("both GPUs", |it| it.has("headroom_gpu_memory_bytes", &[("uuid", "GPU-b")]));
    let folder = scratch();
    let model = folder.join("llama");
    checkpoint(&model, 16 << 30);
    let line = ["--", "vllm", "serve", model.to_str().unwrap(), "--gpu-memory-utilization", "0.75", "-tp", "2"];
    let said = need(&agent, &line);
    assert_eq!(said["total"]["vram"], json!({"0": 60u64 << 30, "1": 60u64 << 30}), "{said}");
    assert_eq!(said["missing"], json!([]));
    // One of the two will do.
    let said = need(&agent, &["musicgen-large"]);
    assert_eq!((&said["need"]["compute_capability"], said["need"].get("refused")), (&json!(80), None), "{said}");
    nvml.change("/gpus/0/compute_capability", json!([7, 0]));
    agent.await_rounds();
    let said = need(&agent, &["musicgen-large"]);
    let why = "it needs a compute capability of 8.0, and no GPU here has more than 7.5";
    assert_eq!(said["need"]["refused"][0]["sentence"], json!(why), "{said}");
}
