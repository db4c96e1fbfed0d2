//! The stand-in for NVML's library: builds it, patches copies of it, and changes its answers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::agent::Agent;
use crate::exposition::Exposition;
use crate::scratch::{Scratch, scratch};

static BUILT: OnceLock<PathBuf> = OnceLock::new();

/// Path of the built library.
pub fn library() -> &'static Path {
    BUILT.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--package", "nvml-stand-in", "--message-format", "json"]);
        // Measurements run in the same thread as the library: build it with optimizations for them.
        if !cfg!(debug_assertions) {
            command.arg("--release");
        }
        command.arg("--manifest-path").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let messages = String::from_utf8(output.stdout).unwrap();
        let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let files: Vec<Value> =
            messages.filter_map(|message| Some(message["filenames"].as_array()?.clone())).flatten().collect();
        let file = files.iter().filter_map(Value::as_str).find(|file| file.ends_with("libnvidia_ml.so"));
        PathBuf::from(file.expect("the stand-in was built"))
    })
}

/// A copy of the library with its answers. When dropped, its files are removed.
pub struct Nvml {
    folder: Scratch,
    /// The answers; call [`Nvml::apply`] after a change.
    pub scenario: Value,
}

impl Nvml {
    pub fn new(scenario: Value) -> Nvml {
        let nvml = Nvml { folder: scratch(), scenario };
        fs::copy(library(), nvml.library()).unwrap();
        nvml.apply();
        nvml
    }

    /// Its path.
    pub fn library(&self) -> PathBuf {
        self.folder.join("libnvidia-ml.so.1")
    }

    /// Makes the library answer with the scenario as it is now.
    pub fn apply(&self) {
        let new = self.folder.join("new");
        fs::write(&new, self.scenario.to_string()).unwrap();
        fs::rename(new, self.folder.join("scenario.json")).unwrap();
    }

    /// Changes a value of the scenario, and applies it.
    pub fn change(&mut self, pointer: &str, value: Value) {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match self.scenario.pointer_mut(parent).unwrap() {
            Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
            other => other[name] = value,
        }
        self.apply();
    }

    /// Replaces bytes in the library, which must exist.
    pub fn patch(&self, from: &[u8], to: &[u8]) {
        assert_eq!(from.len(), to.len());
        let mut bytes = fs::read(self.library()).unwrap();
        let places: Vec<_> = (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
        assert!(!places.is_empty(), "{:?} is not in the library", String::from_utf8_lossy(from));
        for at in places {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
        fs::write(self.library(), bytes).unwrap();
    }

    /// Removes a function from the library by renaming it.
    pub fn without(&self, function: &str) {
        let name = format!("\0{function}\0");
        self.patch(name.as_bytes(), name.replacen("\0n", "\0x", 1).as_bytes());
    }

    /// Configuration for the agent that uses it.
    pub fn config(&self) -> String {
        format!("[gpu]\nlibrary = {:?}\ninterval = \"50ms\"\ndeadline = \"500ms\"\n", self.library())
    }

    /// Starts an agent that uses it.
    pub fn agent(&self) -> Agent {
        self.agent_with("")
    }

    /// The same with more configuration.
    pub fn agent_with(&self, more: &str) -> Agent {
        self.agent_of(&format!("{}{more}", self.config()))
    }

    /// The same with this configuration instead.
    pub fn agent_of(&self, config: &str) -> Agent {
        let config = format!("tick = \"100ms\"\n{config}");
        let (name, value) = self.environment();
        let mut agent = Agent::spawn(&config, |command| {
            command.env(name, value);
        });
        agent.await_ready();
        agent
    }

    /// Environment variable for the library.
    pub fn environment(&self) -> (&'static str, PathBuf) {
        ("NVML_STAND_IN", self.folder.join("scenario.json"))
    }
}

/// A host with these GPUs.
pub fn host(gpus: &[&str]) -> Nvml {
    Nvml::new(json!({"driver": "555.42", "gpus": gpus.iter().map(|uuid| gpu(uuid)).collect::<Vec<_>>()}))
}

/// Whether GPUs can be read; `None` without the metric.
pub fn up(exposition: &Exposition) -> Option<f64> {
    exposition.values("headroom_source_up", &[("source", "gpu")]).first().copied()
}

/// A GPU that answers everything.
pub fn gpu(uuid: &str) -> Value {
    json!({
        "uuid": uuid, "name": "Stand-in H100",
        "memory": {"total": 80u64 << 30, "used": 10u64 << 30, "reserved": 1u64 << 30},
        "utilization": [37, 12], "temperature": 61, "power": 312500, "power_limit": 350000,
        "energy": {"base": 5000}, "clocks": [1755, 1755, 1593, 1395], "throttle": 4, "ecc": [3, 1],
        "remapped": [2, 1, 1, 0],
        "pcie": {"generation": 4, "width": 16, "max_generation": 4, "max_width": 16, "replays": 2, "bits": 64,
            "counters": [{"base": 1000}, {"base": 2000}]},
        "processes": [], "graphics": [], "compute_capability": [9, 0],
    })
}
