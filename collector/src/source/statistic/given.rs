//! Which files' numbers come with the pass over all cgroups, so that the files need not be read: what a row's words mean. The files
//! stay the witness: a test compares both.

use std::ffi::CStr;

use collector_common::pass::word;
use collector_core::statistic::workload::{Statistic as S, Values};

use super::file::{File, UNLIMITED};
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
    /// 1 if there is any, else 0.
    Any,
    /// 1 if there is any, else unknown.
    Some,
}

/// A file, and its numbers.
#[derive(Debug)]
pub struct Given {
    v2: bool,
    name: &'static CStr,
    numbers: &'static [(S, usize, Unit)],
}

const fn v1(name: &'static CStr, numbers: &'static [(S, usize, Unit)]) -> Given {
    Given { v2: false, name, numbers }
}

const fn v2(name: &'static CStr, numbers: &'static [(S, usize, Unit)]) -> Given {
    Given { v2: true, name, numbers }
}

const GIVEN: &[Given] = &[
    v2(c"memory.current", &[(S::MemoryCurrent, word::USAGE, Unit::Pages)]),
    v2(c"cgroup.events", &[(S::Populated, word::POPULATED, Unit::Any)]),
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
    v1(c"memory.limit_in_bytes", &[(S::MemoryLimit, word::LIMIT, Unit::Limit)]),
    v1(c"memory.memsw.limit_in_bytes", &[(S::MemorySwapLimit, word::SWAP_LIMIT, Unit::Both)]),
    v1(c"memory.swappiness", &[(S::MemorySwappiness, word::SWAPPINESS, Unit::Count)]),
    v1(c"memory.max_usage_in_bytes", &[(S::MemoryPeak, word::PEAK, Unit::Pages)]),
    v1(c"memory.kmem.usage_in_bytes", &[(S::MemoryKernel, word::KERNEL, Unit::Pages)]),
];

impl Given {
    /// What the pass gives of a file, if it gives all of it.
    pub fn of(file: &File, pass: &Pass) -> Option<&'static Given> {
        let given = GIVEN.iter().find(|it| it.v2 == file.v2 && it.name == file.name)?;
        given.numbers.iter().all(|(_, word, _)| pass.has(*word)).then_some(given)
    }

    /// The numbers of the file, as of the last pass.
    pub fn read(&self, row: &Row, values: &mut Values) {
        for (statistic, word, unit) in self.numbers {
            let raw = row.get(*word);
            let bytes = raw.saturating_mul(rustix::param::page_size() as u64);
            let limit = Some(bytes).filter(|bytes| *bytes < UNLIMITED);
            let number = match unit {
                Unit::Pages => Some(bytes),
                Unit::Limit => limit,
                Unit::Both => limit.zip(values.get(S::MemoryLimit)).map(|(both, memory)| both.saturating_sub(memory)),
                Unit::Count => Some(raw),
                Unit::Any => Some(u64::from(raw > 0)),
                Unit::Some => (raw > 0).then_some(1),
            };
            values.put(*statistic, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use collector_core::statistic::Statistic as _;

    use super::*;
    use crate::source::statistic::file::FILES;

    #[test]
    fn every_file_in_the_table_exists_and_has_these_numbers_and_no_others() {
        for given in GIVEN {
            let file = FILES.iter().find(|file| file.v2 == given.v2 && file.name == given.name).unwrap();
            let all: Values = S::ALL.iter().map(|statistic| (*statistic, 1)).collect();
            let (mut forgotten, mut left) = (all.clone(), all);
            file.format.forget(&mut forgotten);
            given.numbers.iter().for_each(|(statistic, ..)| left.put(*statistic, None));
            assert_eq!(forgotten, left, "{:?}", given.name);
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
    }
}
