//! The CUDA driver's library as a source: finds it in the processes that have loaded it, and attaches the programs of
//! the signal `transfer` to it. Reading the maps of a process that hangs in the kernel may block, and attaching is slow:
//! a thread of its own does both. What the programs count is read by the kernel source.

mod attach;
pub mod finder;
mod library;
mod process;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use anyhow::{Context as _, Error, Result};

use super::root::Root;
use super::watch::Watch;
use super::{Health, Source};
use crate::clock;
use crate::sample::{Probe, Reading, Sample};
use finder::{Finder, Program};

/// A scan of the processes that takes longer than this hangs.
const DEADLINE: Duration = Duration::from_secs(10);

/// Scanning takes at most one in so many parts of a CPU's time, however many processes there are.
const SHARE: u64 = 50;

/// The thread that scans, and its last result.
pub struct Transfers {
    shared: Arc<Shared>,
    thread: Thread,
}

struct Shared {
    told: Mutex<Told>,
    watch: Watch,
}

#[derive(Default)]
struct Told {
    /// Probes whose state changed since the last tick.
    changed: Vec<Probe>,
    problem: Option<String>,
    ns: u64,
}

impl Transfers {
    /// Starts the thread.
    pub fn start(root: &Root, programs: Vec<Program>, pause: Duration) -> Result<Transfers> {
        let shared = Arc::new(Shared { told: Mutex::default(), watch: Watch::new(DEADLINE) });
        let mut finder = Finder::new(root, programs);
        let mine = shared.clone();
        let thread = thread::Builder::new().name("headroom-cuda".into());
        let thread = thread.spawn(move || mine.run(&mut finder, pause)).context("start the thread for libraries")?;
        Ok(Transfers { shared, thread: thread.thread().clone() })
    }
}

impl Source for Transfers {
    /// Emits the probes whose state changed.
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        let time = clock::unix_ns();
        let hangs = self.shared.watch.late().is_some();
        // The thread never holds it across a call that may block.
        let mut told = self.shared.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.changed.drain(..).for_each(|probe| emit(Sample { time, reading: Reading::Probe(probe) }));
        let error = match hangs {
            true => Some("reading the maps of a process hangs".to_owned()),
            false => told.problem.clone(),
        };
        Health::Round { ns: told.ns, result: error.map_or(Ok(()), |error| Err(Error::msg(error))) }
    }
}

impl Drop for Transfers {
    fn drop(&mut self) {
        self.shared.watch.give_up();
        self.thread.unpark();
    }
}

impl Shared {
    fn run(&self, finder: &mut Finder, pause: Duration) {
        let mut passed_on: Vec<Probe> = Vec::new();
        while !self.watch.is_over() {
            let (begun, cpu) = (clock::monotonic_ns(), clock::thread_ns());
            let scan = || finder.scan(begun, pause.as_nanos() as u64);
            let failed = self.watch.call("processes", scan).err().map(|error| format!("{error:#}"));
            let probes = finder.probes();
            {
                let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                for probe in probes.iter().filter(|probe| !passed_on.contains(probe)) {
                    told.changed.retain(|waiting| waiting.program != probe.program);
                    told.changed.push(probe.clone());
                }
                told.problem = failed.or_else(|| finder.problem_told());
                told.ns = clock::monotonic_ns().saturating_sub(begun);
            }
            passed_on = probes;
            let rest = Duration::from_nanos((clock::thread_ns() - cpu).saturating_mul(SHARE));
            thread::park_timeout(pause.max(rest));
        }
    }
}
