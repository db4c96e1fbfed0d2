//! Other agents that people run today, beside this one: what they are, and how one is started, scraped and ended.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use collector_tests::agent::{get, headroom, scratch};

use crate::machine::run_ns;

/// How long one may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long one that does not answer scrapes is given to attach, and to say what went wrong.
const MOMENT: Duration = Duration::from_secs(2);

/// What is compared.
pub struct Peer {
    /// As its users call it.
    pub name: &'static str,
    /// The program that is looked for, and what has it say its version.
    program: (&'static str, &'static str),
    /// Debian's package of it.
    pub package: &'static str,
    /// Whether it is scraped; else it prints what it saw at its end.
    pub scraped: bool,
    /// Its arguments, given an address to listen on and a folder of its own.
    arguments: fn(&str, &Path) -> Result<Vec<String>>,
}

fn words(words: &[&str]) -> Result<Vec<String>> {
    Ok(words.iter().map(|word| (*word).to_owned()).collect())
}

/// This agent first.
pub const PEERS: [Peer; 6] = [
    Peer {
        name: "Headroom",
        program: ("headroom", "--version"),
        package: "headroom",
        scraped: true,
        arguments: |address, folder| {
            let config = folder.join("headroom.toml");
            let text = format!(
                "listen = {address:?}\nlock = {:?}\n[journal]\ndir = {:?}\n",
                folder.join("lock"),
                folder.join("journal")
            );
            fs::write(&config, text).context("write a configuration")?;
            words(&["--config", &config.display().to_string()])
        },
    },
    Peer {
        name: "node_exporter",
        program: ("prometheus-node-exporter", "--version"),
        package: "prometheus-node-exporter",
        scraped: true,
        arguments: |address, _| words(&[&format!("--web.listen-address={address}"), "--log.level=error"]),
    },
    Peer {
        name: "process-exporter",
        program: ("prometheus-process-exporter", "-version"),
        package: "prometheus-process-exporter",
        scraped: true,
        arguments: |address, folder| {
            let config = folder.join("process.yml");
            fs::write(&config, "process_names:\n  - name: \"{{.Comm}}\"\n    cmdline: [\".+\"]\n")
                .context("write a configuration")?;
            words(&["-web.listen-address", address, "-config.path", &config.display().to_string()])
        },
    },
    Peer {
        name: "biolatency (libbpf-tools)",
        program: ("biolatency", "--version"),
        package: "libbpf-tools",
        scraped: false,
        arguments: |_, _| words(&["--disk"]),
    },
    Peer {
        name: "oomkill (libbpf-tools)",
        program: ("oomkill", "--version"),
        package: "libbpf-tools",
        scraped: false,
        arguments: |_, _| words(&[]),
    },
    Peer {
        name: "bpftrace, the same three tracepoints",
        program: ("bpftrace", "--version"),
        package: "bpftrace",
        scraped: false,
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
    /// Whether it is installed, and in which version.
    pub fn version(&self) -> Option<String> {
        let output = self.command(Some(self.program.1)).stdin(Stdio::null()).output().ok()?;
        let said = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&said).into_owned();
        let number = |word: &&str| word.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit());
        let version = text.split_whitespace().find(number).unwrap_or("of an unknown version");
        Some(version.trim_end_matches([',', ')']).to_owned())
    }

    /// It, with a first word.
    fn command(&self, word: Option<&str>) -> Command {
        match (self.program.0, word) {
            // As it was built, and untouched by this environment's configuration.
            ("headroom", word) => headroom(word.unwrap_or("run")),
            (program, word) => {
                let mut command = Command::new(program);
                command.args(word);
                command
            }
        }
    }

    /// Starts it and waits until it works.
    pub fn start(&self) -> Result<Running> {
        let folder = scratch();
        // Free a moment ago, and nobody else here takes one.
        let address =
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).context("find a port")?;
        let address = address.to_string();
        let mut command = self.command(None);
        command.args((self.arguments)(&address, &folder)?).stdin(Stdio::null());
        let output = File::create(folder.join("output")).context("make a file for its output")?;
        command.stdout(output.try_clone().context("make a file for its output")?).stderr(output);
        let child = command.spawn().with_context(|| format!("start {}", self.name))?;
        let mut running = Running { child, address, folder };
        let begun = Instant::now();
        loop {
            if running.child.try_wait().context("look after it")?.is_some() {
                let said = running.output();
                bail!("{}", said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it ended without a word"));
            }
            let works = if self.scraped { running.scrape().is_some() } else { begun.elapsed() > MOMENT };
            if works {
                return Ok(running);
            }
            ensure!(begun.elapsed() < PATIENCE, "{} does not answer", self.name);
            sleep(Duration::from_millis(50));
        }
    }
}

/// One that runs. Dropped, it is ended.
pub struct Running {
    child: Child,
    address: String,
    folder: PathBuf,
}

impl Running {
    /// What it publishes, if it answers.
    pub fn scrape(&self) -> Option<String> {
        let response = get(&self.address, "/metrics", "");
        let (head, body) = response.split_once("\r\n\r\n")?;
        head.contains(" 200 ").then(|| body.to_owned())
    }

    /// Ends it as a person at a terminal would; everything that it printed.
    pub fn end(mut self) -> Result<String> {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::INT)?;
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() && begun.elapsed() < PATIENCE {
            sleep(Duration::from_millis(20));
        }
        Ok(self.output())
    }

    /// CPU time of all its threads in nanoseconds (/proc/PID/task/TID/schedstat).
    pub fn cpu_ns(&self) -> Result<u64> {
        let tasks = format!("/proc/{}/task", self.child.id());
        let threads = fs::read_dir(&tasks).with_context(|| format!("read {tasks}"))?;
        // One that has just ended adds nothing.
        Ok(threads.flatten().map(|task| run_ns(&task.path()).unwrap_or(0)).sum())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn output(&self) -> String {
        fs::read_to_string(self.folder.join("output")).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
