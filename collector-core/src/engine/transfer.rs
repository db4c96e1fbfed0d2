//! transfer: copies between host and GPU, memory that workloads hold, and refused allocations.

use super::{State, named};
use crate::count::{grow, grow_histogram};
use crate::outcome::Outcome;
use crate::signal::transfer::Reading;

pub(super) fn fold(State { view, .. }: State<'_>, time: u64, reading: &Reading) -> Option<Outcome> {
    match reading {
        Reading::Counts { cgroup, calls, bytes, refused } => {
            let amounts = &mut view.workloads.charge(*cgroup).transfer;
            amounts.calls.iter_mut().zip(calls).for_each(|(sum, more)| grow(sum, *more));
            amounts.bytes.iter_mut().zip(bytes).for_each(|(sum, more)| grow(sum, *more));
            amounts.refused.iter_mut().zip(refused).for_each(|(sum, more)| grow(sum, *more));
            None
        }
        Reading::Time { direction, histogram } => {
            grow_histogram(&mut view.host.transfer[*direction as usize], histogram);
            None
        }
        Reading::Held { cgroup, bytes } => {
            let held = &mut view.workloads.charge(*cgroup).transfer.held;
            held.iter_mut().zip(bytes).for_each(|(sum, more)| *sum = sum.saturating_add(*more));
            None
        }
        Reading::Refused(refusal) => {
            let named = named(view, time, refusal.cgroup, refusal.clone());
            Some(Outcome::AllocationRefused(Box::new(named)))
        }
    }
}

#[cfg(test)]
mod tests {
    use collector_common::transfer;
    use zerocopy::{FromZeros, IntoBytes};

    use super::*;
    use crate::decode::record as decode_record;
    use crate::engine::test::{CONTEXT, ID, counters, engine};
    use crate::sample::{self, Sample};
    use crate::signal::RowKey;
    use crate::signal::transfer::Memory;

    #[test]
    fn a_row_is_charged_by_direction_and_memory() {
        let mut engine = engine();
        for reading in counters("TRANSFER", RowKey::Cgroup(Some(ID)), &[1, 2, 3, 10, 20, 30, 7, 8]) {
            engine.apply(&Sample { time: 20, reading });
        }
        let transfer = engine.view().workloads.of(ID).unwrap().amounts.transfer;
        assert_eq!((transfer.calls, transfer.bytes, transfer.refused), ([1, 2, 3], [10, 20, 30], [7, 8]));
    }

    #[test]
    fn memory_held_grows_and_shrinks() {
        let mut engine = engine();
        let mut held = |bytes| {
            let reading = sample::Reading::Transfer(Reading::Held { cgroup: Some(ID), bytes });
            engine.apply(&Sample { time: 20, reading });
            engine.view().workloads.of(ID).unwrap().amounts.transfer.held
        };
        assert_eq!(held([4096, 100]), [4096, 100]);
        assert_eq!(held([-96, -100]), [4000, 0]);
    }

    #[test]
    fn a_refusal_becomes_an_outcome_with_its_workload() {
        let mut record = transfer::Refusal::new_zeroed();
        record.header.kind = collector_common::ring::Kind::AllocationRefused as u32;
        record.cgroup = collector_common::cgroup::Id { id: ID.id, hierarchy: ID.hierarchy };
        (record.bytes, record.code, record.memory) = (1 << 40, 2, 1);
        let sample = decode_record(record.as_bytes(), &CONTEXT).unwrap();
        let [Outcome::AllocationRefused(reported)] = &engine().apply(&sample)[..] else { panic!() };
        assert_eq!((reported.workload.as_deref(), reported.fact.memory), (Some("/a"), Memory::Device));
        record.memory = 2;
        let malformed = decode_record(record.as_bytes(), &CONTEXT).unwrap_err();
        assert_eq!(malformed.why, "no such memory");
    }
}
