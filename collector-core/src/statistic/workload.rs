//! What is read of a workload's cgroups: memory, CPU, pressure, IO.

super::statistics! {
    /// One statistic of a cgroup.
    {
        /// Memory charged now, in bytes.
        MemoryCurrent: Gauge = "memory_current",
        /// The most that ever was, in bytes.
        MemoryPeak: Gauge = "memory_peak",
        /// Its hard limit, in bytes.
        MemoryLimit: Limit = "memory_limit",
        /// What it is throttled above, in bytes.
        MemoryHigh: Limit = "memory_high",
        /// What is charged less the page cache that was not used lately, both of one moment, in bytes.
        MemoryWorkingSet: Gauge = "memory_working_set",
        /// The page cache that was not used lately, in bytes.
        MemoryInactiveFile: Gauge = "memory_inactive_file",
        /// Memory of no file, in bytes.
        MemoryAnon: Gauge = "memory_anon",
        /// Page cache, tmpfs and shared memory included, in bytes.
        MemoryFile: Gauge = "memory_file",
        /// Tmpfs and shared memory, in bytes.
        MemoryShmem: Gauge = "memory_shmem",
        /// What the kernel keeps for it, in bytes.
        MemoryKernel: Gauge = "memory_kernel",
        /// Swap used, in bytes.
        MemorySwap: Gauge = "memory_swap",
        /// Swap that it may use, in bytes.
        MemorySwapLimit: Limit = "memory_swap_limit",
        /// Whether its tasks wait for somebody to make room, because it is not to be killed (v1).
        MemoryUnderOom: Gauge = "memory_under_oom",
        /// Reclaims although it was below what is protected.
        MemoryEventLow: Counter = "memory_event_low",
        /// How often it was throttled for being above `high`.
        MemoryEventHigh: Counter = "memory_event_high",
        /// How often it was about to exceed its hard limit.
        MemoryEventMax: Counter = "memory_event_max",
        /// How often an allocation was about to fail at its limit.
        MemoryEventOom: Counter = "memory_event_oom",
        /// Its processes that were killed for memory.
        MemoryEventOomKill: Counter = "memory_event_oom_kill",
        /// How often it was killed as a whole.
        MemoryEventOomGroupKill: Counter = "memory_event_oom_group_kill",
        /// Time in which some task waited for memory, in nanoseconds.
        MemoryPressureSome: Counter = "memory_pressure_some",
        /// Time in which all tasks waited for memory, in nanoseconds.
        MemoryPressureFull: Counter = "memory_pressure_full",
        /// Time in which some task waited for a CPU, in nanoseconds.
        CpuPressureSome: Counter = "cpu_pressure_some",
        /// Time in which all tasks waited for a CPU, in nanoseconds.
        CpuPressureFull: Counter = "cpu_pressure_full",
        /// Time in which some task waited for IO, in nanoseconds.
        IoPressureSome: Counter = "io_pressure_some",
        /// Time in which all tasks waited for IO, in nanoseconds.
        IoPressureFull: Counter = "io_pressure_full",
        /// CPU time, in nanoseconds.
        CpuUsage: Counter = "cpu_usage",
        /// Of that, in user space, in nanoseconds.
        CpuUser: Counter = "cpu_user",
        /// Of that, in the kernel, in nanoseconds.
        CpuSystem: Counter = "cpu_system",
        /// Periods of its CPU quota in which it ran.
        CpuPeriods: Counter = "cpu_periods",
        /// Of those, in which it was throttled.
        CpuThrottledPeriods: Counter = "cpu_throttled_periods",
        /// Time for which it was throttled, in nanoseconds.
        CpuThrottled: Counter = "cpu_throttled",
        /// Bytes read from block devices.
        IoReadBytes: Counter = "io_read_bytes",
        /// Bytes written to block devices.
        IoWriteBytes: Counter = "io_write_bytes",
        /// Bytes discarded on block devices.
        IoDiscardBytes: Counter = "io_discard_bytes",
        /// Reads from block devices.
        IoReads: Counter = "io_reads",
        /// Writes to block devices.
        IoWrites: Counter = "io_writes",
        /// Discards on block devices.
        IoDiscards: Counter = "io_discards",
    }
}
