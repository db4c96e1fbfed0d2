//! What a period had of each GPU.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::block::Line;
use super::figures::{Spread, line, spread, total};
use crate::count::grow;
use crate::tier::{self, FIGURES, Figure, Rare};

/// A GPU, or a MIG device of one, in a period.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    pub uuid: Arc<str>,
    /// Its number; of a MIG device the GPU's and its own: `0:1`.
    pub gpu: Arc<str>,
    pub model: Arc<str>,
    /// Oldest first.
    pub quarters: Vec<Known>,
}

/// A quarter of an hour of a GPU: each of [`Figure::ALL`].
pub type Known = tier::Known<FIGURES>;

/// The numbers of a GPU in a period. What was never known is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    pub gpu: Arc<str>,
    pub uuid: Arc<str>,
    /// Empty if only errors are known of it.
    pub model: Arc<str>,
    pub memory_bytes: Spread,
    /// What can be used: without what driver and firmware reserve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_usable_bytes: Option<f64>,
    pub utilization_ratio: Spread,
    pub temperature_celsius: Spread,
    pub power_watts: Spread,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_limit_watts: Option<f64>,
    /// For how long heat, power supply or hardware kept its clocks down, and for how long its power limit did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_capped_seconds: Option<f64>,
    /// Share of the PCIe link's capacity.
    pub pcie_to_gpu_ratio: Spread,
    pub pcie_from_gpu_ratio: Spread,
    /// How often each error of the driver came, by its number (XID).
    pub xids: BTreeMap<u64, u64>,
    pub ecc_corrected: u64,
    pub ecc_uncorrected: u64,
    pub pcie_replays: u64,
    /// For pictures.
    #[serde(skip)]
    pub memory: Line,
    #[serde(skip)]
    pub utilization: Line,
    #[serde(skip)]
    pub temperature: Line,
}

/// Of each GPU, and of those of which only errors are known.
pub(super) fn figures(cards: &[Card], counts: &[(u64, Rare, u64)]) -> Vec<Figures> {
    let mut all: Vec<Figures> = cards.iter().map(Figures::of).collect();
    for (_, rare, count) in counts {
        let (Rare::Xid(uuid, _) | Rare::EccCorrected(uuid) | Rare::EccUncorrected(uuid) | Rare::PcieReplay(uuid)) =
            rare
        else {
            continue;
        };
        let place = all.iter().position(|figures| figures.uuid == *uuid).unwrap_or_else(|| {
            all.push(Figures { gpu: "?".into(), uuid: uuid.clone(), ..Figures::default() });
            all.len() - 1
        });
        let figures = &mut all[place];
        grow(
            match rare {
                Rare::Xid(_, code) => figures.xids.entry(*code).or_default(),
                Rare::EccCorrected(_) => &mut figures.ecc_corrected,
                Rare::EccUncorrected(_) => &mut figures.ecc_uncorrected,
                _ => &mut figures.pcie_replays,
            },
            *count,
        );
    }
    all
}

impl Figures {
    fn of(card: &Card) -> Figures {
        let all = |figure: Figure| {
            card.quarters.iter().map(move |quarter| (quarter.time, quarter.seconds, quarter.values[figure as usize]))
        };
        let spread = |figure| spread(all(figure));
        let total = |figure| total(all(figure));
        let (usable, limit) = (spread(Figure::MemoryUsable).max, spread(Figure::PowerLimit).max);
        Figures {
            gpu: card.gpu.clone(),
            uuid: card.uuid.clone(),
            model: card.model.clone(),
            memory_bytes: spread(Figure::MemoryUsed),
            memory_usable_bytes: usable,
            utilization_ratio: spread(Figure::Utilization),
            temperature_celsius: spread(Figure::Temperature),
            power_watts: spread(Figure::Power),
            power_limit_watts: limit,
            throttled_seconds: total(Figure::Throttled),
            power_capped_seconds: total(Figure::PowerCapped),
            pcie_to_gpu_ratio: spread(Figure::ToGpu),
            pcie_from_gpu_ratio: spread(Figure::FromGpu),
            memory: line(all(Figure::MemoryUsed), 2),
            utilization: line(all(Figure::Utilization), 1),
            temperature: line(all(Figure::Temperature), 2),
            ..Figures::default()
        }
    }

    pub(super) fn name(&self) -> String {
        match (&*self.gpu, &*self.model) {
            (_, "") => format!("GPU {}", self.uuid),
            (gpu, model) => format!("GPU {gpu} ({model})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_has_its_numbers_and_its_errors_and_one_of_which_only_errors_are_known_is_there() {
        let known = |time, throttled, celsius| {
            let mut values = [[None; 3]; FIGURES];
            values[Figure::Throttled as usize] = [Some(0.0), Some(throttled), Some(1.0)];
            values[Figure::Temperature as usize] = [Some(40.0), Some(50.0), Some(celsius)];
            Known { time, seconds: 900, values }
        };
        let quarters = vec![known(0, 0.5, 91.0), known(900_000_000_000, 0.0, 60.0)];
        let card = Card { uuid: "GPU-a".into(), gpu: "0".into(), model: "H100".into(), quarters };
        let xid = |gpu: &str, code, count| (0, Rare::Xid(gpu.into(), code), count);
        let counts = [xid("GPU-a", 31, 2), xid("GPU-a", 31, 1), xid("GPU-b", 79, 1), (0, Rare::Start, 1)];
        let all = figures(&[card], &counts);
        let [a, b] = &all[..] else { panic!("{all:?}") };
        assert_eq!(
            (a.throttled_seconds, a.temperature_celsius.max, a.power_watts),
            (Some(450.0), Some(91.0), Spread::default())
        );
        assert_eq!((a.xids[&31], b.xids[&79]), (3, 1));
        assert_eq!((a.name(), b.name()), ("GPU 0 (H100)".to_owned(), "GPU GPU-b".to_owned()));
    }
}
