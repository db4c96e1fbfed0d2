//! [`Serving`]: the server of a scenario, a real llama.cpp or a stand-in that works, and those who ask it.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use collector_core::statistic::model::Kind;

use super::Slow;
use super::tell::Took;
use crate::cached;
use crate::cgroup::Cgroup;
use crate::gguf;
use crate::llama::{Llama, complete, python};
use crate::serve::Process;

/// Tokens of an answer.
const TOKENS: u32 = 6;

/// When dropped, who asks it is gone first.
pub(super) enum Serving {
    Llama { asking: Vec<Asking>, took: Asked, llama: Llama },
    Works { process: Box<Process>, clients: usize },
}

/// What requests took, of all clients.
type Asked = Arc<Mutex<Took>>;

/// A client of llama.cpp, until it is told to stop.
pub(super) struct Asking {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Whether llama.cpp's server is installed.
pub(super) fn is_installed() -> bool {
    python().is_file()
}

impl Serving {
    /// Starts what this scenario wants. `serve` is the program of the stand-in.
    pub(super) fn start(scenario: &Slow, serve: &str, folder: &Path, cgroup: &Cgroup) -> Serving {
        let model = folder.join("made-up.gguf");
        let bytes = gguf::llama(&model, scenario.layers);
        if scenario.on_disk {
            fill(&model);
        }
        let places = scenario.places.to_string();
        if is_installed() {
            let load = if scenario.own { "none" } else { "mmap" };
            let flags = ["-c", "512", "-t", "1", "--cache-ram", "0", "--metrics", "-np", &places, "--load-mode", load];
            let llama = Llama::start(cgroup, &model, &flags);
            return Serving::Llama { asking: Vec::new(), took: Asked::default(), llama };
        }
        // Only llama.cpp's says how many places it has.
        let kind = if scenario.causes.contains(&"too_many_clients") { Kind::LlamaCpp } else { Kind::Vllm };
        let mut process = Box::new(Process::start(serve, folder, kind, &[], Some(cgroup)));
        match scenario.own {
            true => process.work(&bytes.to_string(), scenario.places),
            false => process.work(model.to_str().unwrap(), scenario.places),
        }
        Serving::Works { process, clients: 0 }
    }

    pub(super) fn port(&self) -> String {
        match self {
            Serving::Llama { llama, .. } => llama.port().to_owned(),
            Serving::Works { process, .. } => process.port.to_string(),
        }
    }

    /// So many more clients.
    pub(super) fn join(&mut self, count: usize) {
        match self {
            Serving::Llama { asking, took, llama } => {
                asking.extend((0..count).map(|_| ask(llama.address.clone(), took.clone())));
            }
            Serving::Works { process, clients } => {
                *clients += count;
                process.change(&[&format!("clients {clients}")]);
            }
        }
    }

    pub(super) fn took(&mut self) -> Took {
        match self {
            Serving::Llama { took, .. } => *took.lock().unwrap_or_else(PoisonError::into_inner),
            Serving::Works { process, .. } => process.took(),
        }
    }

    /// Only so many clients go on.
    pub(super) fn leave(&mut self, count: usize) {
        match self {
            Serving::Llama { asking, .. } => asking.iter().skip(count).for_each(Asking::stop),
            Serving::Works { process, clients } => {
                *clients = count.min(*clients);
                process.change(&[&format!("clients {clients}")]);
            }
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let Serving::Llama { asking, .. } = self else { return };
        asking.iter().for_each(Asking::stop);
        asking.drain(..).for_each(|asking| drop(asking.thread.join()));
    }
}

impl Asking {
    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn ask(address: String, took: Asked) -> Asking {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    // The server may be killed.
    let thread = std::thread::spawn(move || {
        let mut begun = Instant::now();
        while !stopped.load(Ordering::Relaxed) && catch_unwind(|| complete(&address, "abc", TOKENS)).is_ok() {
            let mut took = took.lock().unwrap_or_else(PoisonError::into_inner);
            *took = (took.0 + 1, took.1 + begun.elapsed().as_secs_f64());
            begun = Instant::now();
        }
    });
    Asking { stop, thread }
}

/// Writes the holes of a model to the disk, so that it is read from there, and leaves nothing in memory: who reads it is charged.
fn fill(model: &Path) {
    let bytes = fs::read(model).unwrap();
    fs::write(model, &bytes).unwrap();
    cached::forget(model);
}
