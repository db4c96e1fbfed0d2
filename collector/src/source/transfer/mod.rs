//! The CUDA driver's library as a source: found in whatever process has loaded it, so that the programs of the signal
//! `transfer` see its calls. A process that hangs in the kernel can keep whoever asks what it has mapped waiting, and
//! attaching takes its time: all of it happens on a thread of its own. What the programs count is read with the rest.

mod attach;
pub mod finder;
mod library;
mod process;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::clock;
use super::root::Root;
use super::watch::Watch;
use crate::sample::{Probe, Reading, Source};
use finder::{Finder, Program};

/// A look that takes longer than this hangs.
const DEADLINE: Duration = Duration::from_secs(10);

/// Of a CPU's time, looking takes at most one part in so many, however many processes there are.
const SHARE: u64 = 50;

/// The thread, and what it found out last.
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
    /// Those that changed and were not passed on yet.
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

    /// Emits what changed, and how the source fares.
    pub fn read(&self, emit: &mut dyn FnMut(Reading)) {
        let hangs = self.shared.watch.late().is_some();
        // Held for moments only, and never while the thread asks anybody.
        let mut told = self.shared.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.changed.drain(..).for_each(|probe| emit(Reading::Probe(probe)));
        let error = match hangs {
            true => Some("a process does not let itself be looked at".to_owned()),
            false => told.problem.clone(),
        };
        emit(Reading::Source(Source { source: "transfer".into(), up: error.is_none(), ns: told.ns, error }));
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
