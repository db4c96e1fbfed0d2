//! The programs' runs: those that did not happen, and, while the kernel measures them, how many there were and their time.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::Ebpf;

use super::bpf::{self, Statistics};
use crate::clock;
use crate::sample::{Lost, Program, Reading};
use crate::stage::Stage;

/// The runs of the programs that see.
pub struct Runs {
    /// Each with what the kernel said last.
    programs: Vec<(&'static str, Statistics)>,
    measurement: Option<Measurement>,
}

/// The kernel measures the programs while `window` is held; it costs each run two readings of the clock, which is why it
/// is let go after a while.
struct Measurement {
    _window: Option<OwnedFd>,
    until: u64,
}

impl Runs {
    /// Of these programs, which are measured for as long as that from now on.
    pub fn new(programs: impl Iterator<Item = &'static str>, measure: Duration) -> Runs {
        let programs = programs.map(|name| (name, Statistics::default())).collect();
        Runs { programs, measurement: (!measure.is_zero()).then(|| Measurement::begin(measure)) }
    }

    /// Emits what is new since this was last asked. A program that an interrupt would start again on its own CPU is not
    /// run: what it would have seen is lost, and `missed` is told which one it was.
    pub fn read(
        &mut self,
        ebpf: &Ebpf,
        missed: &mut dyn FnMut(&'static str),
        sink: &mut dyn FnMut(Reading),
    ) -> Result<()> {
        for (name, before) in &mut self.programs {
            let Some(program) = ebpf.program(name) else { continue };
            let fd = program.fd().context("a program's descriptor")?;
            let now = bpf::statistics(fd.as_fd()).with_context(|| format!("ask about the runs of {name}"))?;
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
            tracing::info!("the kernel does not measure the programs' run time: {error}");
        }
        let until = clock::monotonic_ns().saturating_add(length.as_nanos() as u64);
        Measurement { _window: window.ok(), until }
    }
}
