//! How complete the record of a period is: when the host was not watched, how often the agent started, what it lost.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Material;
use crate::count::grow;
use crate::stage::Stage;
use crate::tier::{Rare, Tier};

const STEP: u64 = Tier::QuarterHour.step();
const SECOND: u64 = 1_000_000_000;
/// A quarter of an hour of which no more is unknown has no gap: ticks are not exactly a second apart.
const SLACK: u64 = 15 * SECOND;

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Record {
    /// When the host's history begins, also if that is long before the period; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begins: Option<u64>,
    /// For how many seconds the host could have been watched: without a quarter of an hour that is not over.
    pub whole_seconds: u64,
    /// When it was not, oldest first.
    pub gaps: Vec<Gap>,
    /// How often the agent started.
    pub starts: u64,
    /// What it lost, by stage.
    pub lost: BTreeMap<&'static str, u64>,
}

/// Quarters of an hour that are not known, or not all of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gap {
    pub from: u64,
    pub to: u64,
    /// For how many seconds of it the host was not watched.
    pub missing_seconds: u64,
}

impl Record {
    pub(super) fn of((from, to): (u64, u64), material: &Material) -> Record {
        let Material { host, counts, history_from, .. } = material;
        let mut record = Record { begins: *history_from, ..Record::default() };
        let known: BTreeMap<u64, u64> = host.iter().map(|known| (known.time, u64::from(known.seconds))).collect();
        let mut time = from.div_ceil(STEP) * STEP;
        while time < to {
            let end = (time + STEP).min(to);
            let seconds = known.get(&time).copied();
            // A quarter that is not over goes to the disk when it is.
            if end - time == STEP || seconds.is_some() {
                let length = if end - time == STEP { STEP } else { 0 };
                record.whole_seconds += length.max(seconds.unwrap_or(0).min(STEP / SECOND) * SECOND) / SECOND;
                let missing = length.saturating_sub(seconds.unwrap_or(0).saturating_mul(SECOND));
                if missing > SLACK {
                    record.miss(time, end, missing / SECOND);
                }
            }
            time = end;
        }
        for (_, rare, count) in counts {
            match rare {
                Rare::Start => grow(&mut record.starts, *count),
                Rare::Lost(stage) => grow(record.lost.entry(stage.label()).or_default(), *count),
                _ => {}
            }
        }
        record
    }

    fn miss(&mut self, from: u64, to: u64, missing_seconds: u64) {
        match self.gaps.last_mut().filter(|last| last.to == from) {
            Some(last) => {
                last.to = to;
                last.missing_seconds += missing_seconds;
            }
            None => self.gaps.push(Gap { from, to, missing_seconds }),
        }
    }

    /// What a stage dropped, and what to do about it.
    pub(super) fn texts(label: &str) -> Option<(&'static str, &'static str)> {
        Stage::ALL.into_iter().find(|stage| stage.label() == label).map(Stage::texts)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Known;
    use super::super::tests::quarter;
    use super::*;

    #[test]
    fn a_gap_is_where_quarters_are_missing_or_short_and_the_open_one_is_none() {
        let host = |seconds: &[(u64, u16)]| -> Vec<Known> {
            seconds.iter().map(|(index, seconds)| quarter(*index, *seconds, [1.0; 3], 0.0)).collect()
        };
        let of = |period, host, counts: &[(u64, Rare, u64)]| {
            let material = Material { host, counts: counts.to_vec(), history_from: Some(7), ..Material::default() };
            Record::of(period, &material)
        };
        let gap = |from, to, missing_seconds| Gap { from: from * STEP, to: to * STEP, missing_seconds };
        let record = of((0, 6 * STEP + 60 * SECOND), host(&[(1, 900), (2, 400), (4, 890), (5, 900)]), &[]);
        assert_eq!(record.gaps, [gap(0, 1, 900), gap(2, 4, 1400)]);
        assert_eq!(
            (record.begins, record.whole_seconds),
            (Some(7), 6 * 900),
            "the history begins before the first gap"
        );
        // A period begins in the middle of a quarter that it does not have.
        let record = of((STEP / 2, 3 * STEP), host(&[(1, 900), (2, 900)]), &[]);
        assert_eq!((record.gaps.len(), record.whole_seconds), (0, 1800));
        // The agent stopped in the open quarter, and left what it knew.
        let record = of((0, STEP + 300 * SECOND), host(&[(0, 900), (1, 200)]), &[]);
        assert_eq!((record.gaps.len(), record.whole_seconds), (0, 1100));
        let lost = [(0, Rare::Lost(Stage::RingBulk), 2), (STEP, Rare::Lost(Stage::RingBulk), 3), (0, Rare::Start, 1)];
        let record = of((0, STEP), Vec::new(), &lost);
        assert_eq!((record.lost["ring_bulk"], record.starts), (5, 1));
    }
}
