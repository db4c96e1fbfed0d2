//! The actuator as a child process, with a policy and a journal of its own, and what is asked of it over its socket.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::agent::{PATIENCE, headroom};
use crate::scratch::{Scratch, scratch};

const PAUSE: Duration = Duration::from_millis(5);

/// A running actuator. When dropped, it is killed and its files are removed.
pub struct Actuator {
    child: Child,
    folder: Scratch,
    adjust: fn(&mut Command),
}

/// What came of a command.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// A policy with one rule, which allows these kinds for these workloads, and what else it says.
pub fn allow(kinds: &[&str], workloads: &[&str], more: &str) -> String {
    format!("[[allow]]\nname = \"test\"\nkinds = {kinds:?}\nworkloads = {workloads:?}\n{more}\n")
}

impl Actuator {
    /// Starts one with this policy, and waits until it listens.
    pub fn start(policy: &str) -> Actuator {
        Actuator::start_as(policy, |_| {})
    }

    /// The same; `adjust` may change the command, at each start.
    pub fn start_as(policy: &str, adjust: fn(&mut Command)) -> Actuator {
        let folder = scratch();
        fs::write(folder.join("act.toml"), policy).unwrap();
        let child = Actuator::spawn(&folder, adjust);
        let mut actuator = Actuator { child, folder, adjust };
        actuator.await_ready();
        actuator
    }

    fn spawn(folder: &Path, adjust: fn(&mut Command)) -> Child {
        let mut command = headroom("act");
        command.arg("serve").arg("--act-socket").arg(folder.join("act.sock"));
        command.arg("--policy").arg(folder.join("act.toml")).arg("--journal").arg(folder.join("journal"));
        let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
        command.stdout(Stdio::null()).stderr(log);
        adjust(&mut command);
        command.spawn().unwrap()
    }

    fn await_ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while UnixStream::connect(self.socket()).is_err() {
            assert!(self.is_running() && Instant::now() < deadline, "the actuator does not listen:\n{}", self.log());
            sleep(PAUSE);
        }
    }

    /// Kills it, if it still runs, and starts it again with the same files.
    pub fn restart(&mut self) {
        self.kill();
        self.child = Actuator::spawn(&self.folder, self.adjust);
        self.await_ready();
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("act.sock")
    }

    pub fn policy(&self) -> PathBuf {
        self.folder.join("act.toml")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// `headroom act` with these arguments.
    pub fn act(&self, arguments: &[&str]) -> Said {
        self.command("act", arguments).output().unwrap().into()
    }

    /// `headroom actions` with these arguments.
    pub fn actions(&self, arguments: &[&str]) -> Said {
        self.command("actions", arguments).output().unwrap().into()
    }

    fn command(&self, verb: &str, arguments: &[&str]) -> Command {
        let mut command = headroom(verb);
        command.args(arguments).arg("--act-socket").arg(self.socket());
        command
    }

    /// The journal, the first change first.
    pub fn journal(&self) -> Vec<Value> {
        let said = self.actions(&["--json"]);
        assert_eq!(said.code, 0, "{said:?}");
        let all: Value = serde_json::from_str(&said.out).unwrap();
        all["actions"].as_array().unwrap().iter().rev().cloned().collect()
    }

    /// Waits until a change of the journal has this state.
    pub fn await_state(&self, id: u64, state: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.journal().into_iter().find(|it| it["id"] == id).unwrap();
            if found["state"] == state {
                return found;
            }
            assert!(Instant::now() < deadline, "change {id} is not {state}: {found}\n{}", self.log());
            sleep(20 * PAUSE);
        }
    }

    /// A request as it stands; `None` if the actuator ended before it answered.
    pub fn request(&self, method: &str, path: &str, body: &str) -> Option<(u16, Value)> {
        request(&self.socket(), method, path, body)
    }
}

/// Asks whoever listens at a socket.
pub fn request(socket: &Path, method: &str, path: &str, body: &str) -> Option<(u16, Value)> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).ok()?))
}

impl Drop for Actuator {
    fn drop(&mut self) {
        self.kill();
    }
}
