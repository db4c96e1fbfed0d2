//! What is known of the last days, from the history on disk and the journal: by day; of the host and of models also by hour of the week.
//! Pure and bounded: knows neither where it was read nor what follows from it.

mod change;
mod day;
pub mod disk;
mod draft;
mod event;
pub mod model;
mod week;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use change::{Change, New};
pub use day::{DAY_NS, midnight};
pub use draft::{Draft, OF_OWNER, first_day};
pub use event::{Events, Short};
pub use week::hour_of_week;

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
    /// How often each rule fired, and for how long, by day.
    pub alerts: BTreeMap<Arc<str>, Vec<AlertDay>>,
    /// What models were used for, by their names.
    pub models: BTreeMap<Arc<str>, model::Use>,
    /// How full filesystems were, by where they are mounted.
    pub disks: BTreeMap<Arc<str>, Vec<disk::DiskDay>>,
    /// Since when alerts and incidents are kept, in nanoseconds since the Unix epoch.
    pub events_from: Option<u64>,
}

/// What is known of the host or a workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Oldest first; a day of which nothing is known is missing.
    pub days: Vec<Day>,
    /// By hour of the week in UTC ([`hour_of_week`]), from Monday at midnight on; empty: nothing is known, or it is a workload, of which
    /// none are kept.
    pub week: Vec<Hour>,
}

/// A day in UTC. What was never known is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Day {
    /// When it began, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Of how many seconds of it anything is known; none: only its kills are.
    pub seconds: u32,
    /// Bytes: least, mean, most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<[f64; 3]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anon: Option<[f64; 3]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vram: Option<[f64; 3]>,
    /// CPUs in use: mean, most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<[f64; 2]>,
    /// The last memory limit that was in force, in bytes; of the host, its memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// Seconds in which some task waited for memory (PSI), and seconds in reclaim and compaction, summed over tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_waiting: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stalls: Option<f64>,
    /// Processes that the OOM killer killed; absent where the journal does not reach back so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kills: Option<u32>,
    /// Those of them for which the workload's own limit, or the host, had run out of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kills_here: Option<u32>,
}

/// An hour of the week, over all weeks that are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Values", into = "Values")]
pub struct Hour {
    /// In how many weeks anything was known of it.
    pub weeks: u16,
    /// Bytes, over all of these: the mean of means, and the most.
    pub memory: Option<[f64; 2]>,
}

/// An hour in a recording, without names: there are many.
type Values = (u16, Option<[f64; 2]>);

impl From<Values> for Hour {
    fn from((weeks, memory): Values) -> Hour {
        Hour { weeks, memory }
    }
}

impl From<Hour> for Values {
    fn from(hour: Hour) -> Values {
        (hour.weeks, hour.memory)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AlertDay {
    pub time: u64,
    pub fired: u32,
    /// In which at least one of its alerts fired.
    pub seconds: u32,
}

impl Span {
    /// For how many seconds of all days anything is known.
    pub fn seconds(&self) -> u64 {
        self.days.iter().map(|day| u64::from(day.seconds)).sum()
    }
}
