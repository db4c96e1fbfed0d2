//! The bounded state into which samples are folded. It knows workloads by name, but not how anything was measured; it does no
//! IO and has no clock. Once every workload has been seen, folding counters allocates nothing.

pub mod change;
pub mod coverage;
pub mod firing;
pub mod gpu;
pub mod history;
pub mod host;
pub mod newest;
pub mod number;
pub mod workload;

use std::sync::Arc;

use crate::sample::{Reading, Start};
use crate::signal::oom::KILLS;
use crate::statistic;
use change::Changes;
use coverage::Coverage;
use firing::Firing;
use gpu::Gpus;
use history::History;
use host::Host;
use newest::Newest;
use number::{Known, Number};
use workload::{Unseen, Workload, Workloads};

#[derive(Clone, Debug, Default)]
pub struct View {
    /// The latest time of any sample, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Start time of the source, in nanoseconds since the Unix epoch; zero before the start.
    pub started: u64,
    /// Absent before the start.
    pub build: Option<Build>,
    pub host: Host,
    pub workloads: Workloads,
    pub gpus: Gpus,
    pub firing: Firing,
    /// The newest incident since the start.
    pub newest: Option<Arc<Newest>>,
    /// The last minute of the host; that of each workload is in its track.
    pub history: History,
    /// Recent changes.
    pub changes: Changes,
    /// State of probes and sources, losses, and the cost of measuring.
    pub coverage: Coverage,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Build {
    pub version: String,
    pub kernel: String,
}

impl View {
    pub(crate) fn observe(&mut self, time: u64, reading: &Reading) {
        self.time = self.time.max(time);
        self.coverage.sample(reading);
    }

    /// The source started.
    pub(crate) fn start(&mut self, time: u64, start: &Start) {
        self.started = time;
        self.build = Some(Build { version: start.version.clone(), kernel: start.kernel.clone() });
        self.workloads = Workloads::new(time, start);
    }

    pub(crate) fn tick(&mut self, time: u64) {
        self.workloads.tick(time, &mut self.coverage);
        let before = self.history.last();
        let mut write = self.history.begin(time);
        let known = Known::of(&self.coverage);
        let mut keep = |workload: &mut Workload, alive| {
            let point = number::point(workload, alive, known, write.since());
            write.workload(&mut workload.track, point, &number::ORIGIN);
        };
        self.workloads.record(time, before, self.gpus.holding(time), &mut self.changes, &mut keep);
        self.history.end(write, self.host.point(&self.gpus, known.has(Number::Stall)));
    }

    /// At a tick: OOM kills that no program saw.
    pub(crate) fn unseen_kills(&mut self, time: u64) -> Vec<Unseen> {
        if !self.coverage.misses(KILLS) {
            return Vec::new();
        }
        let host = self.host.statistics.get(statistic::host::Statistic::OomKills);
        self.workloads.unseen_kills(time, host)
    }
}
