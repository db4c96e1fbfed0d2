//! The bounded state into which samples are folded. It knows workloads by name, but not how anything was measured; it does no
//! IO and has no clock. Once every workload has been seen, folding counters allocates nothing.

pub mod advice;
pub mod change;
pub mod circuit;
pub mod coverage;
pub mod firing;
pub mod gpu;
pub mod history;
pub mod host;
pub mod incident;
pub mod leak;
pub mod lease;
pub mod level;
pub mod model;
pub mod model_file;
pub mod number;
pub mod reservation;
pub mod rising;
pub mod scaling;
pub mod schedule;
pub mod slow;
pub mod start;
pub mod starved;
pub mod workload;

use std::sync::Arc;

use crate::audit::Audit;
use crate::past::Past;
use crate::sample::{Reading, Start};
use crate::signal::oom::KILLS;
use crate::statistic;
use crate::tier::{Entry, Quarter};
use advice::Advices;
use change::Changes;
use circuit::Circuits;
use coverage::Coverage;
use firing::Firing;
use gpu::Gpus;
use history::{History, Track};
use host::Host;
use incident::Incidents;
use leak::Leaks;
use lease::Leases;
use level::Levels;
use model::Models;
use model_file::ModelFiles;
use number::{Known, Number};
use rising::Rising;
use scaling::Scaling;
use schedule::Scheduling;
use slow::Slows;
use start::Starts;
use starved::Starved;
use workload::{OTHER, Pass, Unseen, Workload, Workloads};

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
    /// Model servers.
    pub models: Models,
    /// What explains that something is slow.
    pub slow: Slows,
    /// Model files that processes use, and stores of them.
    pub model_files: ModelFiles,
    /// Jobs on GPUs, and how much of them they use.
    pub starved: Starved,
    /// How degraded the host is.
    pub level: Levels,
    pub firing: Firing,
    /// The newest incidents.
    pub incidents: Incidents,
    /// Memory that leaks.
    pub leaks: Leaks,
    /// Workloads whose memory rises, and what of them grows.
    pub rising: Rising,
    /// What is reserved, and who waits.
    pub leases: Leases,
    /// What the configuration reserves ahead.
    pub schedule: Scheduling,
    /// What of starts and levels the history on disk does not have yet.
    pub starts: Starts,
    /// How many instances of models there should be.
    pub scaling: Scaling,
    /// The history of the host; that of each workload is in its track.
    pub history: History,
    /// Recent changes.
    pub changes: Changes,
    /// Units that fail, or start too often.
    pub circuits: Circuits,
    /// State of probes and sources, losses, and the cost of measuring.
    pub coverage: Coverage,
    /// What could be measured at the last tick, and which numbers there were.
    pub known: Option<((u64, bool, bool), Known)>,
    /// The last days; nothing is known of them before they were read.
    pub past: Arc<Past>,
    /// What somebody should change.
    pub advice: Advices,
    /// Whether what isolates workloads acts.
    pub audit: Audit,
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
        self.coverage.start();
        self.build = Some(Build { version: start.version.clone(), kernel: start.kernel.clone() });
        self.host.controllers.clone_from(&start.controllers);
        self.workloads = Workloads::new(time, start);
        self.history.limit(start.history.unwrap_or_default());
        self.level.limits = Arc::new(start.level.clone().unwrap_or_default());
        self.starved.settings = start.starved.unwrap_or_default();
    }

    /// Returns what of the history goes to the disk.
    pub(crate) fn tick(&mut self, time: u64) -> Option<Quarter> {
        self.workloads.tick(time, &mut self.coverage);
        let before = self.history.last();
        let mut write = self.history.begin(time);
        let told = self.coverage.known();
        let kept = self.known.filter(|(kept, _)| *kept == told).map(|(_, known)| known);
        let known = kept.unwrap_or_else(|| Known::of(&self.coverage));
        let pass = Pass::begin(&mut write, self.known.replace((told, known)) == Some((told, known)));
        // Allocates only where there is something.
        let mut entries = Vec::new();
        let mut keep = |workload: &mut Workload, alive| {
            let point = number::point(workload, alive, known, write.since());
            if let Some(sums) = write.workload(&mut workload.track, point, &number::ORIGIN) {
                let owner = workload.identity.owner.clone();
                entries.extend(sums.entry(Some(workload.name.clone()), owner));
            }
        };
        self.workloads.record((time, before), pass, self.gpus.holding(time), &mut self.changes, &mut keep);
        let (turn, quarter, back) = (write.is_turn(), write.outgoing(), write.is_back());
        let host = self.history.end(write, self.host.point(&self.gpus, known.has(Number::Stall)));
        self.workloads.wrote(time, self.history.written());
        entries.extend(host.and_then(|sums| sums.entry(None, None)));
        if turn {
            let total = self.host.memory().map(|memory| memory.total);
            self.workloads.share_history(time, total, &mut self.history);
        }
        entries.extend(self.workloads.take_departed(quarter.is_some()));
        let (cards, mut counts) = self.gpus.record(time, quarter.is_some(), back);
        if quarter.is_some() {
            counts.extend(self.coverage.uncounted());
            self.coverage.count();
            counts.extend(self.starts.uncounted());
            self.starts.forget();
            counts.extend(self.models.uncounted(&self.workloads));
            self.models.usage.forget();
            counts.extend(self.host.room());
        }
        let time = quarter.or(self.history.quarter_begun())?;
        Some(Quarter { time, entries, cards, counts }).filter(|quarter| !quarter.is_empty())
    }

    /// The history of a workload, or of the host.
    pub(crate) fn track(&self, workload: Option<&str>) -> Option<&Track> {
        Some(match workload {
            None => &self.history.host,
            Some(OTHER) => &self.workloads.iter().next()?.track,
            Some(name) => &self.workloads.find(name)?.track,
        })
    }

    /// What of the history has not gone to the disk, when there are no more ticks.
    pub fn rest(&self) -> Option<Quarter> {
        let time = self.history.quarter_begun()?;
        let host = self.history.host.rest(self.history.written()).and_then(|sums| sums.entry(None, None));
        let entries: Vec<Entry> = self.workloads.history_left().chain(host).collect();
        let (cards, mut counts) = self.gpus.rest();
        counts.extend(self.coverage.uncounted());
        counts.extend(self.starts.uncounted());
        counts.extend(self.models.uncounted(&self.workloads));
        counts.extend(self.host.room());
        Some(Quarter { time, entries, cards, counts }).filter(|quarter| !quarter.is_empty())
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
