//! What the disk's tier keeps besides the numbers of workloads: a few numbers of each GPU, and how often something rare happened.
//! Data only.

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
}

impl Rare {
    /// The GPU that it is about, if it is about one, and what it is.
    pub fn key(&self) -> (&str, String) {
        match self {
            Rare::Start => ("", "start".to_owned()),
            Rare::Lost(stage) => ("", format!("lost {}", stage.label())),
            Rare::Xid(gpu, code) => (gpu, format!("xid {code}")),
            Rare::EccCorrected(gpu) => (gpu, "ecc corrected".to_owned()),
            Rare::EccUncorrected(gpu) => (gpu, "ecc uncorrected".to_owned()),
            Rare::PcieReplay(gpu) => (gpu, "pcie replay".to_owned()),
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
        for rare in Stage::ALL.map(Rare::Lost).into_iter().chain(gpus).chain([Rare::Start]) {
            let (gpu, what) = rare.key();
            assert_eq!(Rare::parse(gpu, &what), Some(rare.clone()), "{what}");
        }
        for what in ["", "xid", "xid x", "lost nowhere", "something new"] {
            assert_eq!(Rare::parse("GPU-a", what), None, "{what}");
        }
        assert!(Figure::ALL.iter().enumerate().all(|(index, figure)| *figure as usize == index));
    }
}
