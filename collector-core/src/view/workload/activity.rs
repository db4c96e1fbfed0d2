//! Whether a workload was ever busy: then its usual series are worth their price. Once busy it stays so, because series that come and
//! go are of little use.

use super::{Transfer, Workload};
use crate::count::sum;
use crate::signal::block::Operation;
use crate::statistic::workload::Statistic;

/// Work is compared with that of a moment at most this long ago.
const WINDOW_NS: u64 = 60_000_000_000;
/// CPU time, or time that its tasks waited, in a window: 1 % of it.
const TIME_NS: u64 = WINDOW_NS / 100;
/// Bytes from or to disks in a window: 1 MiB per second.
const IO_BYTES: u64 = 60 << 20;
/// Memory from which a workload is worth it whatever it does.
const LARGE_BYTES: u64 = 1 << 30;

/// What it did so far, in the order of [`MUCH`]; `None` where that is not known.
type Work = [Option<u64>; MUCH.len()];

/// How much of each is much, in a window: CPU time, waits for memory, a CPU and IO, stalls, bytes read and written.
const MUCH: [u64; 7] = [TIME_NS, TIME_NS, TIME_NS, TIME_NS, TIME_NS, IO_BYTES, IO_BYTES];

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Activity {
    busy: bool,
    /// When the window began, in nanoseconds since the Unix epoch, and its work until then.
    since: Option<(u64, Work)>,
}

impl Activity {
    pub const BUSY: Activity = Activity { busy: true, since: None };

    /// Adds that of a workload that is this one from now on.
    pub fn absorb(&mut self, newer: Activity) {
        *self = Activity { busy: self.busy || newer.busy, since: None };
    }
}

impl Workload {
    /// Whether it is or was busy.
    pub fn is_busy(&self) -> bool {
        self.activity.busy
    }

    /// At a tick: it may become busy.
    pub(super) fn watch(&mut self, time: u64) {
        if self.activity.busy {
            return;
        }
        let now = self.work();
        let (since, before) = self.activity.since.get_or_insert((time, now));
        let much = now.iter().zip(&mut *before).zip(MUCH).any(|((now, before), much)| {
            // What was done before it was first read says nothing about now.
            let before = before.or(*now).inspect(|first| *before = Some(*first));
            now.zip(before).is_some_and(|(now, before)| now.saturating_sub(before) >= much)
        });
        let over = time.saturating_sub(*since) >= WINDOW_NS;
        if over {
            (*since, *before) = (time, now);
        }
        // Where nobody knows what CPU time it uses, it may be busy.
        self.activity.busy = much || over && now[0].is_none() && self.is_alive() || self.matters();
    }

    fn work(&self) -> Work {
        use Statistic::{CpuPressureSome, CpuUsage, IoPressureSome, IoReadBytes, IoWriteBytes, MemoryPressureSome};
        let get = |statistic| self.statistics.get(statistic);
        let amounts = &self.amounts;
        let reclaim = amounts.reclaim.iter().map(|reclaim| reclaim.ns);
        let stalls = sum(reclaim.chain([amounts.compaction.ns, amounts.counted.dirty.ns]));
        // Where the programs see block IO, the files are not needed.
        let io = |operation: Operation, file| match amounts.block[operation as usize].bytes {
            0 => get(file),
            bytes => Some(bytes),
        };
        [
            get(CpuUsage),
            get(MemoryPressureSome),
            get(CpuPressureSome),
            get(IoPressureSome),
            Some(stalls),
            io(Operation::Read, IoReadBytes),
            io(Operation::Write, IoWriteBytes),
        ]
    }

    /// Whether it is worth its series however little it does: it is large, holds half of its limit, uses a GPU, or had a kill.
    fn matters(&self) -> bool {
        let get = |statistic| self.statistics.get(statistic);
        let held = get(Statistic::MemoryCurrent).unwrap_or(0);
        let limits = [Statistic::MemoryLimit, Statistic::MemoryHigh].into_iter().filter_map(get);
        let near = limits.min().is_some_and(|limit| held > limit / 2);
        let gpu = || self.vram().is_some() || self.amounts.transfer != Transfer::default();
        held >= LARGE_BYTES || near || self.was_killed() || gpu()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Id;
    use crate::engine::Engine;
    use crate::engine::test::{ID, start};
    use crate::sample::{Reading, Sample, Start, Statistics};
    use crate::signal::cgroup;
    use crate::statistic::workload::Statistic::*;

    const SECOND: u64 = 1_000_000_000;
    const MIB: u64 = 1 << 20;

    /// Whether a cgroup with these statistics, from one second to the next, is or was busy at the end.
    fn is_busy(seconds: u64, numbers: impl Fn(u64) -> Vec<(Statistic, u64)>) -> bool {
        let id = Id { id: 90, ..ID };
        let mut engine = Engine::new();
        let born = cgroup::Reading::Born { id, path: "/a".into() };
        let start = Start { workload_max: 10, ..start() };
        for reading in [Reading::Start(start), Reading::Cgroup(born)] {
            engine.apply(&Sample { time: SECOND, reading });
        }
        for second in 1..=seconds {
            let values = numbers(second).into_iter().collect();
            let statistics = Statistics { cgroup: id, values, turn: true };
            for reading in [Reading::Statistics(statistics), Reading::Tick] {
                engine.apply(&Sample { time: second * SECOND, reading });
            }
        }
        engine.view().workloads.find("/a").unwrap().is_busy()
    }

    #[test]
    fn one_percent_of_a_cpu_or_of_waiting_is_busy_and_less_is_not() {
        for statistic in [CpuUsage, MemoryPressureSome, CpuPressureSome, IoPressureSome] {
            let grows = |ms: u64| {
                is_busy(300, |second| {
                    vec![
                        (MemoryCurrent, MIB),
                        (CpuUsage, 7 * SECOND),
                        (statistic, 70 * SECOND + second * ms * 1_000_000),
                    ]
                })
            };
            assert_eq!([grows(9), grows(11)], [false, true], "{statistic:?}");
        }
        let reads = |rate| is_busy(300, |second| vec![(CpuUsage, 0), (IoReadBytes, (7 << 30) + second * rate)]);
        assert_eq!([reads(MIB * 9 / 10), reads(MIB * 11 / 10)], [false, true]);
    }

    #[test]
    fn a_burst_is_enough_and_a_busy_one_stays_busy() {
        let burst = |ms: u64| is_busy(600, |second| vec![(CpuUsage, if second < 70 { 0 } else { ms * 1_000_000 })]);
        assert_eq!([burst(500), burst(700)], [false, true]);
    }

    #[test]
    fn what_was_done_before_it_was_first_read_does_not_count() {
        assert!(!is_busy(90, |second| match second {
            1..30 => vec![(MemoryCurrent, MIB)],
            _ => vec![(MemoryCurrent, MIB), (CpuUsage, 3600 * SECOND), (IoWriteBytes, 7 << 40)],
        }));
        assert!(is_busy(90, |_| vec![(MemoryCurrent, MIB)]), "its CPU time is not known");
    }

    #[test]
    fn who_is_large_or_near_a_limit_is_worth_it() {
        let holds = |mib: u64, limit: Option<(Statistic, u64)>| {
            let limit = limit.map(|(kind, mib)| (kind, mib * MIB));
            is_busy(3, |_| [(CpuUsage, 0), (MemoryCurrent, mib * MIB)].into_iter().chain(limit).collect())
        };
        assert_eq!([holds(1023, None), holds(1024, None)], [false, true]);
        for kind in [MemoryLimit, MemoryHigh] {
            assert_eq!([holds(50, Some((kind, 100))), holds(51, Some((kind, 100)))], [false, true]);
        }
    }
}
