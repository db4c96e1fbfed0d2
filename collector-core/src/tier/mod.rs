//! How long the history keeps what, and how finely. Data only: knows neither where a tier is stored nor who reads it.

mod code;
pub mod rare;

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
/// how much memory does it need, and does it leak (memory, and what of it cannot be dropped; against the limit in force at the time); did it work at all (CPU); was it slowed,
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

/// What is known of a quarter of an hour of the host, of a workload or of a GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Known<const N: usize = { KEPT.len() }> {
    /// When it began, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// For how many seconds of it anything is known.
    pub seconds: u16,
    /// Of each of [`KEPT`], or of each of [`Figure::ALL`].
    pub values: [Extent; N],
}

/// Minimum, mean and maximum, as far as they are known.
pub type Extent = [Option<f32>; 3];

impl<const N: usize> Known<N> {
    /// Adds another part of the same quarter.
    pub fn add(&mut self, part: &Known) {
        let weights = [self.seconds, part.seconds].map(|seconds| f32::from(seconds.max(1)));
        for (one, other) in self.values.iter_mut().zip(part.values) {
            *one = joined([(*one, weights[0]), (other, weights[1])]);
        }
        self.seconds = self.seconds.saturating_add(part.seconds);
    }
}

/// Several parts of a period, each with its weight.
pub fn joined(parts: impl IntoIterator<Item = (Extent, f32)>) -> Extent {
    let (mut least, mut most): (Option<f32>, Option<f32>) = (None, None);
    let (mut total, mut weights) = (0.0f64, 0.0f64);
    for ([min, mean, max], weight) in parts {
        least = least.into_iter().chain(min).reduce(f32::min);
        most = most.into_iter().chain(max).reduce(f32::max);
        if let Some(mean) = mean {
            total += f64::from(mean) * f64::from(weight);
            weights += f64::from(weight);
        }
    }
    [least, (weights > 0.0).then(|| (total / weights) as f32), most]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_quarter_make_it_up() {
        let of = |seconds, extent| Known { time: 0, seconds, values: [extent; KEPT.len()] };
        let mut quarter = of(600, [Some(1.0), Some(2.0), Some(8.0)]);
        quarter.add(&of(300, [Some(0.5), Some(5.0), Some(6.0)]));
        assert_eq!((quarter.seconds, quarter.values[0]), (900, [Some(0.5), Some(3.0), Some(8.0)]));
        quarter.add(&of(0, [None; 3]));
        assert_eq!(quarter.values[0], [Some(0.5), Some(3.0), Some(8.0)], "what is not known changes nothing");
        assert_eq!(joined([]), [None; 3]);
    }
}
