//! Statistics of a cgroup: memory, CPU, pressure, IO.

super::statistics! {
    {
        /// Memory charged now, in bytes.
        MemoryCurrent: Gauge = "memory_current",
        /// Peak of that, in bytes.
        MemoryPeak: Gauge = "memory_peak",
        /// Hard limit, in bytes.
        MemoryLimit: Limit = "memory_limit",
        /// Limit above which it is throttled (`memory.high`), in bytes.
        MemoryHigh: Limit = "memory_high",
        /// Amount that is reclaimed last (`memory.low`), in bytes; absent is all of it.
        MemoryLow: Limit = "memory_low",
        /// Amount that is never reclaimed (`memory.min`), in bytes; absent is all of it.
        MemoryMin: Limit = "memory_min",
        /// Charged memory minus inactive page cache, both from one moment, in bytes.
        MemoryWorkingSet: Gauge = "memory_working_set",
        /// Inactive page cache, in bytes.
        MemoryInactiveFile: Gauge = "memory_inactive_file",
        /// Active page cache, in bytes.
        MemoryActiveFile: Gauge = "memory_active_file",
        /// Charged memory minus all page cache that the kernel can drop, both from one moment, in bytes.
        MemoryWithoutCache: Gauge = "memory_without_cache",
        /// Anonymous memory, in bytes.
        MemoryAnon: Gauge = "memory_anon",
        /// Page cache, tmpfs and shared memory included, in bytes.
        MemoryFile: Gauge = "memory_file",
        /// Tmpfs and shared memory, in bytes.
        MemoryShmem: Gauge = "memory_shmem",
        /// Kernel memory charged to it, buffers of sockets included, in bytes.
        MemoryKernel: Gauge = "memory_kernel",
        /// Buffers of sockets (v2), in bytes.
        MemorySockets: Gauge = "memory_sockets",
        /// Memory that reclaim cannot free, because it is locked or in ramfs, in bytes.
        MemoryUnevictable: Gauge = "memory_unevictable",
        /// Page cache that must still be written, in bytes.
        MemoryDirty: Gauge = "memory_dirty",
        /// Page cache that is being written, in bytes.
        MemoryWriteback: Gauge = "memory_writeback",
        /// Swap used, in bytes.
        MemorySwap: Gauge = "memory_swap",
        /// Swap limit, in bytes.
        MemorySwapLimit: Limit = "memory_swap_limit",
        /// Page faults of its processes.
        PageFaults: Counter = "page_faults",
        /// Page faults of its processes that needed IO.
        MajorPageFaults: Counter = "major_page_faults",
        /// How readily it is swapped out (v1); at 0 it is not.
        MemorySwappiness: Gauge = "memory_swappiness",
        /// 1 if its tasks wait for memory, because the OOM killer is disabled for it (v1).
        MemoryUnderOom: Gauge = "memory_under_oom",
        /// Reclaims although it was below its protected amount (`memory.low`).
        MemoryEventLow: Counter = "memory_event_low",
        /// Times it was throttled above `memory.high`.
        MemoryEventHigh: Counter = "memory_event_high",
        /// Times it was about to exceed its hard limit.
        MemoryEventMax: Counter = "memory_event_max",
        /// Times an allocation was about to fail at its limit.
        MemoryEventOom: Counter = "memory_event_oom",
        /// Processes killed by the OOM killer.
        MemoryEventOomKill: Counter = "memory_event_oom_kill",
        /// Times it was killed as a whole (`memory.oom.group`).
        MemoryEventOomGroupKill: Counter = "memory_event_oom_group_kill",
        /// 1 if it is always killed as a whole (`memory.oom.group`), else 0 (v2).
        MemoryOomGroup: Gauge = "memory_oom_group",
        /// 1 if a process is in it or in a cgroup below it, else 0.
        Populated: Gauge = "populated",
        /// Time in which at least one task waited for memory, in nanoseconds.
        MemoryPressureSome: Counter = "memory_pressure_some",
        /// Time in which all tasks waited for memory, in nanoseconds.
        MemoryPressureFull: Counter = "memory_pressure_full",
        /// Time in which at least one task waited for a CPU, in nanoseconds.
        CpuPressureSome: Counter = "cpu_pressure_some",
        /// Time in which all tasks waited for a CPU, in nanoseconds.
        CpuPressureFull: Counter = "cpu_pressure_full",
        /// Time in which at least one task waited for IO, in nanoseconds.
        IoPressureSome: Counter = "io_pressure_some",
        /// Time in which all tasks waited for IO, in nanoseconds.
        IoPressureFull: Counter = "io_pressure_full",
        /// CPU time, in nanoseconds.
        CpuUsage: Counter = "cpu_usage",
        /// CPU time in user space, in nanoseconds.
        CpuUser: Counter = "cpu_user",
        /// CPU time in the kernel, in nanoseconds.
        CpuSystem: Counter = "cpu_system",
        /// Periods of its CPU quota in which it ran.
        CpuPeriods: Counter = "cpu_periods",
        /// Those periods in which it was throttled.
        CpuThrottledPeriods: Counter = "cpu_throttled_periods",
        /// Time for which it was throttled, in nanoseconds.
        CpuThrottled: Counter = "cpu_throttled",
        /// Bytes read from block devices.
        IoReadBytes: Counter = "io_read_bytes",
        /// Bytes written to block devices.
        IoWriteBytes: Counter = "io_write_bytes",
        /// Bytes discarded on block devices.
        IoDiscardBytes: Counter = "io_discard_bytes",
        /// Limit on reading from block devices, in bytes per second; of several devices the lowest.
        IoReadLimit: Limit = "io_read_limit",
        /// The same for writing.
        IoWriteLimit: Limit = "io_write_limit",
        /// Reads from block devices.
        IoReads: Counter = "io_reads",
        /// Writes to block devices.
        IoWrites: Counter = "io_writes",
        /// Discards on block devices.
        IoDiscards: Counter = "io_discards",
        /// 1 if its weight of IO for the kernel's cost model (`io.weight`) is not the default.
        IoWeighted: Gauge = "io_weighted",
        /// The same of its weight for BFQ (`io.bfq.weight`, v1 `blkio.bfq.weight`).
        IoBfqWeighted: Gauge = "io_bfq_weighted",
    }
}

/// Memory below this, in bytes, that is charged to a cgroup without a process is what its last process left behind: objects of
/// the kernel, such as those of a mount.
pub const LEFT_BEHIND: u64 = 1 << 20;

/// Whether something with these numbers holds a process or memory; `None` if that is not known.
pub fn holds(get: impl Fn(Statistic) -> Option<u64>) -> Option<bool> {
    let memory = get(Statistic::MemoryCurrent)?.saturating_add(get(Statistic::MemorySwap).unwrap_or(0));
    Some(match get(Statistic::Populated) {
        Some(0) => memory >= LEFT_BEHIND,
        Some(_) => true,
        None => memory > 0,
    })
}

#[cfg(test)]
mod tests {
    use super::Statistic::{MemoryCurrent, MemorySwap, Populated};
    use super::*;

    #[test]
    fn a_process_or_memory_is_something() {
        for (numbers, expected) in [
            (&[][..], None),
            (&[(Populated, 1)], None),
            (&[(MemoryCurrent, 0)], Some(false)),
            (&[(MemoryCurrent, 1)], Some(true)),
            (&[(MemoryCurrent, 0), (MemorySwap, 1)], Some(true)),
            (&[(MemoryCurrent, 0), (Populated, 1)], Some(true)),
            (&[(MemoryCurrent, LEFT_BEHIND - 1), (Populated, 0)], Some(false)),
            (&[(MemoryCurrent, LEFT_BEHIND), (Populated, 0)], Some(true)),
        ] {
            let values: Values = numbers.iter().copied().collect();
            assert_eq!(holds(|statistic| values.get(statistic)), expected, "{numbers:?}");
        }
    }
}
