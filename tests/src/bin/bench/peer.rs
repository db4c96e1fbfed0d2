//! Other agents that are in use today, and this one: how each is started, read and stopped.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use collector_tests::agent::{get, headroom};
use collector_tests::process::Killed;
use collector_tests::scratch::{Scratch, scratch};

use crate::machine::{resident, run_ns};

/// How long an agent may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long an agent that answers no scrapes gets to attach, or to report an error.
const MOMENT: Duration = Duration::from_secs(2);

/// Arguments of each process, or why it cannot run here.
type Processes = Result<Vec<Vec<String>>>;

/// How an agent reports what it saw.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reporting {
    /// It answers scrapes.
    Scraped,
    /// It writes a file, and has a command that prints these parts of it.
    Dumped(&'static [&'static str]),
    /// It prints to standard output, at exit at the latest.
    Printed,
}

/// An agent to compare.
pub struct Peer {
    /// Name by which its users know it.
    pub name: &'static str,
    /// Program to look for, and the argument that makes it print its version.
    program: (&'static str, &'static str),
    /// How to install it.
    pub install: &'static str,
    pub reporting: Reporting,
    /// Arguments of each of its processes, for an address to listen on and a folder of its own.
    arguments: fn(&str, &Path) -> Processes,
}

fn words(words: &[&str]) -> Processes {
    Ok(vec![words.iter().map(|word| (*word).to_owned()).collect()])
}

/// Writes a configuration file, and returns its path.
fn config(folder: &Path, name: &str, text: &str) -> Result<String> {
    let path = folder.join(name);
    fs::write(&path, text).context("write a configuration")?;
    Ok(path.display().to_string())
}

/// An address that was free a moment ago.
fn address() -> Result<String> {
    let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    Ok(bound.context("find a port")?.to_string())
}

/// Mount point of cgroup v2.
fn cgroup2() -> Result<String> {
    let mounts = fs::read_to_string("/proc/mounts").context("read /proc/mounts")?;
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    let path = mount.and_then(|line| line.split(' ').nth(1)).context("cgroup v2 is not mounted")?;
    Ok(path.to_owned())
}

/// This agent first.
pub const PEERS: [Peer; 8] = [
    Peer {
        name: "Headroom",
        program: ("headroom", "--version"),
        install: "cargo xtask build",
        reporting: Reporting::Scraped,
        arguments: |address, folder| {
            // The kernel measures the programs for ten seconds after a start, which costs more than they do.
            let text = format!(
                "listen = {address:?}\nlock = {:?}\n[kernel]\nmeasure = \"0s\"\n[journal]\ndir = {:?}\n",
                folder.join("lock"),
                folder.join("journal")
            );
            words(&["--config", &config(folder, "headroom.toml", &text)?])
        },
    },
    Peer {
        name: "node_exporter",
        program: ("prometheus-node-exporter", "--version"),
        install: "Debian: prometheus-node-exporter",
        reporting: Reporting::Scraped,
        arguments: |address, _| words(&[&format!("--web.listen-address={address}"), "--log.level=error"]),
    },
    Peer {
        name: "process-exporter",
        program: ("prometheus-process-exporter", "-version"),
        install: "Debian: prometheus-process-exporter",
        reporting: Reporting::Scraped,
        arguments: |address, folder| {
            let text = "process_names:\n  - name: \"{{.Comm}}\"\n    cmdline: [\".+\"]\n";
            words(&["-web.listen-address", address, "-config.path", &config(folder, "process.yml", text)?])
        },
    },
    Peer {
        name: "Rezolus",
        program: ("rezolus", "--version"),
        install: "cargo install rezolus --locked",
        reporting: Reporting::Scraped,
        // One process samples, and one serves scrapes: its package starts both.
        arguments: |listen, folder| {
            let source = address()?;
            let agent = config(folder, "agent.toml", &format!("[general]\nlisten = {source:?}\n"))?;
            let text = format!("[general]\nlisten = {listen:?}\nsource = {source:?}\n[log]\n[prometheus]\n");
            Ok([words(&[&agent])?, words(&["exporter", &config(folder, "exporter.toml", &text)?])?].concat())
        },
    },
    Peer {
        name: "below",
        program: ("below", "--version"),
        install: "CLANG=clang-16 cargo install below --locked",
        reporting: Reporting::Dumped(&["system", "disk"]),
        arguments: |_, folder| {
            let (store, cgroups) = (folder.join("store"), cgroup2()?);
            let text = format!("log_dir = {folder:?}\nstore_dir = {store:?}\ncgroup_root = {cgroups:?}\n");
            words(&["--config", &config(folder, "below.conf", &text)?, "record"])
        },
    },
    Peer {
        name: "biolatency (libbpf-tools)",
        program: ("biolatency", "--version"),
        install: "Debian: libbpf-tools",
        reporting: Reporting::Printed,
        arguments: |_, _| words(&["--disk"]),
    },
    Peer {
        name: "oomkill (libbpf-tools)",
        program: ("oomkill", "--version"),
        install: "Debian: libbpf-tools",
        reporting: Reporting::Printed,
        arguments: |_, _| words(&[]),
    },
    Peer {
        name: "bpftrace, the same three tracepoints",
        program: ("bpftrace", "--version"),
        install: "Debian: bpftrace",
        reporting: Reporting::Printed,
        arguments: |_, _| {
            words(&[
                "-e",
                "rawtracepoint:page_fault_user { @faults = count(); } rawtracepoint:block_rq_complete { @ios = count(); } \
                     rawtracepoint:mark_victim { printf(\"oom of %s\\n\", comm); }",
            ])
        },
    },
];

impl Peer {
    /// The installed version, or `None` if it is not installed.
    pub fn version(&self) -> Option<String> {
        let output = self.command(Some(self.program.1)).stdin(Stdio::null()).output().ok()?;
        let output = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&output).into_owned();
        let number = |word: &&str| word.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit());
        let version = text.split_whitespace().find(number).unwrap_or("unknown version");
        Some(version.trim_end_matches([',', ')']).to_owned())
    }

    /// The command, with a first argument.
    fn command(&self, word: Option<&str>) -> Command {
        match (self.program.0, word) {
            // The built binary, without any configuration from this environment.
            ("headroom", word) => headroom(word.unwrap_or("run")),
            (program, word) => {
                let mut command = Command::new(program);
                command.args(word);
                command
            }
        }
    }

    /// Starts it, and waits until it works.
    pub fn start(&'static self) -> Result<Running> {
        let folder = scratch();
        let address = address()?;
        let processes = (self.arguments)(&address, &folder)?;
        let output = File::create(folder.join("output")).context("make a file for its output")?;
        let mut running = Running { peer: self, processes, children: Vec::new(), address, folder };
        let output = || output.try_clone().context("make a file for its output");
        for arguments in &running.processes {
            let mut command = self.command(None);
            command.args(arguments).stdin(Stdio::null()).stdout(output()?).stderr(output()?);
            running.children.push(Killed(command.spawn().with_context(|| format!("start {}", self.name))?));
        }
        let begun = Instant::now();
        loop {
            if running.ended()? {
                let output = running.output();
                bail!("{}", output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it ended without a word"));
            }
            let works =
                if self.reporting == Reporting::Printed { begun.elapsed() > MOMENT } else { running.read().is_some() };
            if works {
                return Ok(running);
            }
            ensure!(begun.elapsed() < PATIENCE, "{} does not answer", self.name);
            sleep(Duration::from_millis(50));
        }
    }
}

/// A running agent. When dropped, it is stopped.
pub struct Running {
    peer: &'static Peer,
    processes: Vec<Vec<String>>,
    children: Vec<Killed>,
    address: String,
    folder: Scratch,
}

impl Running {
    /// What it reports now, if anything.
    pub fn read(&self) -> Option<String> {
        let reported = match self.peer.reporting {
            Reporting::Scraped => {
                let response = get(&self.address, "/metrics", "");
                let (head, body) = response.split_once("\r\n\r\n")?;
                head.contains(" 200 ").then(|| body.to_owned())?
            }
            Reporting::Dumped(parts) => parts.iter().map(|part| self.dump(part)).collect::<Option<String>>()?,
            Reporting::Printed => return None,
        };
        // Some answer before they have any data.
        Some(reported).filter(|reported| !reported.is_empty())
    }

    /// The last sample that it wrote, as metrics.
    fn dump(&self, part: &str) -> Option<String> {
        let (_, global) = self.processes.first()?.split_last()?;
        let mut command = self.peer.command(None);
        command.args(global).args(["dump", part, "--begin", "now", "--output-format", "openmetrics"]);
        let output = command.stdin(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Stops it with an interrupt; returns everything that it printed.
    pub fn end(mut self) -> Result<String> {
        for child in &self.children {
            rustix::process::kill_process(rustix::process::Pid::from_child(&child.0), rustix::process::Signal::INT)?;
        }
        let begun = Instant::now();
        while !self.ended()? && begun.elapsed() < PATIENCE {
            sleep(Duration::from_millis(20));
        }
        Ok(self.output())
    }

    /// Whether one of its processes has exited.
    fn ended(&mut self) -> Result<bool> {
        for child in &mut self.children {
            if child.0.try_wait().context("check the process")?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// CPU time of all its threads in nanoseconds (/proc/PID/task/TID/schedstat).
    pub fn cpu_ns(&self) -> Result<u64> {
        let mut sum = 0;
        for child in &self.children {
            let tasks = format!("/proc/{}/task", child.0.id());
            let threads = fs::read_dir(&tasks).with_context(|| format!("read {tasks}"))?;
            // A thread that has just exited adds nothing.
            sum += threads.flatten().map(|task| run_ns(&task.path()).unwrap_or(0)).sum::<u64>();
        }
        Ok(sum)
    }

    /// Of its processes.
    pub fn pids(&self) -> impl Iterator<Item = u32> {
        self.children.iter().map(|child| child.0.id())
    }

    /// Resident memory of all its processes in bytes.
    pub fn resident(&self) -> Result<u64> {
        self.pids().map(|pid| Ok(resident(&pid.to_string())?.0)).sum()
    }

    fn output(&self) -> String {
        fs::read_to_string(self.folder.join("output")).unwrap_or_default()
    }
}
