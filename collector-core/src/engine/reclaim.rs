//! reclaim: which workloads had to free memory and for how long, and whose memory was freed.

use super::{State, named};
use crate::count::{grow, grow_histogram};
use crate::outcome::Outcome;
use crate::signal::reclaim::Reading;

pub(super) fn fold(State { view, .. }: State<'_>, time: u64, reading: &Reading) -> Option<Outcome> {
    match reading {
        Reading::Counts { cgroup, kind, stalls, ns, bytes, target_bytes } => {
            // Only newer kernels report whose memory it was: the first amount proves that this one does.
            view.coverage.target_reported |= *target_bytes > 0;
            let amounts = &mut view.workloads.charge(*cgroup).reclaim[*kind as usize];
            grow(&mut amounts.stalls, *stalls);
            grow(&mut amounts.ns, *ns);
            grow(&mut amounts.bytes, *bytes);
            grow(&mut amounts.target_bytes, *target_bytes);
            None
        }
        Reading::Time { kind, histogram } => {
            grow_histogram(&mut view.host.reclaim[*kind as usize], histogram);
            None
        }
        Reading::Stall(stall) => {
            let named = named(view, time, stall.cgroup, stall.clone());
            Some(Outcome::ReclaimStall(Box::new(named)))
        }
    }
}

#[cfg(test)]
mod tests {
    use collector_common::reclaim;
    use collector_common::ring::{Header, Kind as RecordKind};
    use zerocopy::{FromZeros, IntoBytes};

    use super::*;
    use crate::decode::record as decode_record;
    use crate::engine::test::{CONTEXT, ID, engine};
    use crate::sample::{self, Sample};
    use crate::signal::reclaim::Kind;

    #[test]
    fn counts_add_up_in_the_workload_and_the_first_target_is_noticed() {
        let mut engine = engine();
        for target_bytes in [0, 5] {
            assert!(!engine.view().coverage.target_reported);
            let counts =
                Reading::Counts { cgroup: Some(ID), kind: Kind::Direct, stalls: 1, ns: 10, bytes: 100, target_bytes };
            assert!(engine.apply(&Sample { time: 20, reading: sample::Reading::Reclaim(counts) }).is_empty());
        }
        assert!(engine.view().coverage.target_reported);
        let workload = engine.view().workloads.iter().find(|workload| &*workload.name == "/a").unwrap();
        let direct = &workload.amounts.reclaim[0];
        assert_eq!((direct.stalls, direct.ns, direct.bytes, direct.target_bytes), (2, 20, 200, 5));
    }

    #[test]
    fn a_stall_names_who_waited() {
        let mut record = reclaim::Stall::new_zeroed();
        record.header = Header::new(RecordKind::ReclaimStall, 5);
        record.cgroup = collector_common::cgroup::Id { id: ID.id, hierarchy: ID.hierarchy };
        record.kind = 1;
        record.pages = 2;
        let outcomes = engine().apply(&decode_record(record.as_bytes(), &CONTEXT).unwrap());
        let [Outcome::ReclaimStall(named)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
        assert_eq!((named.workload.as_deref(), named.fact.bytes), (Some("/a"), 8192));
        record.kind = 2;
        assert_eq!(decode_record(record.as_bytes(), &CONTEXT).unwrap_err().why, "no such kind of reclaim");
    }
}
