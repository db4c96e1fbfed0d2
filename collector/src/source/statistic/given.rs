//! Which files' numbers come with the passes over all cgroups, so that the files need not be read, or seldom: what a row's words mean.
//! The files stay the witness: a test compares both.

use std::ffi::CStr;

use collector_common::pass::word;
use collector_core::statistic::workload::{Statistic as S, Values};

use super::file::{File, MICROSECOND, UNLIMITED};
use crate::source::kernel::pass::{Pass, Row};

/// How a word becomes a number.
#[derive(Clone, Copy, Debug)]
enum Unit {
    /// Pages → bytes.
    Pages,
    /// The same; a huge number means no limit.
    Limit,
    /// A limit on memory and swap together, less the limit on memory (v1).
    Both,
    /// As it is.
    Count,
    /// Nanoseconds, of which the file has whole microseconds.
    Micro,
    /// 1 if there is any, else 0.
    Any,
    /// 1 if there is any, else unknown.
    Some,
}

/// What is left to read in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing.
    Nothing,
    /// Numbers that are read at the cgroup's turn.
    Rest,
    /// All of it: the words say whether it changed. The kernel updates a pressure's total when its file is read, otherwise every two
    /// seconds (`PSI_FREQ`, kernel/sched/psi.c): a wait is seen so much later, and from then on to the moment.
    All,
}

/// A file, and its numbers.
#[derive(Debug)]
pub struct Given {
    v2: bool,
    name: &'static CStr,
    numbers: &'static [(S, usize, Unit)],
    pub left: Left,
}

const fn v1(name: &'static CStr, numbers: &'static [(S, usize, Unit)]) -> Given {
    Given { v2: false, name, numbers, left: Left::Nothing }
}

const fn v2(name: &'static CStr, numbers: &'static [(S, usize, Unit)]) -> Given {
    Given { v2: true, name, numbers, left: Left::Nothing }
}

const fn pressure(name: &'static CStr, numbers: &'static [(S, usize, Unit)]) -> Given {
    Given { left: Left::All, ..v2(name, numbers) }
}

const GIVEN: &[Given] = &[
    v2(c"memory.current", &[(S::MemoryCurrent, word::USAGE, Unit::Pages)]),
    v2(c"cgroup.events", &[(S::Populated, word::POPULATED, Unit::Any)]),
    Given {
        // User and system time are scaled by what the kernel keeps for the file (`cputime_adjust`, kernel/sched/cputime.c).
        left: Left::Rest,
        ..v2(
            c"cpu.stat",
            &[
                (S::CpuUsage, word::TIME, Unit::Micro),
                (S::CpuPeriods, word::PERIODS, Unit::Count),
                (S::CpuThrottledPeriods, word::THROTTLED_PERIODS, Unit::Count),
                (S::CpuThrottled, word::THROTTLED, Unit::Micro),
            ],
        )
    },
    pressure(c"memory.pressure", &[(S::MemoryPressureSome, word::MEMORY_PRESSURE, Unit::Micro)]),
    pressure(c"cpu.pressure", &[(S::CpuPressureSome, word::CPU_PRESSURE, Unit::Micro)]),
    pressure(c"io.pressure", &[(S::IoPressureSome, word::IO_PRESSURE, Unit::Micro)]),
    v2(c"memory.swap.current", &[(S::MemorySwap, word::SWAP, Unit::Pages)]),
    v2(
        c"memory.events",
        &[
            (S::MemoryEventLow, word::LOW_EVENTS, Unit::Count),
            (S::MemoryEventHigh, word::HIGH_EVENTS, Unit::Count),
            (S::MemoryEventMax, word::MAX_EVENTS, Unit::Count),
            (S::MemoryEventOom, word::OOM_EVENTS, Unit::Count),
            (S::MemoryEventOomKill, word::KILLS, Unit::Count),
            (S::MemoryEventOomGroupKill, word::GROUP_KILLS, Unit::Count),
        ],
    ),
    v2(c"memory.max", &[(S::MemoryLimit, word::LIMIT, Unit::Limit)]),
    v2(c"memory.high", &[(S::MemoryHigh, word::HIGH, Unit::Limit)]),
    v2(c"memory.low", &[(S::MemoryLow, word::LOW, Unit::Limit)]),
    v2(c"memory.min", &[(S::MemoryMin, word::MIN, Unit::Limit)]),
    v2(c"memory.swap.max", &[(S::MemorySwapLimit, word::SWAP_LIMIT, Unit::Limit)]),
    v2(c"memory.peak", &[(S::MemoryPeak, word::PEAK, Unit::Pages)]),
    v1(c"memory.usage_in_bytes", &[(S::MemoryCurrent, word::USAGE, Unit::Pages)]),
    v1(c"cgroup.procs", &[(S::Populated, word::POPULATED, Unit::Some)]),
    v1(c"memory.failcnt", &[(S::MemoryEventMax, word::FAILURES, Unit::Count)]),
    v1(
        c"memory.oom_control",
        &[(S::MemoryEventOomKill, word::KILLS, Unit::Count), (S::MemoryUnderOom, word::UNDER_OOM, Unit::Count)],
    ),
    v1(c"cpuacct.usage", &[(S::CpuUsage, word::TIME, Unit::Count)]),
    v1(
        c"cpu.stat",
        &[
            (S::CpuPeriods, word::PERIODS, Unit::Count),
            (S::CpuThrottledPeriods, word::THROTTLED_PERIODS, Unit::Count),
            (S::CpuThrottled, word::THROTTLED, Unit::Count),
        ],
    ),
    v1(c"memory.limit_in_bytes", &[(S::MemoryLimit, word::LIMIT, Unit::Limit)]),
    v1(c"memory.memsw.limit_in_bytes", &[(S::MemorySwapLimit, word::SWAP_LIMIT, Unit::Both)]),
    v1(c"memory.swappiness", &[(S::MemorySwappiness, word::SWAPPINESS, Unit::Count)]),
    v1(c"memory.max_usage_in_bytes", &[(S::MemoryPeak, word::PEAK, Unit::Pages)]),
    v1(c"memory.kmem.usage_in_bytes", &[(S::MemoryKernel, word::KERNEL, Unit::Pages)]),
];

impl Given {
    /// What the pass gives of a file, if this kernel has all of that.
    pub fn of(file: &File, pass: &Pass) -> Option<&'static Given> {
        let given = GIVEN.iter().find(|it| it.v2 == file.v2 && it.name == file.name)?;
        given.numbers.iter().all(|(_, word, _)| pass.has(*word)).then_some(given)
    }

    /// Whether a row has it: its cgroup has the controller.
    pub fn is_in(&self, row: &Row) -> bool {
        self.numbers.first().is_some_and(|(_, word, _)| row.get(*word).is_some())
    }

    /// The numbers of the file, as of the last pass.
    pub fn read(&self, row: &Row, values: &mut Values) {
        for (statistic, word, unit) in self.numbers {
            values.put(*statistic, row.get(*word).and_then(|raw| unit.number(raw, values)));
        }
    }

    /// Whether these are not the numbers of the file any more.
    pub fn differs(&self, row: &Row, values: &Values) -> bool {
        self.numbers.iter().any(|(statistic, word, unit)| {
            row.get(*word).and_then(|raw| unit.number(raw, values)) != values.get(*statistic)
        })
    }

    /// One of its numbers, as the file had it last.
    pub fn first(&self, values: &Values) -> Option<u64> {
        self.numbers.first().and_then(|(statistic, ..)| values.get(*statistic))
    }
}

impl Unit {
    fn number(self, raw: u64, values: &Values) -> Option<u64> {
        let bytes = || raw.saturating_mul(rustix::param::page_size() as u64);
        let limit = || Some(bytes()).filter(|bytes| *bytes < UNLIMITED);
        match self {
            Unit::Pages => Some(bytes()),
            Unit::Limit => limit(),
            Unit::Both => limit().zip(values.get(S::MemoryLimit)).map(|(both, memory)| both.saturating_sub(memory)),
            Unit::Count => Some(raw),
            Unit::Micro => Some(raw - raw % MICROSECOND),
            Unit::Any => Some(u64::from(raw > 0)),
            Unit::Some => (raw > 0).then_some(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use collector_common::pass::has;
    use collector_core::statistic::Statistic as _;

    use super::*;
    use crate::source::statistic::file::FILES;

    #[test]
    fn every_file_in_the_table_exists_and_has_these_numbers() {
        for given in GIVEN {
            let file = FILES.iter().find(|file| file.v2 == given.v2 && file.name == given.name).unwrap();
            let all: Values = S::ALL.iter().map(|statistic| (*statistic, 1)).collect();
            let (mut forgotten, mut left) = (all.clone(), all);
            file.format.forget(&mut forgotten);
            given.numbers.iter().for_each(|(statistic, ..)| left.put(*statistic, None));
            match given.left {
                Left::Nothing => assert_eq!(forgotten, left, "{:?}", given.name),
                _ => assert!(
                    forgotten.iter().all(|(it, _)| left.get(it).is_some()) && left != forgotten,
                    "{:?}",
                    given.name
                ),
            }
        }
    }

    #[test]
    fn words_mean_what_the_files_say() {
        let page = rustix::param::page_size() as u64;
        let unlimited = i64::MAX as u64 / page;
        let read = |name: &CStr, words: &[(usize, u64)]| {
            let mut values = Values::from_iter([(S::MemoryLimit, 2 * page)]);
            GIVEN.iter().find(|it| it.name == name).unwrap().read(&Row::of(words), &mut values);
            values
        };
        assert_eq!(read(c"memory.current", &[(word::USAGE, 3)]).get(S::MemoryCurrent), Some(3 * page));
        assert_eq!(read(c"memory.max", &[(word::LIMIT, 5)]).get(S::MemoryLimit), Some(5 * page));
        assert_eq!(read(c"memory.max", &[(word::LIMIT, unlimited)]).get(S::MemoryLimit), None);
        assert_eq!(read(c"memory.low", &[(word::LOW, 0)]).get(S::MemoryLow), Some(0));
        let both = |pages| read(c"memory.memsw.limit_in_bytes", &[(word::SWAP_LIMIT, pages)]).get(S::MemorySwapLimit);
        assert_eq!([both(5), both(2), both(unlimited)], [Some(3 * page), Some(0), None]);
        let populated = |name, count| read(name, &[(word::POPULATED, count)]).get(S::Populated);
        assert_eq!([populated(c"cgroup.events", 0), populated(c"cgroup.events", 3)], [Some(0), Some(1)]);
        assert_eq!([populated(c"cgroup.procs", 0), populated(c"cgroup.procs", 3)], [None, Some(1)]);
        assert_eq!(read(c"cpuacct.usage", &[(word::TIME, 1234)]).get(S::CpuUsage), Some(1234));
    }

    #[test]
    fn what_a_row_does_not_have_is_unknown() {
        let stat = GIVEN.iter().find(|it| it.v2 && it.name == c"cpu.stat").unwrap();
        let words = [(word::TIME, 5_999), (word::PERIODS, 3), (word::THROTTLED_PERIODS, 2), (word::THROTTLED, 7_001)];
        let mut values = Values::from_iter([(S::CpuUser, 1)]);
        let row = Row::of(&words);
        assert!(stat.is_in(&row) && stat.differs(&row, &values));
        stat.read(&row, &mut values);
        let expected = [(S::CpuUsage, 5_000), (S::CpuUser, 1), (S::CpuPeriods, 3), (S::CpuThrottledPeriods, 2)];
        assert_eq!(values, expected.into_iter().chain([(S::CpuThrottled, 7_000)]).collect());
        assert!(!stat.differs(&row, &values));
        // The cpu controller is off: as its file, without lines about a quota.
        let row = Row::of(&[words[0], (word::HAS, has::TIME)]);
        stat.read(&row, &mut values);
        assert_eq!(values, Values::from_iter([(S::CpuUsage, 5_000), (S::CpuUser, 1)]));
        let memory = GIVEN.iter().find(|it| it.v2 && it.name == c"memory.current").unwrap();
        assert!(!memory.is_in(&row), "it may be off, too");
    }
}
