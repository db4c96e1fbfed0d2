//! Which model server a process is, from its name and its command line; both are text of whoever started it. Knows neither sockets nor what
//! a server answers.

use core::net::IpAddr;
use std::sync::Arc;

use super::name;
use super::setting::{self, Arguments, Settings};
use crate::need::command::split_program;
use crate::statistic::model::Kind;

/// A process that is of a model server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Process {
    Server(Found),
    /// It works for another process, which is the server.
    Part,
}

/// A model server as its command line tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub kind: Kind,
    /// Where it is asked; that of its metrics if it has another.
    pub port: u16,
    /// Its command line says the port. Otherwise it is the usual one, and its environment may say another.
    pub port_given: bool,
    /// The address that it was told to listen on.
    pub host: Option<IpAddr>,
    /// Base name of its model, or the name that it was told to give it.
    pub model: Option<Arc<str>>,
    /// It speaks TLS.
    pub tls: bool,
    /// Whoever asks it for numbers must have a key.
    pub key: bool,
    pub settings: Settings,
}

/// More arguments are not read.
const ARGUMENTS: usize = 1024;
/// The kernel cuts names of processes to this many bytes.
const COMM: usize = 15;

/// Whether a process with this name may be a server, so that its command line is worth reading.
pub fn may_serve(comm: &[u8]) -> bool {
    const NAMES: [&str; 10] = [
        "llama-server",
        "llama-cpp-server",
        "llama",
        "vllm",
        "sglang",
        "text-generation-router",
        "text-embeddings-router",
        "tritonserver",
        "lmdeploy",
        "ollama",
    ];
    // PyTorch names the thread that loads it; both interpreters of conda and of Debian have a version.
    const BEGINNINGS: [&[u8]; 2] = [b"python", b"pt_main_thread"];
    let same = |name: &str| name.as_bytes()[..name.len().min(COMM)] == *comm;
    NAMES.iter().any(|name| same(name))
        || BEGINNINGS.iter().any(|beginning| comm.starts_with(&beginning[..beginning.len().min(COMM)]))
}

/// The server that a process is, from its name and its command line as /proc/PID/cmdline has it: arguments that end with a zero byte.
pub fn identify(comm: &[u8], cmdline: &[u8]) -> Option<Process> {
    let title = |bytes: &[u8]| bytes.starts_with(b"VLLM::") || bytes.starts_with(b"sglang::");
    if title(comm) || title(cmdline) {
        return Some(Process::Part);
    }
    let arguments = cmdline.split(|byte| *byte == 0).take(ARGUMENTS);
    let mut line: Vec<_> = arguments.map(String::from_utf8_lossy).collect();
    if line.last().is_some_and(|last| last.is_empty()) {
        line.pop();
    }
    let (program, rest) = split_program(&line)?;
    let verb = rest.first().map(AsRef::as_ref);
    let after = rest.get(1..).unwrap_or_default();
    let (kind, arguments) = match (program, verb) {
        ("llama-server" | "llama-cpp-server", _) => (Kind::LlamaCpp, rest),
        ("llama", Some("serve")) => (Kind::LlamaCpp, after),
        ("vllm.entrypoints.openai.api_server" | "vllm.entrypoints.api_server", _) => (Kind::Vllm, rest),
        ("vllm" | "vllm.entrypoints.cli.main", Some("serve")) => (Kind::Vllm, after),
        ("sglang.launch_server", _) => (Kind::Sglang, rest),
        ("sglang", Some("serve")) => (Kind::Sglang, after),
        ("ollama", Some("serve")) => (Kind::Ollama, after),
        ("lmdeploy", Some("serve")) if after.first().is_some_and(|verb| verb == "api_server") => {
            (Kind::Lmdeploy, &after[1..])
        }
        ("text-generation-router", _) => (Kind::Tgi, rest),
        ("text-embeddings-router", _) => (Kind::Tei, rest),
        ("tritonserver", _) => (Kind::Triton, rest),
        ("ollama", Some("runner"))
        | ("text-generation-launcher" | "text-generation-server" | "triton_python_backend_stub", _) => {
            return Some(Process::Part);
        }
        _ => return None,
    };
    Some(Process::Server(found(kind, Arguments(arguments))))
}

fn found<T: AsRef<str>>(kind: Kind, arguments: Arguments<'_, T>) -> Found {
    let flags = flags(kind);
    let port = arguments.value(flags.port).and_then(|port| port.parse().ok()).filter(|port| *port > 0);
    let model = arguments.value(flags.alias).or_else(|| arguments.value(flags.model)).or_else(|| {
        let first = arguments.0.first().map(AsRef::as_ref);
        first.filter(|first| flags.positional && !first.starts_with('-'))
    });
    let kind = match kind {
        // It asks `/props` before it believes that.
        Kind::LlamaCpp if !arguments.has(LLAMA_MODEL) => Kind::LlamaRouter,
        kind => kind,
    };
    Found {
        kind,
        port: port.unwrap_or(flags.usual),
        port_given: port.is_some(),
        host: arguments.value(flags.host).and_then(address),
        model: model.map(name::base).filter(|name| !name.is_empty()),
        tls: arguments.has(&["--ssl-keyfile", "--ssl-key-file", "--ssl-certfile", "--ssl-cert-file", "--ssl"]),
        key: arguments.has(&["--api-key", "--api-key-file", "--api-keys", "--admin-api-key"]),
        settings: match kind {
            Kind::LlamaCpp | Kind::LlamaRouter => setting::llama(arguments),
            Kind::Vllm => setting::vllm(arguments),
            Kind::Sglang => setting::sglang(arguments),
            Kind::Lmdeploy => setting::lmdeploy(arguments),
            Kind::Triton => setting::triton(arguments),
            Kind::Ollama | Kind::Tgi | Kind::Tei => Settings::default(),
        },
    }
}

fn address(host: &str) -> Option<IpAddr> {
    match host {
        "localhost" => Some([127, 0, 0, 1].into()),
        host => host.trim_matches(['[', ']']).parse().ok(),
    }
}

/// A llama-server with one of these is no router.
const LLAMA_MODEL: &[&str] =
    &["-m", "--model", "-mu", "--model-url", "-hf", "-hfr", "--hf-repo", "-hff", "--hf-file", "-dr", "--docker-repo"];

/// The flags of a server that say where it is, and of what it is.
struct Flags {
    port: &'static [&'static str],
    usual: u16,
    host: &'static [&'static str],
    model: &'static [&'static str],
    alias: &'static [&'static str],
    /// The model stands first.
    positional: bool,
}

fn flags(kind: Kind) -> Flags {
    let plain = |usual, model, alias, positional| Flags {
        port: &["--port"],
        usual,
        host: &["--host"],
        model,
        alias,
        positional,
    };
    match kind {
        Kind::Vllm => plain(8000, &["--model"], &["--served-model-name"], true),
        Kind::Sglang => plain(30000, &["--model-path", "--model"], &["--served-model-name"], false),
        Kind::LlamaCpp | Kind::LlamaRouter => {
            plain(8080, &["-m", "--model", "-hf", "-hfr", "--hf-repo"], &["-a", "--alias"], false)
        }
        Kind::Ollama => plain(11434, &[], &[], false),
        Kind::Tgi => Flags {
            port: &["-p", "--port"],
            host: &["--hostname"],
            ..plain(3000, &["--tokenizer-name", "--model-id"], &[], false)
        },
        Kind::Tei => Flags {
            port: &["-p", "--port"],
            host: &["--hostname"],
            ..plain(3000, &["--model-id"], &["--served-model-name"], false)
        },
        Kind::Triton => Flags {
            port: &["--metrics-port"],
            host: &["--metrics-address", "--http-address"],
            ..plain(8002, &[], &[], false)
        },
        Kind::Lmdeploy => Flags {
            port: &["--server-port"],
            host: &["--server-name"],
            ..plain(23333, &["--model-path"], &["--model-name"], true)
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::statistic::model::NAME;

    fn of(line: &str) -> Option<Process> {
        let bytes: Vec<u8> = line.split(' ').flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
        identify(b"", &bytes)
    }

    fn server(line: &str) -> Found {
        match of(line) {
            Some(Process::Server(found)) => found,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn servers_are_known_by_their_command_lines() {
        for (line, kind, port, model) in [
            ("/opt/bin/llama-server -m /models/tiny.gguf --port 8081", Kind::LlamaCpp, 8081, "tiny.gguf"),
            ("llama-server --models-dir /models", Kind::LlamaRouter, 8080, ""),
            ("llama-server --model /b/sha256-x --port 43210 --host 127.0.0.1 --alias y", Kind::LlamaCpp, 43210, "y"),
            ("llama serve -hf ggml-org/x-GGUF", Kind::LlamaCpp, 8080, "x-GGUF"),
            ("/venv/bin/python3 /opt/llama-server -m x.gguf --port 9", Kind::LlamaCpp, 9, "x.gguf"),
            ("/usr/bin/python3 /usr/local/bin/vllm serve meta/L-8B --port=8001", Kind::Vllm, 8001, "L-8B"),
            ("python3 -m vllm.entrypoints.openai.api_server --model meta/L-8B", Kind::Vllm, 8000, "L-8B"),
            ("vllm serve meta/L-8B --served-model-name chat other", Kind::Vllm, 8000, "chat"),
            ("python -m sglang.launch_server --model-path q/Q --port 30001", Kind::Sglang, 30001, "Q"),
            ("sglang serve --model-path q/Q", Kind::Sglang, 30000, "Q"),
            ("/usr/local/bin/ollama serve", Kind::Ollama, 11434, ""),
            ("text-generation-router --port 80 --tokenizer-name a/b", Kind::Tgi, 80, "b"),
            ("text-embeddings-router --model-id BAAI/bge -p 8088", Kind::Tei, 8088, "bge"),
            ("tritonserver --model-repository=/models --http-port 9000 --metrics-port=9002", Kind::Triton, 9002, ""),
            ("tritonserver --model-repository=/models", Kind::Triton, 8002, ""),
            ("/venv/bin/python /venv/bin/lmdeploy serve api_server i/I-7b --server-port 4", Kind::Lmdeploy, 4, "I-7b"),
        ] {
            let found = server(line);
            assert_eq!(
                (found.kind, found.port, found.model.as_deref().unwrap_or_default()),
                (kind, port, model),
                "{line}"
            );
            assert_eq!(found.port_given, line.contains("port") || line.contains("-p "), "{line}");
        }
    }

    #[test]
    fn what_asking_needs_is_known() {
        let found = server("llama-server -m x --host 0.0.0.0 --api-key secret --ssl-key-file k --sleep-idle-seconds 4");
        assert_eq!((found.host, found.key, found.tls), (Some([0, 0, 0, 0].into()), true, true));
        assert_eq!(found.settings.sleep, Some(4_000_000_000));
        assert!(!format!("{found:?}").contains("secret"), "a key is not kept");
        assert_eq!(server("vllm serve x --host localhost").host, Some([127, 0, 0, 1].into()));
        assert_eq!(server("vllm serve x --host gpu1.example").host, None);
        assert_eq!(server("vllm serve x --port 70000").port, 8000);
    }

    #[test]
    fn parts_of_a_server_are_not_servers() {
        for line in [
            "VLLM::EngineCore",
            "VLLM::Worker_TP0",
            "sglang::scheduler_TP0",
            "ollama runner --model x --port 1",
            "text-generation-launcher --model-id x",
            "python3 /opt/bin/text-generation-server serve x",
            "triton_python_backend_stub x",
        ] {
            assert_eq!(of(line), Some(Process::Part), "{line}");
        }
        assert_eq!(identify(b"VLLM::EngineCor", b""), Some(Process::Part));
        for line in
            ["", "bash", "vllm bench", "ollama run x", "python3 train.py", "lmdeploy chat x", "llama-cli -m x", "nginx"]
        {
            assert_eq!(of(line), None, "{line}");
        }
    }

    #[test]
    fn names_of_processes_are_cut() {
        for comm in [
            "llama-server",
            "llama-cpp-serve",
            "vllm",
            "python3.12",
            "text-generation",
            "text-embeddings",
            "pt_main_thread",
        ] {
            assert!(may_serve(comm.as_bytes()), "{comm}");
        }
        for comm in ["", "bash", "llama-serve", "vllmx", "VLLM::EngineCor", "text-generatio"] {
            assert!(!may_serve(comm.as_bytes()), "{comm}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

        #[test]
        fn any_command_line_can_be_read(comm in prop::collection::vec(any::<u8>(), 0..16), words in prop::collection::vec(prop_oneof![
            prop::sample::select(vec![&b"llama-server"[..], b"vllm", b"serve", b"python3", b"-m", b"--port", b"--host", b"--model=\xff",
                b"sglang.launch_server", b"--cache-ram", b"99999999999999999999", b"-1", b"--kv-offloading-size", b"--hicache-size"])
                .prop_map(<[u8]>::to_vec),
            prop::collection::vec(any::<u8>(), 0..100)], 0..12)) {
            if let Some(Process::Server(found)) = identify(&comm, &words.join(&0)) {
                prop_assert!(found.port > 0);
                prop_assert!(found.model.is_none_or(|name| name.len() <= NAME && name.chars().all(crate::text::is_shown)));
            }
        }
    }
}
