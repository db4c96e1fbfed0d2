//! compaction: a task had to move pages about before it got a contiguous block.

use collector_common::compaction::{self, word};
use serde::{Deserialize, Serialize};

use super::cgroup::Id;
use super::{Histogram, Named, RowKey, cgroup_of, comm, row};
use crate::engine::Outcome;
use crate::view::{View, grow};

/// What is read of compaction.
// A histogram on the heap would be an allocation a tick.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reading {
    /// The stalls of one cgroup's tasks.
    Counts {
        /// The cgroup; absent for the sum of all that the kernel had no room to count apart.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cgroup: Option<Id>,
        /// Stalls.
        stalls: u64,
        /// Their time in nanoseconds.
        ns: u64,
    },
    /// The lengths of all stalls of the host.
    Time {
        /// Their lengths.
        histogram: Histogram,
    },
    /// One stall over the threshold.
    Stall(Stall),
}

/// One stall over the threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stall {
    /// The memory cgroup of the task that waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Id>,
    /// How long, in nanoseconds.
    pub ns: u64,
    /// Its process id.
    pub pid: u32,
    /// Its thread id.
    pub tid: u32,
    /// Its name.
    pub comm: String,
}

pub(super) fn decode(record: &compaction::Stall) -> Reading {
    Reading::Stall(Stall {
        cgroup: Id::from_record(record.cgroup),
        ns: record.ns,
        pid: record.task.pid,
        tid: record.task.tid,
        comm: comm(&record.task.comm),
    })
}

pub(super) fn counts(key: RowKey, growth: &[u64]) -> Option<Reading> {
    let words: &[u64; word::COUNT] = row(growth)?;
    Some(Reading::Counts { cgroup: cgroup_of(key)?, stalls: words[word::STALLS], ns: words[word::NS] })
}

pub(super) fn time(key: RowKey, growth: &[u64]) -> Option<Reading> {
    (key == RowKey::Index(0)).then_some(())?;
    Some(Reading::Time { histogram: *row(growth)? })
}

/// Folds one reading into the view.
pub fn fold(view: &mut View, time: u64, reading: &Reading) -> Option<Outcome> {
    match reading {
        Reading::Counts { cgroup, stalls, ns } => {
            let amounts = &mut view.workloads.charge(*cgroup).compaction;
            grow(&mut amounts.stalls, *stalls);
            grow(&mut amounts.ns, *ns);
            None
        }
        Reading::Time { histogram } => {
            crate::view::host::grow_histogram(&mut view.host.compaction, histogram);
            None
        }
        Reading::Stall(stall) => {
            let named = Named::new(view, time, stall.cgroup, stall.clone());
            Some(Outcome::CompactionStall(Box::new(named)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{self, Sample};
    use crate::signal::test::{ID, counters, engine};

    #[test]
    fn a_row_without_a_slot_is_charged_to_other() {
        let mut engine = engine();
        for reading in counters("COMPACTION", RowKey::Cgroup(None), &[2, 30]) {
            engine.apply(&Sample { time: 20, reading });
        }
        let other = engine.view().workloads.iter().find(|workload| &*workload.name == "other").unwrap();
        assert_eq!((other.amounts.compaction.stalls, other.amounts.compaction.ns), (2, 30));
    }

    #[test]
    fn a_stall_becomes_an_outcome_with_its_time() {
        let stall = Stall { cgroup: Some(ID), ns: 7, pid: 1, tid: 2, comm: "x".into() };
        let reading = sample::Reading::Compaction(Reading::Stall(stall.clone()));
        let outcomes = engine().apply(&Sample { time: 33, reading });
        let named = Named { time: 33, workload: Some("/a".into()), fact: stall };
        assert_eq!(outcomes, [Outcome::CompactionStall(Box::new(named))]);
    }
}
