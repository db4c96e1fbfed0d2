//! The bounded state that samples fold into. It knows workloads by name, not how anything was measured; it does no IO and
//! has no clock. Once every workload has been seen, folding counters into it allocates nothing.

pub mod change;
pub mod coverage;
pub mod firing;
pub mod gpu;
pub mod history;
pub mod host;
pub mod number;
pub mod workload;

use crate::sample::{Reading, Start};
use change::Changes;
use coverage::Coverage;
use firing::Firing;
use gpu::Gpus;
use history::History;
use host::Host;
use number::{Known, Number};
use workload::{Workload, Workloads};

/// Everything that is known.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The latest time of any sample, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// When the source came up, in nanoseconds since the Unix epoch; zero before it did.
    pub started: u64,
    /// Headroom's version and the kernel's release, once known.
    pub build: Option<Build>,
    /// What belongs to the host as a whole.
    pub host: Host,
    /// What belongs to workloads.
    pub workloads: Workloads,
    /// GPUs.
    pub gpus: Gpus,
    /// Which alerts fire.
    pub firing: Firing,
    /// The last minute.
    pub history: History,
    /// What changed of late.
    pub changes: Changes,
    /// What can be seen, what was lost, and what seeing costs.
    pub coverage: Coverage,
}

/// What is running, on what.
#[derive(Clone, Debug, PartialEq)]
pub struct Build {
    /// Headroom's version.
    pub version: String,
    /// The kernel's release.
    pub kernel: String,
}

impl View {
    pub(crate) fn observe(&mut self, time: u64, reading: &Reading) {
        self.time = self.time.max(time);
        self.coverage.sample(reading);
    }

    /// The source came up.
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
            let point = number::point(workload, alive, known);
            write.workload(&mut workload.track, point, &number::ORIGIN);
        };
        self.workloads.record(time, before, self.gpus.holding(time), &mut self.changes, &mut keep);
        self.history.end(write, self.host.point(&self.gpus, known.has(Number::Stall)));
    }
}
