//! [`Process`]: a stand-in that is a process with the name and the command line of a server, so that it is found as one. The program behind
//! it is `serve` ([`run`]), under another name; a test talks to it over its standard input and output.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use collector_core::statistic::model::Kind;

use super::http::{Asked, Server};
use super::manner::Manner;
use super::work::Work;
use crate::agent::PATIENCE;
use crate::cgroup::Cgroup;
use crate::process::Killed;

/// A running `serve`. When dropped, it is killed.
pub struct Process {
    pub port: u16,
    child: Killed,
    input: ChildStdin,
    /// `GET /metrics`, one after the other.
    asked: Arc<Mutex<Vec<String>>>,
}

/// The name of a server's program, and its command line with this model and port.
pub fn program(kind: Kind, model: &str, port: u16) -> (&'static str, Vec<String>) {
    let port = port.to_string();
    let (name, line): (_, &[&str]) = match kind {
        Kind::Vllm => ("vllm", &["serve", model, "--port", &port]),
        Kind::Sglang => ("sglang", &["serve", "--model-path", model, "--port", &port, "--enable-metrics"]),
        Kind::LlamaCpp => ("llama-server", &["-m", model, "-np", "2", "--port", &port, "--metrics"]),
        Kind::LlamaRouter => ("llama-server", &["--models-dir", model, "--port", &port]),
        // Its port is in its environment.
        Kind::Ollama => ("ollama", &["serve"]),
        Kind::Tgi => ("text-generation-router", &["--port", &port, "--tokenizer-name", model]),
        Kind::Tei => ("text-embeddings-router", &["--port", &port, "--model-id", model]),
        Kind::Triton => ("tritonserver", &["--model-repository", model, "--metrics-port", &port]),
        Kind::Lmdeploy => ("lmdeploy", &["serve", "api_server", model, "--server-port", &port]),
    };
    (name, line.iter().map(|word| (*word).to_owned()).collect())
}

impl Process {
    /// `binary` is `env!("CARGO_BIN_EXE_serve")`, which only the tests know. `folder` gets a link with the server's name. `more` follows in
    /// the command line; an address to listen on is one of them: `--host 10.0.0.2`.
    pub fn start(binary: &str, folder: &Path, kind: Kind, more: &[&str], cgroup: Option<&Cgroup>) -> Process {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        Process::at(binary, folder, kind, port, more, cgroup)
    }

    /// The same on this port.
    pub fn at(binary: &str, folder: &Path, kind: Kind, port: u16, more: &[&str], cgroup: Option<&Cgroup>) -> Process {
        let (name, line) = program(kind, "someone/m", port);
        let link = folder.join(name);
        if !link.exists() {
            symlink(binary, &link).unwrap();
        }
        let mut command = Command::new(&link);
        command.args(line).args(more).env("OLLAMA_HOST", format!("127.0.0.1:{port}"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = Killed(match cgroup {
            Some(cgroup) => cgroup.spawn(&mut command),
            None => command.spawn().unwrap(),
        });
        let mut output = BufReader::new(child.0.stdout.take().unwrap());
        let mut ready = String::new();
        output.read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n", "{}", link.display());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        std::thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .for_each(|line| seen.lock().unwrap_or_else(PoisonError::into_inner).push(line));
        });
        let input = child.0.stdin.take().unwrap();
        Process { port, child, input, asked }
    }

    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Changes what it tells: `running 7`, see [`super::Numbers::change`].
    pub fn change(&mut self, lines: &[&str]) {
        lines.iter().for_each(|line| writeln!(self.input, "{line}").unwrap());
    }

    pub fn manner(&mut self, manner: &Manner) {
        writeln!(self.input, "manner {}", manner.text()).unwrap();
    }

    /// It reads a model for each token from now on: `work FILE PLACES`, or that many bytes of its own; then `clients COUNT`. Returns once the
    /// model is in memory.
    pub fn work(&mut self, model: &str, places: usize) {
        self.change(&[&format!("work {model} {places}")]);
        let deadline = Instant::now() + PATIENCE;
        while !self.asked().iter().any(|line| line == "works") {
            assert!(Instant::now() < deadline, "it does not work");
            sleep(Duration::from_millis(5));
        }
    }

    /// How many requests ended so far, and how many seconds all of them took.
    pub fn took(&mut self) -> (u64, f64) {
        let told = |process: &Process| -> Vec<String> {
            process.asked().iter().filter_map(|line| line.strip_prefix("took ").map(str::to_owned)).collect()
        };
        let before = told(self).len();
        self.change(&["took all"]);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some((count, seconds)) = told(self).get(before).and_then(|line| line.split_once(' ')) {
                return (count.parse().unwrap(), seconds.parse().unwrap());
            }
            assert!(Instant::now() < deadline, "it does not say what requests took");
            sleep(Duration::from_millis(5));
        }
    }

    /// What it was asked so far: `GET /metrics`.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it was asked so many times in all.
    pub fn await_asked(&self, times: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.asked().len() < times {
            assert!(Instant::now() < deadline, "not asked {times} times, but {:?}", self.asked());
            sleep(Duration::from_millis(5));
        }
    }
}

/// The program `serve`: which server it is says its own name. It lives until its standard input ends.
pub fn run(arguments: &[String]) {
    let (name, line) = arguments.split_first().unwrap();
    let name = Path::new(name).file_name().unwrap().to_str().unwrap();
    let value = |flags: &[&str]| {
        let at = line.iter().position(|argument| flags.contains(&argument.as_str()))?;
        line.get(at + 1).cloned()
    };
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| program(*kind, "", 0).0 == name)
        .unwrap_or_else(|| panic!("no server: {name}"));
    let kind = if kind == Kind::LlamaCpp && value(&["-m"]).is_none() { Kind::LlamaRouter } else { kind };
    let port = value(&["--port", "--metrics-port", "--server-port"]);
    let port = port.or_else(|| Some(std::env::var("OLLAMA_HOST").ok()?.rsplit(':').next()?.to_owned())).unwrap();
    let host = value(&["--host", "--hostname", "--server-name", "--metrics-address"]).unwrap_or("127.0.0.1".to_owned());
    let listener =
        TcpListener::bind((&*host, port.parse().unwrap())).unwrap_or_else(|error| panic!("{host}:{port}: {error}"));
    let tell = |asked: &Asked| println!("{} {}", asked.method, asked.path);
    println!("ready");
    let server = Arc::new(Server::on(listener, kind, tell));
    let mut work = None;
    for command in std::io::stdin().lines().map_while(Result::ok) {
        match command.split_once(' ') {
            Some(("share", bytes)) => share(bytes.parse().unwrap()),
            Some(("work", what)) => {
                let (model, places) = what.rsplit_once(' ').unwrap();
                work = Some(Work::begin(server.clone(), model, places.parse().unwrap()));
                println!("works");
            }
            Some(("took", _)) => {
                let (count, seconds) = server.numbers().took();
                println!("took {count} {seconds}");
            }
            Some(("clients", count)) => work.as_ref().unwrap().clients(count.parse().unwrap()),
            Some(("manner", manner)) => server.manner(Manner::of(manner)),
            Some(("silence", value)) => server.silence(value == "true"),
            _ => server.change(|numbers| numbers.change(&command)),
        }
    }
}

/// Takes shared memory, as vLLM does for its KV cache in host memory, until the process ends.
fn share(bytes: usize) {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, at an address of the kernel's choice.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, -1, 0) };
    assert_ne!(start, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
    for offset in (0..bytes).step_by(4096) {
        // SAFETY: within the mapping, which is writable.
        unsafe { start.cast::<u8>().add(offset).write_volatile(1) };
    }
}
