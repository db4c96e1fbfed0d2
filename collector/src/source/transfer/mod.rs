//! The CUDA driver's library as a source: found in whatever process has loaded it, so that the programs of the signal
//! `transfer` see its calls. A process that hangs in the kernel can keep whoever asks what it has mapped waiting, and
//! attaching takes its time: all of it happens on a thread of its own. What the programs count is read with the rest.

mod attach;
pub mod finder;
mod library;
mod process;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::clock;
use super::root::Root;
use crate::sample::{Probe, Reading, Source};
use finder::{Finder, Program};

/// A look that takes longer than this, in nanoseconds, hangs.
const DEADLINE: u64 = 10_000_000_000;

/// Of a CPU's time, looking takes at most one part in so many, however many processes there are.
const SHARE: u64 = 50;

/// The thread, and what it found out last.
pub struct Watch {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    told: Mutex<Told>,
    /// Since when the thread looks; zero while it rests.
    looking: AtomicU64,
    over: AtomicBool,
}

#[derive(Default)]
struct Told {
    /// Those that changed and were not passed on yet.
    changed: Vec<Probe>,
    problem: Option<String>,
    ns: u64,
}

impl Watch {
    /// Starts the thread.
    pub fn start(root: &Root, programs: Vec<Program>, pause: Duration) -> Result<Watch> {
        let shared = Arc::new(Shared::default());
        let mut finder = Finder::new(root, programs);
        let mine = shared.clone();
        let thread = thread::Builder::new().name("headroom-cuda".into());
        let thread = thread.spawn(move || mine.run(&mut finder, pause)).context("start the thread for libraries")?;
        Ok(Watch { shared, thread: thread.thread().clone() })
    }

    /// Emits what changed, and how the source fares.
    pub fn read(&self, emit: &mut dyn FnMut(Reading)) {
        let since = self.shared.looking.load(Ordering::Relaxed);
        let hangs = since != 0 && clock::monotonic_ns().saturating_sub(since) > DEADLINE;
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

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

impl Shared {
    fn run(&self, finder: &mut Finder, pause: Duration) {
        let mut passed_on: Vec<Probe> = Vec::new();
        while !self.over.load(Ordering::Relaxed) {
            let (begun, cpu) = (clock::monotonic_ns(), clock::thread_ns());
            self.looking.store(begun, Ordering::Relaxed);
            let failed = finder.scan(begun, pause.as_nanos() as u64).err().map(|error| format!("{error:#}"));
            self.looking.store(0, Ordering::Relaxed);
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
