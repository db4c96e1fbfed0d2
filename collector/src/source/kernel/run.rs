//! The programs' runs: skipped runs, and, while the kernel measures them, the number and time of runs.
//!
//! Asking the kernel for them takes as long as the rest of an idle tick, so it is asked only now and then: runs are skipped rarely.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::Ebpf;
use collector_core::sample::{Lost, Program, Reading};
use collector_core::stage::Stage;

use super::bpf::{self, Statistics};
use crate::clock;

/// The counters are read once in this many ticks, and at every tick while they are measured.
const INTERVAL: u64 = 10;

/// The run counters of the active programs.
pub struct Runs {
    /// Each with its last counters.
    programs: Vec<(&'static str, Statistics)>,
    tick: u64,
    measurement: Option<Measurement>,
}

/// The kernel measures the programs while `window` is open. It costs each run two clock readings, so it ends after a
/// while.
struct Measurement {
    _window: Option<OwnedFd>,
    until: u64,
}

impl Runs {
    /// The counters of these programs, measured for `measure` from now on.
    pub fn new(programs: impl Iterator<Item = &'static str>, measure: Duration) -> Runs {
        let programs = programs.map(|name| (name, Statistics::default())).collect();
        Runs { programs, tick: 0, measurement: (!measure.is_zero()).then(|| Measurement::begin(measure)) }
    }

    /// Reads this program's too, if it does not yet.
    pub fn add(&mut self, name: &'static str) {
        if self.programs.iter().all(|(known, _)| *known != name) {
            self.programs.push((name, Statistics::default()));
        }
    }

    /// Emits the changes since the last call. The kernel skips a run if an interrupt would start the program again on
    /// its own CPU: the event is lost, and `missed` is called with the program's name.
    pub fn read(
        &mut self,
        ebpf: &Ebpf,
        missed: &mut dyn FnMut(&'static str),
        sink: &mut dyn FnMut(Reading),
    ) -> Result<()> {
        self.tick += 1;
        if self.measurement.is_none() && !self.tick.is_multiple_of(INTERVAL) {
            return Ok(());
        }
        for (name, before) in &mut self.programs {
            let Some(program) = ebpf.program(name) else { continue };
            let fd = program.fd().context("a program's descriptor")?;
            let now = bpf::statistics(fd.as_fd()).with_context(|| format!("read the run statistics of {name}"))?;
            let Statistics { runs, ns, misses } = now.since(std::mem::replace(before, now));
            if misses > 0 {
                missed(name);
                sink(Reading::Lost(Lost { stage: Stage::MissedRun, count: misses }));
            }
            if self.measurement.is_some() {
                sink(Reading::Program(Program { program: (*name).into(), runs, ns }));
            }
        }
        if self.measurement.as_ref().is_some_and(|measurement| clock::monotonic_ns() >= measurement.until) {
            self.measurement = None;
        }
        Ok(())
    }
}

impl Measurement {
    fn begin(length: Duration) -> Measurement {
        let window = aya::sys::enable_stats(aya::sys::Stats::RunTime);
        if let Err(error) = &window {
            tracing::info!("could not enable run statistics of eBPF programs: {error}");
        }
        let until = clock::monotonic_ns().saturating_add(length.as_nanos() as u64);
        Measurement { _window: window.ok(), until }
    }
}
