//! Observing wakes and loads nothing: a llama.cpp server that sleeps when nobody asks, and a router that loads models when somebody does.
//! Witnesses are what the server says of itself, the kernel's count of its memory, and the processes that it starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use collector_core::sample::Reading;
use collector_core::statistic::model::{Kind, State};
use collector_tests::agent::{Agent, PATIENCE, body, exchange, get};
use collector_tests::cgroup::Cgroup;
use collector_tests::llama::{Llama, complete, free_port, python};
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use collector_tests::{gguf, needs, process};
use serde_json::Value;

const CONFIG: &str = "tick = \"200ms\"\n[models]\ninterval = \"1s\"\n";
/// The program itself, as `cargo xtask test models` builds it.
const PROGRAM: &str = "HEADROOM_LLAMA_SERVER";
/// How long nothing may wake it.
const OBSERVED: Duration = Duration::from_secs(60);

/// What the agent said of a server, oldest first; `None`: it is gone.
fn states(agent: &Agent, name: &str) -> Vec<Option<State>> {
    let told = agent.samples().into_iter().filter_map(|sample| match sample.reading {
        Reading::Model(reading) if &*reading.server.name == name => Some(reading.answer.map(|answer| answer.state)),
        _ => None,
    });
    told.collect()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Asking this neither wakes a server nor keeps it awake.
fn sleeps(address: &str) -> bool {
    let text = body(address, "/props", "");
    let (begin, end) = (text.find('{').unwrap_or(0), text.rfind('}').map_or(0, |end| end + 1));
    let props: Value = serde_json::from_str(&text[begin..end]).unwrap_or_else(|why| panic!("{why}: {text}"));
    props["is_sleeping"].as_bool().unwrap_or_else(|| panic!("{props}"))
}

/// A server that was asked for something falls asleep while it is observed, and is not woken.
fn stays_asleep(agent: &Agent, name: &str, address: &str, pid: u32, rounds: usize, observed: Duration) {
    let awake = process::resident(pid);
    until("it falls asleep while it is observed", || sleeps(address));
    until("that is said", || states(agent, name).last() == Some(&Some(State::Asleep)));
    let (asleep, before, begun) = (process::resident(pid), states(agent, name).len(), Instant::now());
    while begun.elapsed() < observed || states(agent, name).len() < before + rounds {
        assert!(begun.elapsed() < observed + PATIENCE);
        assert!(sleeps(address), "it was woken");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(states(agent, name)[before..].iter().all(|state| *state == Some(State::Asleep)));
    let after = process::resident(pid);
    println!("ASLEEP resident awake {awake}, asleep {asleep}, after {:?} {after} bytes", begun.elapsed());
    assert!(asleep < awake && after < asleep + (awake - asleep) / 4, "{awake} {asleep} {after}");
}

#[test]
fn a_server_falls_asleep_while_it_is_observed_and_is_not_woken() {
    needs!(is_root(), "cgroups and programs need root");
    needs!(python().is_file(), "llama.cpp's server is not installed: cargo xtask test");
    let folder = scratch();
    let model = folder.join("made-up.gguf");
    gguf::llama(&model, 1);
    let agent = Agent::start("tick = \"100ms\"\n[models]\ninterval = \"200ms\"\n");
    let cgroup = Cgroup::new("model-asleep");
    let flags = ["-c", "1024", "-np", "1", "-t", "1", "--cache-ram", "0", "--metrics", "--load-mode", "none"];
    let server = Llama::start(&cgroup, &model, &[&flags[..], &["--sleep-idle-seconds", "2"]].concat());
    let name = format!("llama_cpp:{}", server.port());
    until("it is found", || !states(&agent, &name).is_empty());
    // Until it was found, it may have fallen asleep already.
    server.complete("abc", 3);
    stays_asleep(&agent, &name, &server.address, server.pid(), 15, Duration::ZERO);
    // It still wakes for whoever wants something of it.
    server.complete("abc", 3);
    assert!(!sleeps(&server.address));
}

/// The program, which is killed in the end with those that it started.
struct Program {
    child: Child,
    address: String,
}

impl Program {
    fn start(program: &Path, cgroup: &Cgroup, flags: &[&str]) -> Program {
        let port = free_port().to_string();
        let mut command = Command::new(program);
        command.args(["--host", "127.0.0.1", "--port", &port, "-t", "1", "--metrics", "--offline"]).args(flags);
        let child = cgroup.spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()));
        let address = format!("127.0.0.1:{port}");
        until("it listens", || get(&address, "/health", "").starts_with("HTTP/1.1 200"));
        Program { child, address }
    }

    fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap()
    }

    /// The processes that it started.
    fn children(&self) -> String {
        let pid = self.child.id();
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default()
    }

    fn post(&self, path: &str, body: &str) {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = exchange(&self.address, &request);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        for pid in self.children().split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let _ = rustix::process::Pid::from_raw(pid)
                .map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "takes minutes, and needs llama.cpp's own program: cargo xtask test models"]
fn the_program_is_neither_woken_nor_made_to_load() {
    needs!(is_root(), "cgroups and programs need root");
    let program = PathBuf::from(std::env::var_os(PROGRAM).unwrap_or_default());
    needs!(program.is_file(), "set HEADROOM_LLAMA_SERVER to llama.cpp's own program");
    let folder = scratch();
    let models = folder.join("models");
    fs::create_dir(&models).unwrap();
    for name in ["one.gguf", "two.gguf"] {
        gguf::llama(&models.join(name), 1);
    }
    let agent = Agent::start(CONFIG);
    let cgroup = Cgroup::new("model-program");

    let model = models.join("one.gguf");
    let flags = ["-m", model.to_str().unwrap(), "-c", "1024", "-np", "1", "--cache-ram", "0", "--load-mode", "none"];
    let server = Program::start(&program, &cgroup, &[&flags[..], &["--sleep-idle-seconds", "6"]].concat());
    let name = format!("llama_cpp:{}", server.port());
    until("it is found", || !states(&agent, &name).is_empty());
    complete(&server.address, "abc", 3);
    stays_asleep(&agent, &name, &server.address, server.child.id(), 0, OBSERVED);
    drop(server);

    let router = Program::start(&program, &cgroup, &["--models-dir", models.to_str().unwrap(), "--models-max", "2"]);
    let name = format!("llama_router:{}", router.port());
    until("it is found", || states(&agent, &name).contains(&Some(State::Up)));
    let begun = Instant::now();
    while begun.elapsed() < OBSERVED {
        assert_eq!(router.children(), "", "it loaded a model");
        std::thread::sleep(Duration::from_millis(200));
    }
    println!("ROUTER started no process in {:?} and {} rounds", begun.elapsed(), states(&agent, &name).len());
    // One that somebody loads is a server of its own, which the router started.
    router.post("/models/load", r#"{"model": "one"}"#);
    let runner = || {
        let readings = agent.samples().into_iter().filter_map(|sample| match sample.reading {
            Reading::Model(reading) if reading.server.parent.as_deref() == Some(&*name) => Some(reading),
            _ => None,
        });
        readings.last()
    };
    until("its runner is found", || {
        runner().is_some_and(|it| it.answer.is_some_and(|answer| answer.state == State::Up))
    });
    assert_eq!(runner().unwrap().server.kind, Some(Kind::LlamaCpp));
    router.post("/models/unload", r#"{"model": "one"}"#);
    until("it is gone", || runner().unwrap().answer.is_none());
}
