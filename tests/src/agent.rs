//! The built `headroom` as a child process, with its own configuration, endpoint and record.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use caps::Capability;
use collector_core::sample::{Reading, Sample};

use crate::binary::binary;
use crate::cgroup;
use crate::exposition::Exposition;
use crate::scratch::{Scratch, scratch};
use crate::tail::Tail;
use crate::user;

/// How long the agent may take for anything before a test fails. Machines are slow at times.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Tests see every series, unless they remove this variable. An agent without a record is as by default: it is measured.
pub const DETAIL: &str = "HEADROOM_METRICS_DETAIL";

/// How long a test waits for a killed agent. The kernel takes a tenth of a second for each function of a library that it leaves,
/// which is the last that it does, and nothing that the next test needs: with a few libraries half a minute.
const END: Duration = Duration::from_secs(1);

/// A running agent. When dropped, it is killed and its files are removed.
pub struct Agent {
    child: Child,
    directory: Scratch,
    record: Mutex<Record>,
    /// `127.0.0.1:PORT`.
    pub address: String,
}

/// What was read of its record so far.
struct Record {
    tail: Tail,
    samples: Vec<Sample>,
}

/// A command that runs `headroom VERB`, without any configuration from the environment.
pub fn headroom(verb: &str) -> Command {
    headroom_at(&binary(), verb)
}

/// The same for a binary in another place.
pub fn headroom_at(binary: &Path, verb: &str) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HEADROOM_") {
            command.env_remove(name);
        }
    }
    command.arg(verb).stdin(Stdio::null());
    command
}

impl Agent {
    /// Starts an agent with this configuration (TOML, without `listen`, `lock` and `socket`), and waits until it is ready.
    pub fn start(config: &str) -> Agent {
        let mut agent = Agent::spawn(config, |_| {});
        agent.await_ready();
        agent
    }

    /// The same without a record, which has a cost.
    pub fn start_unrecorded(config: &str) -> Agent {
        let mut agent = Agent::spawn_unrecorded(config, |_| {});
        agent.await_ready();
        agent
    }

    /// The same without waiting; `adjust` may change the command.
    pub fn spawn_unrecorded(config: &str, adjust: impl FnOnce(&mut Command)) -> Agent {
        Agent::launch(&binary(), scratch(), config, None, adjust)
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Starts an agent without waiting; `adjust` may change the command.
    pub fn spawn(config: &str, adjust: impl FnOnce(&mut Command)) -> Agent {
        Agent::spawn_recording(config, "record.jsonl".as_ref(), adjust)
    }

    /// The same with a record at another path. [`Agent::samples`] then reads nothing.
    pub fn spawn_recording(config: &str, record: &Path, adjust: impl FnOnce(&mut Command)) -> Agent {
        Agent::launch(&binary(), scratch(), config, Some(record), adjust)
    }

    /// Starts an agent as an unprivileged user with exactly these capabilities, without waiting.
    pub fn spawn_as_user(capabilities: &[Capability], config: &str) -> Agent {
        let directory = scratch();
        let installed = user::install(&directory);
        Agent::launch(&installed, directory, config, Some("record.jsonl".as_ref()), |command| {
            user::run_as(command, capabilities)
        })
    }

    fn launch(
        binary: &Path,
        directory: Scratch,
        config: &str,
        record: Option<&Path>,
        adjust: impl FnOnce(&mut Command),
    ) -> Agent {
        cgroup::sweep();
        let file = directory.join("headroom.toml");
        let lock = directory.join("lock");
        let socket = directory.join("headroom.sock");
        let head = format!("listen = \"127.0.0.1:0\"\nlock = {lock:?}\nsocket = {socket:?}\n");
        fs::write(&file, format!("{head}{config}")).unwrap();
        let mut command = headroom_at(binary, "run");
        command.arg("--config").arg(&file);
        if let Some(record) = record {
            command.arg("--record").arg(directory.join(record)).env(DETAIL, "full");
        }
        command.env("HEADROOM_JOURNAL_DIR", directory.join("journal"));
        command.stdout(Stdio::null()).stderr(File::create(directory.join("log")).unwrap());
        adjust(&mut command);
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
        let record = Record { tail: Tail::new(directory.join("record.jsonl")), samples: Vec::new() };
        Agent { child, directory, record: Mutex::new(record), address: String::new() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Directory of its configuration, lock, log and record.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Waits until the first round of readings is complete.
    pub fn await_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the agent ended with {status}:\n{}", self.log());
            }
            if let Some((scheme, address)) = self.endpoint() {
                self.address = address;
                // With TLS or a password this cannot ask: that the agent listens must do.
                let answer = get(&self.address, "/-/ready", "");
                if scheme == "https" || answer.starts_with("HTTP/1.1 401") || answer.starts_with("HTTP/1.1 200") {
                    return;
                }
            }
            assert!(Instant::now() < deadline, "the agent is not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Scheme and address of its metrics, from its log.
    fn endpoint(&self) -> Option<(String, String)> {
        let log = self.log();
        let url = log.split("metrics at ").nth(1)?.split("/metrics").next()?;
        let (scheme, address) = url.split_once("://")?;
        Some((scheme.to_owned(), address.to_owned()))
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// Waits until a line of its log has all of these.
    pub fn await_log(&self, words: &[&str]) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().lines().any(|line| words.iter().all(|word| line.contains(word))) {
            assert!(Instant::now() < deadline, "{words:?} is not in\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// OOM kills in its log so far.
    pub fn kills(&self) -> usize {
        self.log().lines().filter(|line| line.contains("OOM kill of ") && line.contains("trigger_pid")).count()
    }

    /// Waits until its log has this many OOM kills.
    pub fn await_kills(&self, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.kills() < count {
            assert!(Instant::now() < deadline, "{} of {count} kills are reported:\n{}", self.kills(), self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Everything that it publishes now.
    pub fn scrape(&self) -> Exposition {
        let accept = "Accept: application/openmetrics-text; version=1.0.0\r\n";
        Exposition::parse(&body(&self.address, "/metrics", accept))
    }

    /// Scrapes until `done` holds, and returns that exposition.
    pub fn scrape_until(&self, what: &str, done: impl Fn(&Exposition) -> bool) -> Exposition {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let exposition = self.scrape();
            if done(&exposition) {
                return exposition;
            }
            assert!(Instant::now() < deadline, "{what} did not appear:\n{}", exposition.text);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits for two whole rounds: then the agent has read everything that happened before this call.
    pub fn settle(&self) -> Exposition {
        self.await_rounds();
        self.scrape()
    }

    /// The same without a scrape, which is slow with many workloads on an emulated processor.
    pub fn await_rounds(&self) {
        let rounds = || self.read_on().samples.iter().filter(|sample| sample.reading == Reading::Tick).count();
        let (begun, deadline) = (rounds(), Instant::now() + PATIENCE);
        while rounds() < begun + 2 {
            assert!(Instant::now() < deadline, "no round ended:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Samples recorded so far, without a line that is still being written.
    pub fn samples(&self) -> Vec<Sample> {
        self.samples_from(0)
    }

    /// The same without so many of the first, which are known already.
    pub fn samples_from(&self, first: usize) -> Vec<Sample> {
        self.read_on().samples[first..].to_vec()
    }

    /// Reads only what was recorded since the last call.
    fn read_on(&self) -> MutexGuard<'_, Record> {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        for line in record.tail.lines() {
            let sample = serde_json::from_slice(&line);
            record.samples.push(sample.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&line))));
        }
        record
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits until it exits.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the agent does not exit:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops it as systemd would, and returns everything that it recorded.
    pub fn stop(mut self) -> Vec<Sample> {
        self.signal(rustix::process::Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "the agent ended with {status}:\n{}", self.log());
        self.samples()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let deadline = Instant::now() + END;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() >= deadline {
                let pid = rustix::process::Pid::from_child(&self.child);
                std::thread::spawn(move || rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()));
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A plain HTTP GET: the whole response; empty if there is none.
pub fn get(address: &str, path: &str, headers: &str) -> String {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"))
}

/// The body of an answer with status 200.
pub fn body(address: &str, path: &str, headers: &str) -> String {
    let response = get(address, path, headers);
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {response}");
    body.to_owned()
}

/// Sends a request on a connection of its own: the whole response; empty if there is none.
pub fn exchange(address: &str, request: &str) -> String {
    let Ok(mut stream) = TcpStream::connect(address) else { return String::new() };
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let mut response = Vec::new();
    let _ = stream.write_all(request.as_bytes());
    let _ = stream.read_to_end(&mut response);
    String::from_utf8_lossy(&response).into_owned()
}
