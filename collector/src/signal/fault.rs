//! fault: page faults by who took them and how, and the time of those that needed IO.

use collector_common::fault::word;
use serde::{Deserialize, Serialize};

use super::cgroup::Id;
use super::{Histogram, RowKey, cgroup_of, row};
use crate::engine::Outcome;
use crate::view::{View, grow};

/// What is read of page faults.
// A histogram on the heap would be an allocation a tick.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reading {
    /// The faults of one cgroup's tasks.
    Counts {
        /// The cgroup; absent for the sum of all that the kernel had no room to count apart.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cgroup: Option<Id>,
        /// See [`word`]: read, write and execute in user mode, the same in kernel mode, of any sort, major.
        counts: [u64; word::COUNT],
    },
    /// The lengths of all faults of the host that needed IO.
    MajorTime {
        /// Their lengths.
        histogram: Histogram,
    },
}

pub(super) fn counts(key: RowKey, growth: &[u64]) -> Option<Reading> {
    Some(Reading::Counts { cgroup: cgroup_of(key)?, counts: *row(growth)? })
}

pub(super) fn time(key: RowKey, growth: &[u64]) -> Option<Reading> {
    (key == RowKey::Index(0)).then_some(())?;
    Some(Reading::MajorTime { histogram: *row(growth)? })
}

/// Folds one reading into the view.
pub fn fold(view: &mut View, _time: u64, reading: &Reading) -> Option<Outcome> {
    match reading {
        Reading::Counts { cgroup, counts } => {
            let faults = &mut view.workloads.charge(*cgroup).faults;
            faults.iter_mut().zip(counts).for_each(|(faults, count)| grow(faults, *count));
        }
        Reading::MajorTime { histogram } => {
            crate::view::host::grow_histogram(&mut view.host.major_fault, histogram);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sample;
    use crate::signal::test::{ID, counters, engine};

    #[test]
    fn every_word_keeps_its_place() {
        let mut engine = engine();
        let words = [1, 2, 3, 4, 5, 6, 7, 8];
        for reading in counters("FAULT", RowKey::Cgroup(Some(ID)), &words) {
            engine.apply(&Sample { time: 20, reading: reading.clone() });
            engine.apply(&Sample { time: 30, reading });
        }
        let workload = engine.view().workloads.iter().find(|workload| &*workload.name == "/a").unwrap();
        assert_eq!(workload.amounts.faults, words.map(|word| 2 * word));
    }

    #[test]
    fn an_absurd_amount_saturates() {
        let mut engine = engine();
        for reading in counters("MAJOR_FAULT_TIME", RowKey::Index(0), &[u64::MAX; 28]) {
            engine.apply(&Sample { time: 20, reading: reading.clone() });
            engine.apply(&Sample { time: 30, reading });
        }
        assert_eq!(engine.view().host.major_fault, [u64::MAX; 28]);
    }
}
