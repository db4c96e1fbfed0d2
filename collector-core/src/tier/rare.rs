//! What the disk's tier keeps besides the numbers of workloads: a few numbers of each GPU, how often something rare happened, what models
//! were used for, and how full filesystems were. Data only.

use std::sync::Arc;

use serde::Serialize;

use super::{Code, Scale};
use crate::stage::Stage;
use crate::statistic::gpu::Device;

/// A number of a GPU that outlives the minutes. What is asked weeks later: was it used, was it too small, was it slowed down, and was
/// the link what everything waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    MemoryUsed,
    /// Used and free, without what driver and firmware reserve.
    MemoryUsable,
    /// Share of the driver's sampling periods in which anything ran.
    Utilization,
    /// Degrees Celsius.
    Temperature,
    /// Watts.
    Power,
    PowerLimit,
    /// Whether heat, power supply or hardware keep its clocks down: 0 or 1.
    Throttled,
    /// Whether its power limit does: 0 or 1.
    PowerCapped,
    /// Share of the PCIe link's capacity.
    ToGpu,
    FromGpu,
}

pub const FIGURES: usize = Figure::ALL.len();

impl Figure {
    /// A new one stands at the end: what is on disk has the first ones.
    pub const ALL: [Figure; 10] = [
        Figure::MemoryUsed,
        Figure::MemoryUsable,
        Figure::Utilization,
        Figure::Temperature,
        Figure::Power,
        Figure::PowerLimit,
        Figure::Throttled,
        Figure::PowerCapped,
        Figure::ToGpu,
        Figure::FromGpu,
    ];

    pub const fn scale(self) -> Scale {
        match self {
            Figure::MemoryUsed | Figure::MemoryUsable => Scale::Bytes,
            _ => Scale::Number,
        }
    }
}

/// A GPU, or a MIG device of one, in a quarter of an hour.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Card {
    pub device: Arc<Device>,
    /// For how many seconds anything is known.
    pub seconds: u16,
    /// Minimum, mean and maximum of each figure.
    pub row: [[Code; 3]; FIGURES],
}

/// Something rare that is only counted. GPUs are named by their uuid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Rare {
    /// The agent started.
    Start,
    Lost(Stage),
    Xid(Arc<str>, u64),
    EccCorrected(Arc<str>),
    EccUncorrected(Arc<str>),
    PcieReplay(Arc<str>),
    /// A start that was granted, after a wait in this [`wait`] bucket.
    Granted(u8),
    /// A start that was refused, for want of one of [`REFUSED`].
    Refused(&'static str),
    /// A second in which the host had this level; none: it was not known.
    Level(Option<u8>),
    /// The most that was reserved at one time, of one of [`PEAKS`]. Two of one quarter are one: the larger.
    Peak(&'static str),
    /// Requests that a model worked on, and tokens that it read and made, by its name.
    Requests(Arc<str>),
    Tokens(Arc<str>),
    /// Bytes of a filesystem that programs cannot have any more, and all of it, by where it is mounted. Two of one quarter are one: the
    /// larger.
    Disk(Arc<str>),
    DiskSize(Arc<str>),
    /// How many CPUs the host has. Two of one quarter are one.
    Cpus,
}

/// What starts are refused for: a resource, what is not known, or what holds back although there is room (the level, a share, failures).
pub const REFUSED: [&str; 9] =
    ["host memory", "page cache", "VRAM", "disk", "CPU", "network", "slot", "not known", "held back"];
/// Bytes of two resources, and a number.
pub const PEAKS: [&str; 3] = ["host memory", "VRAM", "reservations"];

/// Buckets of a wait: 0 is no wait; each of the others reaches a quarter of an octave further, from a tenth of a second on.
pub mod wait {
    /// The last reaches over a day.
    pub const LAST: u8 = 80;

    /// The bucket of a wait in nanoseconds.
    pub fn bucket(ns: u64) -> u8 {
        let octaves = (ns as f64 / 1e8).log2();
        if ns == 0 { 0 } else { (4.0 * octaves).ceil().clamp(1.0, LAST.into()) as u8 }
    }

    /// The longest wait of a bucket, in seconds.
    pub fn seconds(bucket: u8) -> f64 {
        if bucket == 0 { 0.0 } else { 0.1 * (f64::from(bucket) / 4.0).exp2() }
    }
}

impl Rare {
    /// Whether two of one quarter are the larger of both, and not their sum.
    pub fn is_most(&self) -> bool {
        matches!(self, Rare::Peak(_) | Rare::Disk(_) | Rare::DiskSize(_) | Rare::Cpus)
    }

    /// The last of counts, which come in the order of time, that is one of these.
    pub fn last(counts: &[(u64, Rare, u64)], is: impl Fn(&Rare) -> bool) -> Option<u64> {
        counts.iter().rev().find(|(_, rare, _)| is(rare)).map(|(.., count)| *count)
    }

    /// The GPU, the model or the mount point that it is about, if it is about one, and what it is.
    pub fn key(&self) -> (&str, String) {
        match self {
            Rare::Start => ("", "start".to_owned()),
            Rare::Lost(stage) => ("", format!("lost {}", stage.label())),
            Rare::Xid(gpu, code) => (gpu, format!("xid {code}")),
            Rare::EccCorrected(gpu) => (gpu, "ecc corrected".to_owned()),
            Rare::EccUncorrected(gpu) => (gpu, "ecc uncorrected".to_owned()),
            Rare::PcieReplay(gpu) => (gpu, "pcie replay".to_owned()),
            Rare::Granted(bucket) => ("", format!("granted {bucket}")),
            Rare::Refused(what) => ("", format!("refused {what}")),
            Rare::Level(Some(level)) => ("", format!("level {level}")),
            Rare::Level(None) => ("", "level unknown".to_owned()),
            Rare::Peak(what) => ("", format!("peak {what}")),
            Rare::Requests(model) => (model, "requests".to_owned()),
            Rare::Tokens(model) => (model, "tokens".to_owned()),
            Rare::Disk(mount) => (mount, "disk used".to_owned()),
            Rare::DiskSize(mount) => (mount, "disk size".to_owned()),
            Rare::Cpus => ("", "cpus".to_owned()),
        }
    }

    /// `None` if another version wrote it that counts something else.
    pub fn parse(gpu: &str, what: &str) -> Option<Rare> {
        let (first, rest) = what.split_once(' ').unwrap_or((what, ""));
        let gpu = || Arc::from(gpu);
        Some(match (first, rest) {
            ("start", "") => Rare::Start,
            ("lost", label) => Rare::Lost(Stage::ALL.into_iter().find(|stage| stage.label() == label)?),
            ("xid", code) => Rare::Xid(gpu(), code.parse().ok()?),
            ("ecc", "corrected") => Rare::EccCorrected(gpu()),
            ("ecc", "uncorrected") => Rare::EccUncorrected(gpu()),
            ("pcie", "replay") => Rare::PcieReplay(gpu()),
            ("granted", bucket) => Rare::Granted(bucket.parse().ok().filter(|bucket| *bucket <= wait::LAST)?),
            ("refused", what) => Rare::Refused(REFUSED.into_iter().find(|known| *known == what)?),
            ("level", "unknown") => Rare::Level(None),
            ("level", level) => Rare::Level(Some(level.parse().ok().filter(|level| *level <= 4)?)),
            ("peak", what) => Rare::Peak(PEAKS.into_iter().find(|known| *known == what)?),
            ("requests", "") => Rare::Requests(gpu()),
            ("tokens", "") => Rare::Tokens(gpu()),
            ("disk", "used") => Rare::Disk(gpu()),
            ("disk", "size") => Rare::DiskSize(gpu()),
            ("cpus", "") => Rare::Cpus,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_read_back() {
        let gpu = || Arc::from("GPU-a");
        let gpus =
            [Rare::Xid(gpu(), 79), Rare::EccCorrected(gpu()), Rare::EccUncorrected(gpu()), Rare::PcieReplay(gpu())];
        let starts =
            [Rare::Start, Rare::Granted(0), Rare::Granted(wait::LAST), Rare::Level(None), Rare::Level(Some(4))];
        let named = [Rare::Requests(gpu()), Rare::Tokens(gpu()), Rare::Disk(gpu()), Rare::DiskSize(gpu()), Rare::Cpus];
        let starts = starts.into_iter().chain(REFUSED.map(Rare::Refused)).chain(PEAKS.map(Rare::Peak)).chain(named);
        for rare in Stage::ALL.map(Rare::Lost).into_iter().chain(gpus).chain(starts) {
            let (gpu, what) = rare.key();
            assert_eq!(Rare::parse(gpu, &what), Some(rare.clone()), "{what}");
        }
        for what in ["", "xid", "xid x", "lost nowhere", "level 5", "granted 81", "refused a", "peak", "something new"]
        {
            assert_eq!(Rare::parse("GPU-a", what), None, "{what}");
        }
        for (ns, most) in
            [(0, 0.0), (1, 0.12), (100_000_000, 0.12), (5_000_000_000, 5.9), (86_400_000_000_000, 102_761.0)]
        {
            let seconds = wait::seconds(wait::bucket(ns));
            assert!(seconds * 1e9 >= ns as f64 && seconds <= most, "{ns}: {seconds}");
        }
        assert!(Figure::ALL.iter().enumerate().all(|(index, figure)| *figure as usize == index));
    }
}
