//! The CUDA driver's library as a source: finds it in the processes that have loaded it, and attaches the programs of
//! the signal `transfer` to it. Reading the maps of a process that hangs in the kernel may block, and attaching is
//! slow: a separate thread does both. The kernel source reads the programs' counters.

mod attach;
pub mod finder;
pub mod join;
pub mod library;
mod process;
mod share;

use std::sync::{Arc, Mutex};
use std::thread::{self, Thread};
use std::time::Duration;

use anyhow::{Context as _, Error, Result};
use collector_core::sample::{Probe, Reading, Sample};

use super::root::Root;
use super::watch::Watch;
use super::{Health, Source};
use crate::clock;
use crate::mutex::lock;
use finder::Finder;
use join::Program;

/// A scan of the processes that takes longer than this counts as hung. Each file and each process has a deadline of its own.
const DEADLINE: Duration = Duration::from_secs(60);

/// Scanning uses at most 1/50 of a CPU, however many processes there are.
const CPU_SHARE: u64 = 50;

pub struct Transfers {
    shared: Arc<Shared>,
    thread: Thread,
}

struct Shared {
    status: Mutex<Status>,
    watch: Watch,
}

#[derive(Default)]
struct Status {
    /// Probes whose state changed since the last tick.
    changed: Vec<Probe>,
    problem: Option<String>,
    ns: u64,
}

impl Transfers {
    pub fn start(root: &Root, programs: Vec<Program>, pause: Duration) -> Result<Transfers> {
        let shared = Arc::new(Shared { status: Mutex::default(), watch: Watch::new(DEADLINE) });
        let mut finder = Finder::new(root, programs);
        let mine = shared.clone();
        let thread = thread::Builder::new().name("headroom-cuda".into());
        let thread = thread
            .spawn(move || mine.run(&mut finder, pause))
            .context("start the thread that scans for CUDA libraries")?;
        Ok(Transfers { shared, thread: thread.thread().clone() })
    }
}

impl Source for Transfers {
    /// Emits the probes whose state changed.
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        let time = clock::unix_ns();
        let hung = self.shared.watch.overdue().is_some();
        // The thread never holds this lock across a call that may block.
        let mut status = lock(&self.shared.status);
        status.changed.drain(..).for_each(|probe| emit(Sample { time, reading: Reading::Probe(probe) }));
        let error = match hung {
            true => Some("reading the maps of a process does not return".to_owned()),
            false => status.problem.clone(),
        };
        Health::Round { ns: status.ns, result: error.map_or(Ok(()), |error| Err(Error::msg(error))) }
    }
}

impl Drop for Transfers {
    fn drop(&mut self) {
        self.shared.watch.request_stop();
        self.thread.unpark();
    }
}

impl Shared {
    fn run(&self, finder: &mut Finder, pause: Duration) {
        let mut reported: Vec<Probe> = Vec::new();
        while !self.watch.should_stop() {
            let (started, cpu) = (clock::monotonic_ns(), clock::thread_ns());
            let scan = || finder.scan(started, pause.as_nanos() as u64);
            let failed = self.watch.call("processes", scan).err().map(|error| format!("{error:#}"));
            let probes = finder.probes();
            {
                let mut status = lock(&self.status);
                for probe in probes.iter().filter(|probe| !reported.contains(probe)) {
                    status.changed.retain(|waiting| waiting.program != probe.program);
                    status.changed.push(probe.clone());
                }
                status.problem = failed.or_else(|| finder.problem());
                status.ns = clock::monotonic_ns().saturating_sub(started);
            }
            reported = probes;
            let rest = Duration::from_nanos((clock::thread_ns() - cpu).saturating_mul(CPU_SHARE));
            thread::park_timeout(pause.max(rest));
        }
    }
}
