//! fault: page faults by workload, and the time of major faults.

use super::State;
use crate::count::{grow, grow_histogram};
use crate::outcome::Outcome;
use crate::signal::fault::Reading;

pub(super) fn fold(State { view, .. }: State<'_>, _time: u64, reading: &Reading) -> Option<Outcome> {
    match reading {
        Reading::Counts { cgroup, counts } => {
            let faults = &mut view.workloads.charge(*cgroup).faults;
            faults.iter_mut().zip(counts).for_each(|(faults, count)| grow(faults, *count));
        }
        Reading::MajorTime { histogram } => {
            grow_histogram(&mut view.host.major_fault, histogram);
        }
    }
    None
}

#[cfg(test)]
mod tests {

    use crate::engine::test::{ID, counters, engine};
    use crate::sample::Sample;
    use crate::signal::RowKey;

    #[test]
    fn every_word_is_added_to_its_own_count() {
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
    fn a_sum_that_overflows_saturates() {
        let mut engine = engine();
        for reading in counters("MAJOR_FAULT_TIME", RowKey::Index(0), &[u64::MAX; 28]) {
            engine.apply(&Sample { time: 20, reading: reading.clone() });
            engine.apply(&Sample { time: 30, reading });
        }
        assert_eq!(engine.view().host.major_fault, [u64::MAX; 28]);
    }
}
