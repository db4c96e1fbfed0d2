//! compaction: which workloads had to move pages before an allocation, and for how long.

use super::{State, named};
use crate::count::{grow, grow_histogram};
use crate::outcome::Outcome;
use crate::signal::compaction::Reading;

pub(super) fn fold(State { view, .. }: State<'_>, time: u64, reading: &Reading) -> Option<Outcome> {
    match reading {
        Reading::Counts { cgroup, stalls, ns } => {
            let amounts = &mut view.workloads.charge(*cgroup).compaction;
            grow(&mut amounts.stalls, *stalls);
            grow(&mut amounts.ns, *ns);
            None
        }
        Reading::Time { histogram } => {
            grow_histogram(&mut view.host.compaction, histogram);
            None
        }
        Reading::Stall(stall) => {
            let named = named(view, time, stall.cgroup, stall.clone());
            Some(Outcome::CompactionStall(Box::new(named)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::test::{ID, counters, engine};
    use crate::outcome::Named;
    use crate::sample::{self, Sample};
    use crate::signal::RowKey;
    use crate::signal::compaction::Stall;

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
