//! The statistics of a workload: sums over its cgroups. Cgroups come and go under one workload, for example when a service is
//! restarted: its counters continue and never go back, its gauges are those of the cgroups that exist.

use crate::count::grow;
use crate::statistic::workload::{COUNT, Statistic, Values};
use crate::statistic::{Kind, Statistic as _};

#[derive(Clone, Debug)]
pub struct Statistics {
    sums: [u64; COUNT],
    /// Number of existing cgroups that have the statistic.
    holders: [u32; COUNT],
    /// Whether the number is known, even if only from a removed cgroup.
    known: [bool; COUNT],
    /// A bit for each that was ever more than zero; for a limit, if there ever was one.
    used: u128,
}

const _: () = assert!(COUNT <= u128::BITS as usize);

/// The last statistics of one cgroup.
#[derive(Clone, Debug, Default)]
pub(super) struct Last(Option<Box<Numbers>>);

#[derive(Clone, Debug)]
struct Numbers {
    /// Counters stay when they can no longer be read: if they can be read again, growth is counted from here.
    numbers: [u64; COUNT],
    held: [bool; COUNT],
}

impl Default for Statistics {
    fn default() -> Statistics {
        Statistics { sums: [0; COUNT], holders: [0; COUNT], known: [false; COUNT], used: 0 }
    }
}

impl Statistics {
    /// A statistic of all its cgroups together, if it is known. There is a limit only if each of them has one.
    pub fn get(&self, statistic: Statistic) -> Option<u64> {
        let index = statistic.index();
        let unlimited = || self.holders[index] < self.holders[Statistic::MemoryCurrent.index()];
        let known = self.known[index] && !(statistic.kind() == Kind::Limit && unlimited());
        let sum = match statistic {
            // Parts of the charged memory that are read less often: they cannot be more than what is charged now.
            Statistic::MemoryWorkingSet | Statistic::MemoryWithoutCache => {
                self.sums[index].min(self.get(Statistic::MemoryCurrent).unwrap_or(u64::MAX))
            }
            _ => self.sums[index],
        };
        known.then_some(sum)
    }

    /// Whether a statistic was ever more than zero. One that only a limit or a quota makes grow counts as used once there is one.
    pub fn was_used(&self, statistic: Statistic) -> bool {
        let cause = match statistic {
            Statistic::MemoryEventHigh => Statistic::MemoryHigh,
            Statistic::CpuThrottled | Statistic::CpuThrottledPeriods => Statistic::CpuPeriods,
            other => other,
        };
        self.used & (1 << statistic.index() | 1 << cause.index()) != 0
    }

    /// Adds the current statistics of one of its cgroups. Returns whether that changed anything.
    pub(super) fn measure(&mut self, last: &mut Last, values: &Values) -> bool {
        let mut moved = false;
        let new = || Box::new(Numbers { numbers: [0; COUNT], held: [false; COUNT] });
        let last = last.0.get_or_insert_with(new);
        for statistic in Statistic::ALL {
            let index = statistic.index();
            let (before, now) = (last.held[index].then_some(last.numbers[index]), values.get(*statistic));
            let now = match statistic {
                // Read less often than what is charged, which is also a peak, as is every peak before.
                Statistic::MemoryPeak => {
                    now.map(|peak| peak.max(before.unwrap_or(0)).max(values.get(Statistic::MemoryCurrent).unwrap_or(0)))
                }
                _ => now,
            };
            let sum = &mut self.sums[index];
            let sum_before = *sum;
            match (statistic.kind(), now) {
                (Kind::Counter, Some(now)) => grow(sum, now.saturating_sub(last.numbers[index])),
                (Kind::Counter, None) => {}
                (Kind::Gauge | Kind::Limit, now) => {
                    // Values left over from removed cgroups are replaced.
                    let others = if self.holders[index] > 0 { sum.wrapping_sub(before.unwrap_or(0)) } else { 0 };
                    if before.is_some() || now.is_some() {
                        *sum = others.wrapping_add(now.unwrap_or(0));
                    }
                }
            }
            let holders = &mut self.holders[index];
            *holders = *holders + u32::from(now.is_some()) - u32::from(before.is_some());
            if before.is_some() || now.is_some() {
                self.known[index] = *holders > 0;
            }
            last.held[index] = now.is_some();
            if let Some(now) = now {
                last.numbers[index] = now;
                self.used |= u128::from(now > 0 || statistic.kind() == Kind::Limit) << index;
            }
            moved |= *sum != sum_before || before.is_some() != now.is_some();
        }
        moved
    }

    /// One of its cgroups was removed, or moved to another workload. The gauges of the last one stay until the workload goes.
    pub(super) fn leave(&mut self, last: &mut Last) {
        let Some(last) = &mut last.0 else { return };
        for statistic in Statistic::ALL {
            let index = statistic.index();
            if !std::mem::take(&mut last.held[index]) {
                continue;
            }
            self.holders[index] -= 1;
            if statistic.kind() != Kind::Counter && self.holders[index] > 0 {
                self.sums[index] = self.sums[index].wrapping_sub(last.numbers[index]);
            }
        }
    }

    /// Adds the statistics of another workload, whose cgroups belong to this one from now on.
    pub(super) fn absorb(&mut self, newer: &Statistics) {
        for statistic in Statistic::ALL {
            let index = statistic.index();
            let (sum, more) = (&mut self.sums[index], newer.sums[index]);
            match (statistic.kind(), self.holders[index] > 0, newer.holders[index] > 0) {
                (Kind::Counter, ..) => grow(sum, more),
                (_, true, true) => *sum = sum.wrapping_add(more),
                (_, false, _) if newer.known[index] => *sum = more,
                _ => {}
            }
            self.holders[index] += newer.holders[index];
            self.known[index] |= newer.known[index];
        }
        self.used |= newer.used;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Statistic::{CpuUsage, MemoryCurrent, MemoryHigh, MemoryLimit};

    fn values(numbers: &[(Statistic, u64)]) -> Values {
        numbers.iter().copied().collect()
    }

    #[test]
    fn several_cgroups_are_summed() {
        let (mut all, mut a, mut b) = (Statistics::default(), Last::default(), Last::default());
        assert_eq!(all.get(MemoryCurrent), None);
        all.measure(&mut a, &values(&[(MemoryCurrent, 10), (CpuUsage, 5)]));
        all.measure(&mut b, &values(&[(MemoryCurrent, 1), (CpuUsage, 1)]));
        all.measure(&mut a, &values(&[(MemoryCurrent, 4), (CpuUsage, 7)]));
        assert_eq!((all.get(MemoryCurrent), all.get(CpuUsage)), (Some(5), Some(8)));
    }

    #[test]
    fn after_a_restart_counters_continue_and_gauges_are_of_the_new_cgroup() {
        let (mut all, mut old, mut new) = (Statistics::default(), Last::default(), Last::default());
        all.measure(&mut old, &values(&[(MemoryCurrent, 10), (CpuUsage, 5)]));
        all.leave(&mut old);
        all.leave(&mut old);
        assert_eq!((all.get(MemoryCurrent), all.get(CpuUsage)), (Some(10), Some(5)), "a last scrape sees them");
        all.measure(&mut new, &values(&[(MemoryCurrent, 3), (CpuUsage, 1)]));
        assert_eq!((all.get(MemoryCurrent), all.get(CpuUsage)), (Some(3), Some(6)));

        // The other way round: the new one is there before the old one goes.
        let mut next = Last::default();
        all.measure(&mut next, &values(&[(MemoryCurrent, 100), (CpuUsage, 0)]));
        all.leave(&mut new);
        assert_eq!((all.get(MemoryCurrent), all.get(CpuUsage)), (Some(100), Some(6)));
    }

    #[test]
    fn unreadable_statistics_are_unknown_and_counters_continue_where_they_were() {
        let (mut all, mut last) = (Statistics::default(), Last::default());
        all.measure(&mut last, &values(&[(MemoryCurrent, 10), (CpuUsage, 5)]));
        all.measure(&mut last, &Values::new());
        assert_eq!((all.get(MemoryCurrent), all.get(CpuUsage)), (None, None));
        all.measure(&mut last, &values(&[(MemoryCurrent, 10), (CpuUsage, 7)]));
        assert_eq!((all.get(MemoryCurrent), all.get(CpuUsage)), (Some(10), Some(7)));
    }

    #[test]
    fn counters_never_go_back() {
        let (mut all, mut last) = (Statistics::default(), Last::default());
        for (now, sum) in [(5, 5), (4, 5), (6, 7), (u64::MAX, u64::MAX), (0, u64::MAX), (9, u64::MAX)] {
            all.measure(&mut last, &values(&[(CpuUsage, now)]));
            assert_eq!(all.get(CpuUsage), Some(sum));
        }
    }

    #[test]
    fn there_is_a_limit_only_if_all_cgroups_have_one() {
        let (mut all, mut a, mut b) = (Statistics::default(), Last::default(), Last::default());
        let mut cpu = Last::default();
        all.measure(&mut a, &values(&[(MemoryCurrent, 1), (MemoryLimit, 10)]));
        all.measure(&mut cpu, &values(&[(CpuUsage, 1)]));
        assert_eq!(all.get(MemoryLimit), Some(10), "a cgroup of another controller does not count");
        all.measure(&mut b, &values(&[(MemoryCurrent, 1), (MemoryLimit, 10), (MemoryHigh, 5)]));
        assert_eq!((all.get(MemoryLimit), all.get(MemoryHigh)), (Some(20), None));
        all.measure(&mut a, &values(&[(MemoryCurrent, 1)]));
        assert_eq!(all.get(MemoryLimit), None);
        all.leave(&mut a);
        assert_eq!((all.get(MemoryLimit), all.get(MemoryHigh)), (Some(10), Some(5)));
        all.leave(&mut b);
        assert_eq!((all.get(MemoryLimit), all.get(MemoryHigh)), (Some(10), Some(5)));
    }

    #[test]
    fn two_workloads_are_merged() {
        let (mut one, mut a) = (Statistics::default(), Last::default());
        let (mut two, mut b) = (Statistics::default(), Last::default());
        one.measure(&mut a, &values(&[(MemoryCurrent, 10), (CpuUsage, 5)]));
        two.measure(&mut b, &values(&[(MemoryCurrent, 1), (CpuUsage, 1), (MemoryLimit, 9)]));
        one.absorb(&two);
        assert_eq!((one.get(MemoryCurrent), one.get(CpuUsage), one.get(MemoryLimit)), (Some(11), Some(6), None));
        one.leave(&mut a);
        assert_eq!((one.get(MemoryCurrent), one.get(CpuUsage), one.get(MemoryLimit)), (Some(1), Some(6), Some(9)));
        // One with a removed cgroup, and one with an existing cgroup.
        one.leave(&mut b);
        let (mut three, mut c) = (Statistics::default(), Last::default());
        three.measure(&mut c, &values(&[(MemoryCurrent, 7)]));
        one.absorb(&three);
        assert_eq!(one.get(MemoryCurrent), Some(7));
    }

    #[test]
    fn the_working_set_is_at_most_what_is_charged() {
        let (mut all, mut last) = (Statistics::default(), Last::default());
        for (current, shown) in [(10, 7), (8, 7), (5, 5), (0, 0)] {
            all.measure(&mut last, &values(&[(MemoryCurrent, current), (Statistic::MemoryWorkingSet, 7)]));
            assert_eq!(all.get(Statistic::MemoryWorkingSet), Some(shown));
        }
    }

    #[test]
    fn the_peak_is_never_below_what_was_charged() {
        use Statistic::MemoryPeak;
        let (mut all, mut last) = (Statistics::default(), Last::default());
        for (current, read, peak) in [(4, 5, 5), (50, 5, 50), (10, 5, 50), (10, 60, 60), (7, 1, 60)] {
            all.measure(&mut last, &values(&[(MemoryCurrent, current), (MemoryPeak, read)]));
            assert_eq!(all.get(MemoryPeak), Some(peak), "{current}");
        }
        all.measure(&mut last, &values(&[(MemoryCurrent, 99)]));
        assert_eq!(all.get(MemoryPeak), None, "what the kernel does not say is unknown");
    }

    #[test]
    fn huge_numbers_do_not_overflow() {
        let (mut all, mut a, mut b) = (Statistics::default(), Last::default(), Last::default());
        let huge: Values = Statistic::ALL.iter().map(|statistic| (*statistic, u64::MAX)).collect();
        all.measure(&mut a, &huge);
        all.measure(&mut b, &huge);
        assert_eq!(all.get(CpuUsage), Some(u64::MAX));
        all.leave(&mut a);
        assert_eq!(all.get(MemoryCurrent), Some(u64::MAX), "exactly what one cgroup added is subtracted");
    }
}
