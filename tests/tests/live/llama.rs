//! A real llama.cpp server with a made-up model of 400 MB, in a cgroup with less room and with enough: what was foretold of it happens.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use collector_tests::agent::{Agent, PATIENCE, exchange, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::require::{is_root, tools};
use collector_tests::scratch::scratch;
use collector_tests::{gguf, needs};
use serde_json::{Value, json};

const MB: u64 = 1_000_000;
/// 406 MB of weights.
const LAYERS: u32 = 9;
/// The shipped rule, without its minutes of patience.
const CONFIG: &str = "tick = \"200ms\"\n[[rule]]\nalert = \"WorkloadReclaimStall\"\nrate = \"2s\"\nfor = \"0s\"\n";
const TOLD: (&str, &str) = ("alert", "WorkloadReclaimStall");

fn python() -> PathBuf {
    tools().join("xllamacpp/venv/bin/python3")
}

/// The command line of the server, as a shell would have it.
fn line(model: &Path, more: &[&str]) -> Vec<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/llama/llama-server");
    let python = python();
    let flags = ["-c", "512", "-np", "1", "-t", "1", "--cache-ram", "0"];
    let words = [python.to_str().unwrap(), script, "-m", model.to_str().unwrap()];
    words.iter().chain(&flags).chain(more).map(|word| (*word).to_owned()).collect()
}

/// The exit code of `admit`, asked from within the cgroup, and the verdict.
fn admit(agent: &Agent, cgroup: &Cgroup, line: &[String]) -> (i32, Value) {
    let mut command = headroom("admit");
    command
        .args(["--strict", "--json", "--config", "/dev/null", "--socket"])
        .arg(agent.directory().join("headroom.sock"));
    // There may be GPUs here, and the host may be busy: then others than critical work would wait.
    command
        .args(["--gpus", "0", "--priority", "critical", "--"])
        .args(line)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let output = cgroup.spawn(&mut command).wait_with_output().unwrap();
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

/// A server that is ended with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    fn start(cgroup: &Cgroup, line: &[String]) -> Server {
        let mut command = Command::new(&line[0]);
        Server(cgroup.spawn(command.args(&line[1..]).stdout(Stdio::piped()).stderr(Stdio::null())))
    }

    /// Its address, once it has loaded the model; `None` if it ends before.
    fn address(&mut self) -> Option<String> {
        let mut text = String::new();
        BufReader::new(self.0.stdout.take().unwrap()).read_line(&mut text).unwrap();
        text.trim().strip_prefix("http://").map(str::to_owned)
    }
}

/// Tokens that it makes of a prompt.
fn tokens(address: &str, count: u32) -> u64 {
    let body = json!({"prompt": "abc", "n_predict": count, "ignore_eos": true}).to_string();
    let request = format!(
        "POST /completion HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let response = exchange(address, &request);
    let answer = response.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    let (begin, end) = (answer.find('{').unwrap_or(0), answer.rfind('}').map_or(0, |end| end + 1));
    let answer: Value = serde_json::from_str(&answer[begin..end]).unwrap_or_else(|why| panic!("{why}: {response}"));
    answer["tokens_predicted"].as_u64().unwrap_or_else(|| panic!("{answer}"))
}

/// The kernel's count of pages of files that were dropped and read again, in this cgroup.
fn refaults(cgroup: &Cgroup) -> u64 {
    let text = std::fs::read_to_string(cgroup.memory().join("memory.stat")).unwrap();
    let names = ["workingset_refault_file ", "workingset_refault "];
    let count = names.iter().find_map(|name| text.lines().find_map(|line| line.strip_prefix(name)));
    count.map_or(0, |count| count.parse().unwrap())
}

#[test]
fn what_was_foretold_of_a_real_server_happens() {
    needs!(is_root(), "cgroups and programs need root");
    needs!(python().is_file(), "llama.cpp's server is not installed: cargo xtask test");
    let folder = scratch();
    needs!(folder.is_on_disk(), "the temporary directory is in memory: set TMPDIR");
    let model = folder.join("made-up.gguf");
    let weights = gguf::llama(&model, LAYERS);
    assert!((400 * MB..420 * MB).contains(&weights), "{weights}");
    let agent = Agent::start(CONFIG);

    let small = Cgroup::new("llama-300");
    small.limit(300 * MB);
    // Read into anonymous memory it does not fit, and so the kernel says.
    let read = line(&model, &["--load-mode", "none"]);
    let (code, verdict) = admit(&agent, &small, &read);
    assert_eq!((code, verdict["verdict"].as_str()), (22, Some("no")), "{verdict}");
    assert_eq!(Server::start(&small, &read).address(), None, "it fits after all");
    assert!(small.kills() > 0);

    // Mapped it fits, but is read again and again.
    let mapped = line(&model, &[]);
    let (code, verdict) = admit(&agent, &small, &mapped);
    assert_eq!((code, verdict["verdict"].as_str()), (20, Some("tight")), "{verdict}");
    let kills = small.kills();
    let mut server = Server::start(&small, &mapped);
    let address = server.address().expect("it loads");
    let (before, labels) = (refaults(&small), [("workload", small.path.as_str()), TOLD]);
    assert_eq!(tokens(&address, 2), 2);
    let again = (refaults(&small) - before) * 4096;
    assert!(again > weights / 2, "only {again} bytes were read again");
    let deadline = Instant::now() + PATIENCE;
    while !agent.scrape().has("headroom_alerts", &labels) {
        assert!(Instant::now() < deadline, "nobody was told");
        assert_eq!(tokens(&address, 2), 2);
    }
    assert_eq!(small.kills(), kills, "it is slow, and not killed");
    drop(server);

    // With room for it, it fits and stays in memory.
    let large = Cgroup::new("llama-600");
    large.limit(600 * MB);
    // What the other has read is not charged to this one.
    std::fs::write("/proc/sys/vm/drop_caches", "1").unwrap();
    let (code, verdict) = admit(&agent, &large, &mapped);
    assert_eq!((code, verdict["verdict"].as_str()), (0, Some("yes")), "{verdict}");
    let mut server = Server::start(&large, &mapped);
    let address = server.address().expect("it loads");
    assert_eq!(tokens(&address, 4), 4);
    let before = refaults(&large);
    assert_eq!(tokens(&address, 4), 4);
    assert!((refaults(&large) - before) * 4096 < weights / 20, "{} pages were read again", refaults(&large) - before);
    assert_eq!(large.kills(), 0);
    assert!(!agent.settle().has("headroom_alerts", &[("workload", large.path.as_str()), TOLD]), "it fits");
}
