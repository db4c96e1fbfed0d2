//! A real llama.cpp server (`tests/llama/llama-server`) as a child process in a cgroup, and requests to it. What it says of itself is
//! asked here too: the witness for what the agent says.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::agent::{body, exchange};
use crate::cgroup::Cgroup;
use crate::require::tools;

/// The Python that has llama.cpp's server; it may not be installed.
pub fn python() -> PathBuf {
    tools().join("xllamacpp/venv/bin/python3")
}

/// Killed when it is dropped.
pub struct Llama {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub address: String,
}

impl Llama {
    /// The command line of a server of this model, as a shell would have it. Python's process is called like the interpreter.
    pub fn line(model: &Path, flags: &[&str]) -> Vec<String> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/llama/llama-server");
        let words = [python().to_str().unwrap().to_owned(), script.to_owned()];
        let flags = ["-m", model.to_str().unwrap()].into_iter().chain(flags.iter().copied());
        words.into_iter().chain(flags.map(str::to_owned)).collect()
    }

    /// Starts it on a port that is free, and waits until it has loaded the model.
    pub fn start(cgroup: &Cgroup, model: &Path, flags: &[&str]) -> Llama {
        let port = free_port().to_string();
        let line = Llama::line(model, &[&["--port", &port], flags].concat());
        let mut command = Command::new(&line[0]);
        let mut child = cgroup.spawn(command.args(&line[1..]).stdout(Stdio::piped()).stderr(Stdio::null()));
        let mut text = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut text).unwrap();
        let address = text.trim().strip_prefix("http://").map(str::to_owned);
        Llama { child, address: address.expect("it loads") }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap()
    }

    /// Makes so many tokens of a prompt, and returns how many tokens prompt and answer have, as the server counts them.
    pub fn complete(&self, prompt: &str, count: u32) -> (u64, u64) {
        complete(&self.address, prompt, count)
    }

    /// A number of its own `/metrics`: `tokens_predicted_total`.
    pub fn metric(&self, name: &str) -> f64 {
        let text = body(&self.address, "/metrics", "");
        let line = text.lines().find_map(|line| line.strip_prefix("llamacpp:")?.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
    }
}

impl Drop for Llama {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same for a server at an address; without its cache of prompts.
pub fn complete(address: &str, prompt: &str, count: u32) -> (u64, u64) {
    ask(address, &json!({"prompt": prompt, "n_predict": count, "ignore_eos": true, "cache_prompt": false}))
}

/// Makes one token of a prompt, which the server keeps.
pub fn prompt(address: &str, prompt: &str) -> (u64, u64) {
    ask(address, &json!({"prompt": prompt, "n_predict": 1, "ignore_eos": true, "cache_prompt": true}))
}

fn ask(address: &str, body: &Value) -> (u64, u64) {
    let body = body.to_string();
    let request = format!(
        "POST /completion HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let response = exchange(address, &request);
    let answer = response.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    let (begin, end) = (answer.find('{').unwrap_or(0), answer.rfind('}').map_or(0, |end| end + 1));
    let answer: Value = serde_json::from_str(&answer[begin..end]).unwrap_or_else(|why| panic!("{why}: {response}"));
    let tokens = |name: &str| answer[name].as_u64().unwrap_or_else(|| panic!("{answer}"));
    (tokens("tokens_evaluated"), tokens("tokens_predicted"))
}

/// A port of the loopback that nobody listens on.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
