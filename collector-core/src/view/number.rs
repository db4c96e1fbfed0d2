//! The numbers of a workload, one row each: name, label for people, what must be attached for it, and where it is read. History,
//! summary, incidents and metrics that show a number unchanged take it from here; metrics with a breakdown (reclaim, block IO,
//! copies, kills) read its parts. This file does not know who asks, or what the number is used for.

use Source::{Driver, File, Sampled};
use Statistic::*;
use collector_common::fault::word;

use super::coverage::Coverage;
use super::history::UNKNOWN;
use super::workload::{Amounts, Workload};
use crate::amount::Unit;
use crate::count::sum;
use crate::series::{self, Series};
use crate::signal::block::Operation;
use crate::signal::transfer::{Direction, Memory};
use crate::signal::{Need, block, compaction, dirty, fault, oom, reclaim, transfer};
use crate::statistic::workload::Statistic;
use crate::statistic::{Kind, Statistic as _};

/// Declares the numbers: `Variant = name, label, source;`, with `series Variant` for those that the history keeps.
macro_rules! numbers {
    ($($(#[$what:meta])* $number:ident = $name:expr, $label:expr, $source:expr $(, series $series:ident)?;)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Number {
            $($(#[$what])* $number,)+
        }

        const ROWS: &[Row] = &[$(Row { name: $name, label: $label, source: $source },)+];

        impl Number {
            pub const ALL: &'static [Number] = &[$(Number::$number,)+];

            /// The series of the history made from this number.
            pub fn series(self) -> Option<Series> {
                match self {
                    $($(Number::$number => Some(Series::$series),)?)+
                    _ => None,
                }
            }
        }

        /// The first values of a new workload's counters: unknown where the kernel may have counted before the workload was seen.
        pub(crate) const ORIGIN: [u64; series::COUNT] = {
            let mut origin = [UNKNOWN; series::COUNT];
            $($(origin[Series::$series as usize] = Number::$number.origin();)?)+
            origin
        };

        /// The point of a workload for the history, with the parts of its memory if they were read since the point before.
        /// Unrolled, without a loop: this runs for every workload at every tick.
        pub(crate) fn point(workload: &Workload, alive: bool, known: Known, before: Option<u64>) -> [u64; series::COUNT] {
            let mut point = [UNKNOWN; series::COUNT];
            let parts = workload.recent.parts_read.is_some_and(|read| before.is_none_or(|before| read > before));
            $($(point[Series::$series as usize] = Number::$number.now(workload, alive, parts, known);)?)+
            point
        }
    };
}

struct Row {
    name: &'static str,
    label: &'static str,
    source: Source,
}

#[derive(Clone, Copy)]
enum Source {
    /// A file of the kernel.
    File(Statistic),
    /// The least, mean or most of the readings between two ticks, by this index.
    Sampled(usize),
    /// The GPU driver's list of processes at the tick.
    Driver,
    /// Counted while one of these needs is met; else the kernel's own count, if there is one.
    Probe { needs: &'static [Need], kind: Kind, read: fn(&Amounts) -> u64, or: Option<Statistic> },
}

const fn counted(needs: &'static [Need], read: fn(&Amounts) -> u64) -> Source {
    Source::Probe { needs, kind: Kind::Counter, read, or: None }
}

const fn counted_or(needs: &'static [Need], read: fn(&Amounts) -> u64, or: Statistic) -> Source {
    Source::Probe { needs, kind: Kind::Counter, read, or: Some(or) }
}

const fn held(needs: &'static [Need], read: fn(&Amounts) -> u64) -> Source {
    Source::Probe { needs, kind: Kind::Gauge, read, or: None }
}

const TO_GPU: &[Need] = &[transfer::COPIES[Direction::HostToDevice as usize]];
const FROM_GPU: &[Need] = &[transfer::COPIES[Direction::DeviceToHost as usize]];
const PINNED: &[Need] = &[transfer::HELD[Memory::Pinned as usize]];
const ALLOCATED: &[Need] = &[transfer::HELD[Memory::Device as usize]];

numbers! {
    /// Charged to the workload and the cgroups below it, including page cache.
    Memory = Series::Memory.name(), Series::Memory.label(), File(MemoryCurrent), series Memory;
    MemoryLeast = Series::MemoryLeast.name(), Series::MemoryLeast.label(), Sampled(0), series MemoryLeast;
    MemoryMean = Series::MemoryMean.name(), Series::MemoryMean.label(), Sampled(1), series MemoryMean;
    MemoryMost = Series::MemoryMost.name(), Series::MemoryMost.label(), Sampled(2), series MemoryMost;
    /// Without the page cache that was not used recently.
    WorkingSet = "memory_working_set_bytes", "working set", File(MemoryWorkingSet);
    /// Without the page cache that the kernel can drop.
    WithoutCache = "memory_without_cache_bytes", "without page cache", File(MemoryWithoutCache);
    Limit = Series::MemoryLimit.name(), Series::MemoryLimit.label(), File(MemoryLimit), series MemoryLimit;
    High = "memory_high_bytes", "throttled above", File(MemoryHigh);
    Peak = "memory_peak_bytes", "peak", File(MemoryPeak);
    Anon = Series::Anon.name(), Series::Anon.label(), File(MemoryAnon), series Anon;
    /// Including shared memory and tmpfs.
    File = Series::File.name(), Series::File.label(), File(MemoryFile), series File;
    Shmem = Series::Shmem.name(), Series::Shmem.label(), File(MemoryShmem), series Shmem;
    Kernel = Series::Kernel.name(), Series::Kernel.label(), File(MemoryKernel), series Kernel;
    Swap = Series::Swap.name(), Series::Swap.label(), File(MemorySwap), series Swap;
    SwapLimit = "swap_limit_bytes", "swap limit", File(MemorySwapLimit);
    UnderOom = "memory_under_oom", "out of memory", File(MemoryUnderOom);
    EventsLow = "memory_events_low", "reclaimed despite protection", File(MemoryEventLow);
    EventsHigh = "memory_events_high", "throttled", File(MemoryEventHigh);
    EventsMax = "memory_events_max", "at its limit", File(MemoryEventMax);
    EventsOom = "memory_events_oom", "out of memory", File(MemoryEventOom);
    EventsOomKill = "memory_events_oom_kill", "killed", File(MemoryEventOomKill);
    EventsOomGroupKill = "memory_events_oom_group_kill", "killed as a group", File(MemoryEventOomGroupKill);

    MemoryWaiting = "memory_waiting_seconds", "some waited for memory", File(MemoryPressureSome), series MemoryWaiting;
    MemoryStalled = "memory_stalled_seconds", "all waited for memory", File(MemoryPressureFull), series MemoryStalled;
    CpuWaiting = "cpu_waiting_seconds", "some waited for a CPU", File(CpuPressureSome);
    CpuStalled = "cpu_stalled_seconds", "all waited for a CPU", File(CpuPressureFull);
    IoWaiting = "io_waiting_seconds", "some waited for IO", File(IoPressureSome), series IoWaiting;
    IoStalled = "io_stalled_seconds", "all waited for IO", File(IoPressureFull), series IoStalled;

    Cpu = "cpu_seconds", "CPU", File(CpuUsage), series Cpu;
    CpuInUser = "cpu_user_seconds", "CPU in user space", File(CpuUser);
    CpuInKernel = "cpu_system_seconds", "CPU in the kernel", File(CpuSystem);
    Periods = "cpu_periods", "quota periods", File(CpuPeriods);
    ThrottledPeriods = "cpu_throttled_periods", "throttled periods", File(CpuThrottledPeriods);
    Throttled = "cpu_throttled_seconds", "throttled", File(CpuThrottled);

    /// As charged by the kernel: each device of a stack counts.
    ReadBytes = "io_read_bytes", "read", File(IoReadBytes);
    WriteBytes = "io_written_bytes", "written", File(IoWriteBytes);
    DiscardBytes = "io_discarded_bytes", "discarded", File(IoDiscardBytes);
    Reads = "io_reads", "reads", File(IoReads);
    Writes = "io_writes", "writes", File(IoWrites);
    Discards = "io_discards", "discards", File(IoDiscards);
    /// As completed by the block layer.
    BlockRead = "block_read_bytes", "read from disks",
        counted_or(&[block::COMPLETED], |it| it.block[Operation::Read as usize].bytes, IoReadBytes), series Read;
    BlockWritten = "block_written_bytes", "written to disks",
        counted_or(&[block::COMPLETED], |it| it.block[Operation::Write as usize].bytes, IoWriteBytes), series Write;

    ReclaimStalls = "reclaim_stalls", "stalls",
        counted(&reclaim::STALLS, |it| sum(it.reclaim.iter().map(|reclaim| reclaim.stalls)));
    ReclaimStall = "reclaim_stall_seconds", "reclaiming", counted(&reclaim::STALLS, reclaim_ns);
    CompactionStalls = "compaction_stalls", "compaction stalls", counted(&[compaction::STALLS], |it| it.compaction.stalls);
    CompactionStall = "compaction_stall_seconds", "compacting", counted(&[compaction::STALLS], |it| it.compaction.ns);
    DirtyWaits = "dirty_waits", "waits for dirty pages", counted(&[dirty::WAITS], |it| it.counted.dirty.waits);
    DirtyWait = "dirty_wait_seconds", "waiting for dirty pages", counted(&[dirty::WAITS], |it| it.counted.dirty.ns);
    /// Reclaim and compaction.
    Stall = "stall_seconds", "memory stalls",
        counted(&reclaim::STALLS, |it| reclaim_ns(it).saturating_add(it.compaction.ns)), series Stalls;
    MajorFaults = "major_faults", "major faults", counted(&[fault::MAJOR], |it| it.faults[word::MAJOR]), series MajorFaults;
    /// While the agent runs; else the kernel's count since the cgroup was created, on cgroup v2 including nested cgroups.
    OomKills = "oom_kills", "kills", counted_or(&[oom::KILLS], |it| sum(it.oom_kills.iter().copied()), MemoryEventOomKill);

    HostToDevice = "host_to_device_bytes", "copied to GPUs",
        counted(TO_GPU, |it| it.transfer.bytes[Direction::HostToDevice as usize]), series HostToDevice;
    DeviceToHost = "device_to_host_bytes", "copied from GPUs",
        counted(FROM_GPU, |it| it.transfer.bytes[Direction::DeviceToHost as usize]), series DeviceToHost;
    Vram = Series::Vram.name(), Series::Vram.label(), Driver, series Vram;
    Pinned = Series::Pinned.name(), Series::Pinned.label(),
        held(PINNED, |it| it.transfer.bytes_held(Memory::Pinned)), series Pinned;
    /// Explicitly requested from the CUDA driver.
    GpuAllocated = "gpu_allocated_bytes", "GPU memory allocated",
        held(ALLOCATED, |it| it.transfer.bytes_held(Memory::Device));
}

fn reclaim_ns(amounts: &Amounts) -> u64 {
    sum(amounts.reclaim.iter().map(|reclaim| reclaim.ns))
}

impl Number {
    const fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// The name ends in the unit, if the number has one.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    pub const fn label(self) -> &'static str {
        self.row().label
    }

    pub const fn unit(self) -> Option<Unit> {
        Unit::of(self.row().name)
    }

    pub const fn kind(self) -> Kind {
        match self.row().source {
            File(statistic) => Statistic::KINDS[statistic as usize],
            Driver | Sampled(_) => Kind::Gauge,
            Source::Probe { kind, .. } => kind,
        }
    }

    /// One of these must be met for the number to be known. Empty if it does not come from a probe.
    pub const fn needs(self) -> &'static [Need] {
        match self.row().source {
            Source::Probe { needs, .. } => needs,
            File(_) | Driver | Sampled(_) => &[],
        }
    }

    /// Whether the agent itself counts it, from zero at the moment when it first saw the workload. While the probe is missing,
    /// the kernel's own count may stand in.
    pub(crate) const fn is_own(self) -> bool {
        matches!(self.row().source, Source::Probe { kind: Kind::Counter, .. })
    }

    const fn origin(self) -> u64 {
        if self.is_own() { 0 } else { UNKNOWN }
    }

    /// The number of a workload, if it is known. Times are in nanoseconds.
    #[inline(always)]
    pub fn of(self, workload: &Workload, known: Known) -> Option<u64> {
        match self.row().source {
            File(statistic) => workload.statistics.get(statistic),
            Driver => workload.vram(),
            Sampled(index) => Some(workload.used()?[index]),
            Source::Probe { read, .. } if known.has(self) => Some(read(&workload.amounts)),
            Source::Probe { or, .. } => workload.statistics.get(or?),
        }
    }

    /// Whether it was ever more than zero, or only a limit that there is makes it grow.
    pub(crate) fn was_used(self, workload: &Workload) -> bool {
        match self.row().source {
            File(statistic) => workload.statistics.was_used(statistic),
            Driver => workload.vram().is_some(),
            Sampled(_) => workload.used().is_some(),
            Source::Probe { read, or, .. } => {
                read(&workload.amounts) > 0 || or.is_some_and(|statistic| workload.statistics.was_used(statistic))
            }
        }
    }

    /// The same in the unit of its name.
    pub fn value(self, workload: &Workload, known: Known) -> Option<f64> {
        let number = self.of(workload, known)? as f64;
        Some(if self.unit() == Some(Unit::Seconds) { number / 1e9 } else { number })
    }

    /// The number for the history. Gauges of an ended workload, and parts of memory that were not read now, are still shown, but
    /// they are not its current values.
    #[inline(always)]
    fn now(self, workload: &Workload, alive: bool, parts: bool, known: Known) -> u64 {
        let read = parts || !matches!(self, Number::Anon | Number::File | Number::Shmem | Number::Kernel);
        let fresh = alive && read || matches!(self.kind(), Kind::Counter) || matches!(self.row().source, Driver);
        if fresh { self.of(workload, known).unwrap_or(UNKNOWN) } else { UNKNOWN }
    }
}

/// Which numbers are known, by what is attached. Computed once for many workloads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known(u64);

const _: () = assert!(Number::ALL.len() <= u64::BITS as usize);

impl Known {
    /// For callers that have checked the needs already.
    pub(crate) const MET: Known = Known(u64::MAX);

    pub fn of(coverage: &Coverage) -> Known {
        let known = |number: &&Number| number.needs().iter().any(|need| coverage.sees(need));
        Known(Number::ALL.iter().filter(known).map(|number| 1 << *number as usize).sum())
    }

    /// Whether one of the number's needs is met.
    pub(crate) fn has(self, number: Number) -> bool {
        self.0 & 1 << number as usize != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_end_in_their_units() {
        let mut names: Vec<_> = Number::ALL.iter().map(|number| number.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Number::ALL.len());
        for number in Number::ALL {
            let row = number.row();
            let time =
                matches!(row.source, File(it) if it.name().contains("pressure") || it.name().starts_with("cpu_u"));
            assert!(!time || number.unit() == Some(Unit::Seconds), "{number:?}");
        }
    }

    #[test]
    fn each_series_is_made_from_one_number() {
        for series in Series::ALL {
            let numbers: Vec<_> = Number::ALL.iter().filter(|number| number.series() == Some(series)).collect();
            let [number] = numbers[..] else { panic!("{series:?}: {numbers:?}") };
            let counts = number.kind() == Kind::Counter;
            assert_eq!(counts, series.kind() != series::Kind::Gauge, "{number:?}");
            assert!(counts || (number.name(), number.label()) == (series.name(), series.label()), "{number:?}");
        }
    }

    #[test]
    fn without_its_probe_a_number_is_the_kernels_count_or_unknown() {
        let mut workload = Workload::default();
        workload.amounts.oom_kills = [1, 0, 2];
        let all = Known::MET;
        assert_eq!(Number::OomKills.of(&workload, all), Some(3));
        assert_eq!(Number::OomKills.of(&workload, Known(0)), None);
        for number in Number::ALL {
            let probe = !number.needs().is_empty();
            assert_eq!(number.of(&workload, all).is_some(), probe, "{number:?}");
            assert_eq!(number.of(&workload, Known(0)), None, "{number:?}");
        }
    }
}
