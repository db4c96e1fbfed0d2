//! What is known of the last days, from the history on disk and the journal: by day, and by hour of the week. Data only, and bounded: knows
//! neither where it was read nor what follows from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// At most so many days, and so many workloads: those with the highest peaks.
pub const DAYS: usize = 28;
pub const WORKLOADS: usize = 512;
pub const HOURS: usize = 7 * 24;

/// The last days.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// When it was put together, in nanoseconds since the Unix epoch; zero: nothing is known yet.
    pub time: u64,
    pub host: Span,
    pub workloads: BTreeMap<Arc<str>, Span>,
    /// By uuid.
    pub gpus: BTreeMap<Arc<str>, Vec<GpuDay>>,
    /// How often each rule fired, and for how long, by day.
    pub alerts: BTreeMap<Arc<str>, Vec<AlertDay>>,
    /// Since when alerts and incidents are kept, in nanoseconds since the Unix epoch.
    pub events_from: Option<u64>,
}

/// What is known of the host or a workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Oldest first; a day of which nothing is known is missing.
    pub days: Vec<Day>,
    /// By hour of the week in UTC, from Monday at midnight on; empty: nothing is known.
    pub week: Vec<Hour>,
}

/// A day in UTC. What was never known is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Day {
    /// When it began, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Of how many seconds of it anything is known.
    pub seconds: u32,
    /// Bytes: least, mean, most.
    pub memory: Option<[f64; 3]>,
    pub anon: Option<[f64; 3]>,
    pub vram: Option<[f64; 3]>,
    /// CPUs in use: mean, most.
    pub cpus: Option<[f64; 2]>,
    /// The last memory limit that was in force, in bytes; of the host, its memory.
    pub limit: Option<f64>,
    /// Seconds in which some task waited (PSI), and seconds in reclaim and compaction, summed over tasks.
    pub memory_waiting: Option<f64>,
    pub io_waiting: Option<f64>,
    pub stalls: Option<f64>,
    /// Bytes copied to GPUs.
    pub host_to_device: Option<f64>,
    /// Processes that the OOM killer killed; absent where the journal does not reach back so far.
    pub kills: Option<u32>,
}

/// An hour of the week, over all weeks that are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hour {
    /// In how many weeks anything was known of it.
    pub weeks: u16,
    /// Over all of these: the mean of means, and the most.
    pub memory: Option<[f64; 2]>,
    pub vram: Option<[f64; 2]>,
    pub cpus: Option<[f64; 2]>,
    pub host_to_device: Option<[f64; 2]>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuDay {
    pub time: u64,
    pub seconds: u32,
    /// Share of time in which it ran something: mean, most.
    pub utilization: Option<[f64; 2]>,
    /// Bytes in use, as the driver has them: mean, most.
    pub memory: Option<[f64; 2]>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AlertDay {
    pub time: u64,
    pub fired: u32,
    pub seconds: u32,
}

impl Span {
    /// For how many seconds of all days anything is known.
    pub fn seconds(&self) -> u64 {
        self.days.iter().map(|day| u64::from(day.seconds)).sum()
    }
}
