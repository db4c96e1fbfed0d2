//! A real Prometheus and a real Alertmanager on loopback, each with a folder of its own.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use collector::client::encoded;
use serde_json::Value;

use crate::agent::{PATIENCE, exchange};
use crate::process::Killed;
use crate::scratch::{Scratch, scratch};

/// A running server. When dropped, it is killed and its folder removed.
pub struct Server {
    _child: Killed,
    directory: Scratch,
    /// `127.0.0.1:PORT`.
    pub address: String,
}

impl Server {
    /// Alertmanager without receivers.
    pub fn alertmanager() -> Server {
        let directory = scratch();
        let config = directory.join("alertmanager.yml");
        fs::write(&config, "route:\n  receiver: nobody\nreceivers:\n  - name: nobody\n").unwrap();
        let mut command = Command::new("prometheus-alertmanager");
        command.arg(format!("--config.file={}", config.display())).arg("--cluster.listen-address=");
        command.arg(format!("--storage.path={}", directory.join("data").display()));
        Server::start(command, directory)
    }

    /// Prometheus, which scrapes this address and evaluates the rules in a file every second. `how` holds further lines of the
    /// job's configuration.
    pub fn prometheus(target: &str, rules: &Path, how: &str) -> Server {
        let directory = scratch();
        let config = directory.join("prometheus.yml");
        let text = format!(
            "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files: [{rules:?}]\nscrape_configs:\n  \
             - job_name: headroom\n    static_configs: [{{ targets: [{target:?}] }}]\n{how}"
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", directory.join("data").display()));
        Server::start(command, directory)
    }

    fn start(mut command: Command, directory: Scratch) -> Server {
        // A port that is free now: the servers do not report a port that they choose.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let log = File::create(directory.join("log")).unwrap();
        command.arg(format!("--web.listen-address={address}")).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let server = Server { _child: Killed(child), directory, address };
        server.until("/-/ready", |answer| answer.starts_with("HTTP/1.0 200"));
        server
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    fn until(&self, path: &str, done: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + 2 * PATIENCE;
        loop {
            // With HTTP/1.0 the body is not chunked.
            let answer = exchange(&self.address, &format!("GET {path} HTTP/1.0\r\nHost: test\r\n\r\n"));
            if done(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path}: {answer}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Queries its API until the answer satisfies `done`.
    pub fn ask(&self, path: &str, done: impl Fn(&Value) -> bool) -> Value {
        let parse = |answer: &str| {
            let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            serde_json::from_str::<Value>(body).ok()
        };
        let answer = self.until(path, |answer| parse(answer).is_some_and(|value| done(&value)));
        parse(&answer).unwrap()
    }

    /// Asks Prometheus a query until the answer satisfies `done`.
    pub fn query(&self, query: &str, done: impl Fn(&Value) -> bool) -> Value {
        self.ask(&format!("/api/v1/query?query={}", encoded(query)), done)
    }
}
