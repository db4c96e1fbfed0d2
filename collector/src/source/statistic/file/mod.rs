//! The table of cgroup files: which are read, how often, and their format. Their meaning is documented in the kernel's
//! Documentation/admin-guide/cgroup-v2.rst and, for v1, Documentation/admin-guide/cgroup-v1.

use std::ffi::CStr;

use collector_core::statistic::workload::{Statistic as S, Values};

use super::parse;
use crate::source::cgroup::Controller;
use crate::source::pressure;

/// One file of a cgroup.
#[derive(Debug)]
pub struct File {
    pub name: &'static CStr,
    pub controller: Controller,
    /// False for v1.
    pub v2: bool,
    pub pace: Pace,
    pub format: Format,
}

/// How often a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Every tick, also if the cgroup holds nothing; the file stays open.
    Always,
    /// Every tick, because it says whether anything ran in the cgroup; the file stays open.
    Pulse,
    /// Every tick in which something ran in the cgroup or its memory changed, or while that is near a limit; the file stays open.
    Tick,
    /// Once per `workload.stat_interval`, at the cgroup's turn: reading it is expensive or it seldom changes. Cgroups that
    /// matter now have their turn at every tick.
    Turn,
    /// At the cgroup's first turn and then at every eighth or tenth, because it hardly ever changes; the file does not stay open.
    Seldom,
    /// As `Turn`, but only while hardly any memory is charged to the cgroup: only then it matters whether a process is in it.
    Empty,
}

/// Format of a file.
#[derive(Debug)]
pub enum Format {
    /// One number.
    Single(S),
    /// One number of bytes; a huge one means no limit (v1).
    Bytes(S),
    /// Limit on memory plus swap in bytes (v1).
    MemoryAndSwap(S),
    /// Numbers by key, each with a factor.
    Flat(&'static [(&'static str, S, u64)]),
    /// The parts of memory (v2). Kernels before 5.18 have no key for all kernel memory: then it is the sum of these keys.
    Parts(&'static [(&'static str, S, u64)], &'static [&'static str]),
    /// Numbers by device and key, summed over devices.
    Nested(&'static [(&'static str, S)]),
    /// Numbers by device and operation (v1), summed over devices. Without devices the values are unknown: from 6.10 on
    /// the kernel counts a device's IO only once some cgroup limits it.
    Throttle(&'static [(&'static str, S)]),
    /// Processes, without those of nested cgroups (v1): 1 if there is one; without, it is unknown.
    Processes(S),
    /// Limits by device and key; of several devices the lowest.
    Lowest(&'static [(&'static str, S)]),
    /// One limit by device (v1); of several devices the lowest.
    LowestOf(S),
    /// Stall times `some` and `full`.
    Pressure(S, S),
    /// A weight, and perhaps one of some devices: 1 if any is not the default.
    Weight(S),
}

/// v1 shows no limit as the largest number of whole pages that fits a signed 64-bit number; pages have up to 64 KiB
/// (`PAGE_COUNTER_MAX`, include/linux/page_counter.h).
pub const UNLIMITED: u64 = i64::MAX as u64 - 0x1_0000;

pub const MICROSECOND: u64 = 1000;
/// `USER_HZ` is 100 on every architecture with eBPF support (include/asm-generic/param.h).
const USER_TICK: u64 = 10_000_000;

/// A file that needs another file's value comes after it. No program reads what `memory.stat` has: a cgroup's numbers are in
/// `mem_cgroup.vmstats`, at an index that is private to the kernel (`mem_cgroup_stats_index`, mm/memcontrol.c).
pub const FILES: &[File] = &[
    v2(c"memory.current", Controller::Memory, Pace::Always, Format::Single(S::MemoryCurrent)),
    v2(c"cgroup.events", Controller::Memory, Pace::Empty, Format::Flat(&[("populated", S::Populated, 1)])),
    v2(
        c"cpu.stat",
        Controller::Cpu,
        Pace::Pulse,
        Format::Flat(&[
            ("usage_usec", S::CpuUsage, MICROSECOND),
            ("user_usec", S::CpuUser, MICROSECOND),
            ("system_usec", S::CpuSystem, MICROSECOND),
            ("nr_periods", S::CpuPeriods, 1),
            ("nr_throttled", S::CpuThrottledPeriods, 1),
            ("throttled_usec", S::CpuThrottled, MICROSECOND),
        ]),
    ),
    v2(c"memory.swap.current", Controller::Memory, Pace::Tick, Format::Single(S::MemorySwap)),
    v2(
        c"memory.events",
        Controller::Memory,
        Pace::Tick,
        Format::Flat(&[
            ("low", S::MemoryEventLow, 1),
            ("high", S::MemoryEventHigh, 1),
            ("max", S::MemoryEventMax, 1),
            ("oom", S::MemoryEventOom, 1),
            ("oom_kill", S::MemoryEventOomKill, 1),
            ("oom_group_kill", S::MemoryEventOomGroupKill, 1),
        ]),
    ),
    v2(
        c"memory.pressure",
        Controller::Pressure,
        Pace::Tick,
        Format::Pressure(S::MemoryPressureSome, S::MemoryPressureFull),
    ),
    v2(c"cpu.pressure", Controller::Pressure, Pace::Tick, Format::Pressure(S::CpuPressureSome, S::CpuPressureFull)),
    v2(c"io.pressure", Controller::Pressure, Pace::Tick, Format::Pressure(S::IoPressureSome, S::IoPressureFull)),
    v2(
        c"io.stat",
        Controller::Io,
        Pace::Tick,
        Format::Nested(&[
            ("rbytes", S::IoReadBytes),
            ("wbytes", S::IoWriteBytes),
            ("dbytes", S::IoDiscardBytes),
            ("rios", S::IoReads),
            ("wios", S::IoWrites),
            ("dios", S::IoDiscards),
        ]),
    ),
    v2(c"memory.max", Controller::Memory, Pace::Turn, Format::Single(S::MemoryLimit)),
    v2(c"memory.high", Controller::Memory, Pace::Turn, Format::Single(S::MemoryHigh)),
    v2(c"memory.low", Controller::Memory, Pace::Turn, Format::Single(S::MemoryLow)),
    v2(c"memory.min", Controller::Memory, Pace::Turn, Format::Single(S::MemoryMin)),
    v2(c"memory.swap.max", Controller::Memory, Pace::Turn, Format::Single(S::MemorySwapLimit)),
    v2(c"memory.peak", Controller::Memory, Pace::Turn, Format::Single(S::MemoryPeak)),
    v2(
        c"memory.stat",
        Controller::Memory,
        Pace::Turn,
        Format::Parts(
            &[
                ("anon", S::MemoryAnon, 1),
                ("file", S::MemoryFile, 1),
                ("kernel", S::MemoryKernel, 1),
                ("sock", S::MemorySockets, 1),
                ("shmem", S::MemoryShmem, 1),
                ("inactive_file", S::MemoryInactiveFile, 1),
                ("unevictable", S::MemoryUnevictable, 1),
                ("file_dirty", S::MemoryDirty, 1),
                ("file_writeback", S::MemoryWriteback, 1),
                ("active_file", S::MemoryActiveFile, 1),
                ("pgfault", S::PageFaults, 1),
                ("pgmajfault", S::MajorPageFaults, 1),
            ],
            &["kernel_stack", "pagetables", "percpu", "slab"],
        ),
    ),
    v2(c"memory.oom.group", Controller::Memory, Pace::Seldom, Format::Single(S::MemoryOomGroup)),
    v2(c"io.weight", Controller::Io, Pace::Seldom, Format::Weight(S::IoWeighted)),
    v2(c"io.bfq.weight", Controller::Io, Pace::Seldom, Format::Weight(S::IoBfqWeighted)),
    v2(c"io.max", Controller::Io, Pace::Turn, Format::Lowest(&[("rbps", S::IoReadLimit), ("wbps", S::IoWriteLimit)])),
    v1(c"memory.usage_in_bytes", Controller::Memory, Pace::Always, Format::Single(S::MemoryCurrent)),
    v1(c"cgroup.procs", Controller::Memory, Pace::Empty, Format::Processes(S::Populated)),
    v1(c"memory.failcnt", Controller::Memory, Pace::Tick, Format::Single(S::MemoryEventMax)),
    v1(
        c"memory.oom_control",
        Controller::Memory,
        Pace::Tick,
        Format::Flat(&[("oom_kill", S::MemoryEventOomKill, 1), ("under_oom", S::MemoryUnderOom, 1)]),
    ),
    v1(c"cpuacct.usage", Controller::Cpuacct, Pace::Pulse, Format::Single(S::CpuUsage)),
    v1(
        c"cpu.stat",
        Controller::Cpu,
        Pace::Tick,
        Format::Flat(&[
            ("nr_periods", S::CpuPeriods, 1),
            ("nr_throttled", S::CpuThrottledPeriods, 1),
            ("throttled_time", S::CpuThrottled, 1),
        ]),
    ),
    v1(
        c"blkio.throttle.io_service_bytes_recursive",
        Controller::Io,
        Pace::Tick,
        Format::Throttle(&[("Read", S::IoReadBytes), ("Write", S::IoWriteBytes), ("Discard", S::IoDiscardBytes)]),
    ),
    v1(
        c"blkio.throttle.io_serviced_recursive",
        Controller::Io,
        Pace::Tick,
        Format::Throttle(&[("Read", S::IoReads), ("Write", S::IoWrites), ("Discard", S::IoDiscards)]),
    ),
    v1(c"memory.limit_in_bytes", Controller::Memory, Pace::Turn, Format::Bytes(S::MemoryLimit)),
    v1(c"memory.memsw.limit_in_bytes", Controller::Memory, Pace::Turn, Format::MemoryAndSwap(S::MemorySwapLimit)),
    v1(c"memory.swappiness", Controller::Memory, Pace::Turn, Format::Single(S::MemorySwappiness)),
    v1(c"memory.max_usage_in_bytes", Controller::Memory, Pace::Turn, Format::Single(S::MemoryPeak)),
    v1(c"memory.kmem.usage_in_bytes", Controller::Memory, Pace::Turn, Format::Single(S::MemoryKernel)),
    v1(
        c"memory.stat",
        Controller::Memory,
        Pace::Turn,
        Format::Flat(&[
            ("total_rss", S::MemoryAnon, 1),
            ("total_cache", S::MemoryFile, 1),
            ("total_shmem", S::MemoryShmem, 1),
            ("total_swap", S::MemorySwap, 1),
            ("total_inactive_file", S::MemoryInactiveFile, 1),
            ("total_unevictable", S::MemoryUnevictable, 1),
            ("total_dirty", S::MemoryDirty, 1),
            ("total_writeback", S::MemoryWriteback, 1),
            ("total_active_file", S::MemoryActiveFile, 1),
            ("total_pgfault", S::PageFaults, 1),
            ("total_pgmajfault", S::MajorPageFaults, 1),
        ]),
    ),
    v1(c"blkio.bfq.weight", Controller::Io, Pace::Seldom, Format::Weight(S::IoBfqWeighted)),
    v1(c"blkio.throttle.read_bps_device", Controller::Io, Pace::Turn, Format::LowestOf(S::IoReadLimit)),
    v1(c"blkio.throttle.write_bps_device", Controller::Io, Pace::Turn, Format::LowestOf(S::IoWriteLimit)),
    v1(
        c"cpuacct.stat",
        Controller::Cpuacct,
        Pace::Turn,
        Format::Flat(&[("user", S::CpuUser, USER_TICK), ("system", S::CpuSystem, USER_TICK)]),
    ),
];

const fn v1(name: &'static CStr, controller: Controller, pace: Pace, format: Format) -> File {
    File { name, controller, v2: false, pace, format }
}

const fn v2(name: &'static CStr, controller: Controller, pace: Pace, format: Format) -> File {
    File { name, controller, v2: true, pace, format }
}

impl File {
    /// Whether it has one number.
    pub fn is_number(&self) -> bool {
        matches!(self.format, Format::Single(_) | Format::Bytes(_) | Format::MemoryAndSwap(_))
    }
}

impl Format {
    /// Parses the content. Values that are missing from it become unknown.
    pub fn read(&self, text: &[u8], values: &mut Values) {
        self.forget(values);
        match *self {
            Format::Single(statistic) => values.put(statistic, parse::single(text)),
            Format::Bytes(statistic) => {
                values.put(statistic, parse::single(text).filter(|bytes| *bytes < UNLIMITED));
            }
            Format::MemoryAndSwap(statistic) => {
                let both = parse::single(text).filter(|bytes| *bytes < UNLIMITED);
                let swap = both.zip(values.get(S::MemoryLimit)).map(|(both, memory)| both.saturating_sub(memory));
                values.put(statistic, swap);
            }
            Format::Flat(keys) => flat(keys, text, values),
            Format::Parts(keys, of_kernel) => {
                flat(keys, text, values);
                if values.get(S::MemoryKernel).is_none() {
                    parse::flat(text, |key, value| {
                        if of_kernel.iter().any(|name| name.as_bytes() == key) {
                            values.add(S::MemoryKernel, value);
                        }
                    });
                }
                if let (Some(_), Some(sockets)) = (values.get(S::MemoryKernel), values.get(S::MemorySockets)) {
                    values.add(S::MemoryKernel, sockets);
                }
            }
            Format::Nested(keys) => {
                // An empty file means no IO yet.
                keys.iter().for_each(|(_, statistic)| values.set(*statistic, 0));
                parse::nested(text, |key, value| add(keys, key, value, values));
            }
            Format::Processes(statistic) => values.put(statistic, (!text.is_empty()).then_some(1)),
            Format::Throttle(keys) => parse::throttle(text, |key, value| add(keys, key, value, values)),
            // A device without a limit says `max`, which is no number.
            Format::Lowest(keys) => parse::nested(text, |key, value| {
                if let Some((_, statistic)) = keys.iter().find(|(name, _)| name.as_bytes() == key) {
                    lower(*statistic, value, values);
                }
            }),
            Format::LowestOf(statistic) => parse::flat(text, |_, value| lower(statistic, value, values)),
            Format::Weight(statistic) => values.put(statistic, parse::weight(text)),
            Format::Pressure(some, full) => {
                for (statistic, total) in [some, full].into_iter().zip(pressure::parse(text)) {
                    values.put(statistic, total);
                }
            }
        }
    }

    /// Whether the file has this statistic, alone or under a key.
    pub fn is_of(&self, statistic: S) -> bool {
        match self {
            Format::Single(one) | Format::Bytes(one) => *one == statistic,
            Format::Flat(keys) | Format::Parts(keys, _) => keys.iter().any(|(_, one, _)| *one == statistic),
            _ => false,
        }
    }

    /// Whether the number of a file that has one is known.
    pub fn is_known(&self, values: &Values) -> bool {
        matches!(self, Format::Single(one) | Format::Weight(one) if values.get(*one).is_some())
    }

    /// Marks the file's values as unknown.
    pub fn forget(&self, values: &mut Values) {
        match *self {
            Format::Single(one)
            | Format::Bytes(one)
            | Format::MemoryAndSwap(one)
            | Format::Processes(one)
            | Format::LowestOf(one)
            | Format::Weight(one) => {
                values.put(one, None);
            }
            Format::Flat(keys) | Format::Parts(keys, _) => {
                keys.iter().for_each(|(_, statistic, _)| values.put(*statistic, None));
            }
            Format::Nested(keys) | Format::Throttle(keys) | Format::Lowest(keys) => {
                keys.iter().for_each(|(_, statistic)| values.put(*statistic, None));
            }
            Format::Pressure(some, full) => [some, full].into_iter().for_each(|one| values.put(one, None)),
        }
    }
}

fn flat(keys: &[(&str, S, u64)], text: &[u8], values: &mut Values) {
    parse::flat(text, |key, value| {
        if let Some((_, statistic, unit)) = keys.iter().find(|(name, ..)| name.as_bytes() == key) {
            values.set(*statistic, value.saturating_mul(*unit));
        }
    });
}

fn add(keys: &[(&str, S)], key: &[u8], value: u64, values: &mut Values) {
    if let Some((_, statistic)) = keys.iter().find(|(name, _)| name.as_bytes() == key) {
        values.add(*statistic, value);
    }
}

fn lower(statistic: S, value: u64, values: &mut Values) {
    let lowest = values.get(statistic).map_or(value, |other| other.min(value));
    values.set(statistic, lowest);
}

/// Values computed from several files: the working set as in cAdvisor, by which the kubelet evicts; and what is left without page
/// cache. Locked and shared memory is on neither list of file pages.
pub fn derive(values: &mut Values) {
    let working = values.get(S::MemoryCurrent).zip(values.get(S::MemoryInactiveFile));
    let working = working.map(|(current, inactive)| current.saturating_sub(inactive));
    values.put(S::MemoryWorkingSet, working);
    let rest = working.zip(values.get(S::MemoryActiveFile));
    values.put(S::MemoryWithoutCache, rest.map(|(working, active)| working.saturating_sub(active)));
}

#[cfg(test)]
mod tests;
