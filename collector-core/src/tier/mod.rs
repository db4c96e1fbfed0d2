//! How long the history keeps what, and how finely. Data only: knows neither where a tier is stored nor who reads it.

mod code;
mod rare;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::series::Series;
pub use code::{Code, ROUNDS, Round, Scale};
pub use rare::{Card, FIGURES, Figure, Rare};

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;

/// A level of detail. The finer, the shorter it reaches back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Every series of every workload, per second, or per tick where ticks are longer.
    Second,
    /// Like the following, of [`KEPT`]: the minimum, mean and maximum of ten seconds.
    TenSeconds,
    Minute,
    /// On disk.
    QuarterHour,
}

impl Tier {
    pub const ALL: [Tier; 4] = [Tier::Second, Tier::TenSeconds, Tier::Minute, Tier::QuarterHour];

    /// What one point stands for, in nanoseconds.
    pub const fn step(self) -> u64 {
        match self {
            Tier::Second => SECOND,
            Tier::TenSeconds => 10 * SECOND,
            Tier::Minute => MINUTE,
            Tier::QuarterHour => 15 * MINUTE,
        }
    }

    /// How far back it reaches, in nanoseconds, if nothing sheds it: the disk's tier as long as `history.max_age` says.
    pub const fn reach(self) -> u64 {
        match self {
            Tier::Second => 5 * MINUTE,
            Tier::TenSeconds => 60 * MINUTE,
            Tier::Minute => DAY,
            Tier::QuarterHour => 90 * DAY,
        }
    }
}

/// The series that outlive the minutes. What is asked about a workload hours or weeks later:
/// how much memory does it need, and does it leak (memory, and what of it cannot be dropped; against the limit of then); did it work at all (CPU); was it slowed,
/// and by what (waits for memory and for IO, and stalls, the only witness where the kernel has no pressure per cgroup: v1); what did
/// it hold of a GPU, and did it move weights over PCIe again and again (GPU memory, copies to GPUs).
///
/// A new one stands at the end: what is on disk has the first ones.
pub const KEPT: [Series; 9] = [
    Series::Memory,
    Series::Anon,
    Series::Cpu,
    Series::MemoryWaiting,
    Series::IoWaiting,
    Series::Stalls,
    Series::Vram,
    Series::HostToDevice,
    Series::MemoryLimit,
];

/// The place of a series among [`KEPT`].
pub fn kept(series: Series) -> Option<usize> {
    KEPT.iter().position(|kept| *kept == series)
}

/// Minimum, mean and maximum of each of [`KEPT`] in a period.
pub type Row = [[Code; 3]; KEPT.len()];

/// How much of it stays in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes that all tiers in memory may take.
    pub memory_bytes: u64,
    /// Workloads that have the coarse tiers.
    pub workloads: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { memory_bytes: 32 << 20, workloads: 200 }
    }
}

/// What is known of a quarter of an hour, or of the part of it that was not handed out yet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quarter {
    /// When it began, in nanoseconds since the Unix epoch.
    pub time: u64,
    pub entries: Vec<Entry>,
    pub cards: Vec<Card>,
    /// What rare happened, and how often.
    pub counts: Vec<(Rare, u64)>,
}

impl Quarter {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.cards.is_empty() && self.counts.is_empty()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// None: the host.
    pub workload: Option<Arc<str>>,
    /// The user who made it, if it is not root's.
    pub owner: Option<Arc<str>>,
    /// For how many seconds anything is known.
    pub seconds: u16,
    pub row: Row,
}
