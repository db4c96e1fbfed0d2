//! What is read of the host as a whole: memory, swap, reclaim, CPU, pressure.

super::statistics! {
    /// One statistic of the host.
    {
        /// Memory that the kernel has to give, in bytes.
        MemoryTotal: Limit = "memory_total",
        /// Memory that lies idle, in bytes.
        MemoryFree: Gauge = "memory_free",
        /// What new processes can have without swapping, as the kernel estimates it, in bytes.
        MemoryAvailable: Gauge = "memory_available",
        /// Cache of block devices, in bytes.
        MemoryBuffers: Gauge = "memory_buffers",
        /// Page cache, tmpfs and shared memory included, in bytes.
        MemoryCached: Gauge = "memory_cached",
        /// Memory of no file, in bytes.
        MemoryAnon: Gauge = "memory_anon",
        /// Pages of files that processes have mapped, in bytes.
        MemoryMapped: Gauge = "memory_mapped",
        /// Tmpfs and shared memory, in bytes.
        MemoryShmem: Gauge = "memory_shmem",
        /// Page cache that waits to be written, in bytes.
        MemoryDirty: Gauge = "memory_dirty",
        /// Page cache that is being written, in bytes.
        MemoryWriteback: Gauge = "memory_writeback",
        /// The kernel's own objects, in bytes.
        MemorySlab: Gauge = "memory_slab",
        /// Of these, what it can free, in bytes.
        MemorySlabReclaimable: Gauge = "memory_slab_reclaimable",
        /// Page tables, in bytes.
        MemoryPageTables: Gauge = "memory_page_tables",
        /// Memory that reclaim has to leave alone, in bytes.
        MemoryUnevictable: Gauge = "memory_unevictable",
        /// Memory promised to processes, in bytes.
        MemoryCommitted: Gauge = "memory_committed",
        /// What may be promised under strict overcommitting, in bytes.
        MemoryCommitLimit: Gauge = "memory_commit_limit",
        /// Anonymous memory in transparent huge pages, in bytes.
        MemoryAnonHugePages: Gauge = "memory_anon_huge_pages",
        /// The pool of huge pages of the default size, in bytes.
        MemoryHugePages: Gauge = "memory_huge_pages",
        /// Of these, what is free, in bytes.
        MemoryHugePagesFree: Gauge = "memory_huge_pages_free",
        /// Of these, what is promised, in bytes.
        MemoryHugePagesReserved: Gauge = "memory_huge_pages_reserved",
        /// Swap space, in bytes.
        SwapTotal: Limit = "swap_total",
        /// Swap space that is free, in bytes.
        SwapFree: Gauge = "swap_free",
        /// What is in swap and in memory, in bytes.
        SwapCached: Gauge = "swap_cached",
        /// What zswap holds, before compression, in bytes.
        ZswapOriginal: Gauge = "zswap_original",
        /// The same, compressed, in bytes.
        ZswapCompressed: Gauge = "zswap_compressed",
        /// What all zram devices hold, before compression, in bytes.
        ZramOriginal: Gauge = "zram_original",
        /// The same, compressed, in bytes.
        ZramCompressed: Gauge = "zram_compressed",
        /// Memory that they take for it, in bytes.
        ZramUsed: Gauge = "zram_used",
        /// Bytes that kswapd freed.
        ReclaimedKswapd: Counter = "reclaimed_kswapd",
        /// Bytes that tasks freed before they got memory.
        ReclaimedDirect: Counter = "reclaimed_direct",
        /// Bytes that khugepaged freed.
        ReclaimedKhugepaged: Counter = "reclaimed_khugepaged",
        /// Bytes freed because user space asked for it.
        ReclaimedProactive: Counter = "reclaimed_proactive",
        /// Bytes freed for the limits of cgroups: what is counted by type, and by none of the above.
        ReclaimedCgroup: Counter = "reclaimed_cgroup",
        /// Bytes that kswapd looked at to free them.
        ScannedKswapd: Counter = "scanned_kswapd",
        /// Bytes that tasks looked at before they got memory.
        ScannedDirect: Counter = "scanned_direct",
        /// Bytes that khugepaged looked at.
        ScannedKhugepaged: Counter = "scanned_khugepaged",
        /// Bytes looked at because user space asked for it.
        ScannedProactive: Counter = "scanned_proactive",
        /// Bytes looked at for the limits of cgroups.
        ScannedCgroup: Counter = "scanned_cgroup",
        /// How often an allocation had to reclaim by itself.
        AllocationStalls: Counter = "allocation_stalls",
        /// Anonymous pages that came back soon after they were swapped out.
        RefaultsAnon: Counter = "refaults_anon",
        /// Pages of files that came back soon after they were dropped.
        RefaultsFile: Counter = "refaults_file",
        /// Bytes read from swap.
        SwapIn: Counter = "swap_in",
        /// Bytes written to swap.
        SwapOut: Counter = "swap_out",
        /// Page faults, all of them.
        PageFaults: Counter = "page_faults",
        /// Of these, the ones that needed IO.
        MajorPageFaults: Counter = "major_page_faults",
        /// Processes that the OOM killer killed.
        OomKills: Counter = "oom_kills",
        /// CPU time in user space, without that of guests, in nanoseconds; so are the next ones.
        CpuUser: Counter = "cpu_user",
        /// The same at low priority.
        CpuNice: Counter = "cpu_nice",
        /// In the kernel.
        CpuSystem: Counter = "cpu_system",
        /// Nothing to do.
        CpuIdle: Counter = "cpu_idle",
        /// Nothing to do but wait for IO.
        CpuIowait: Counter = "cpu_iowait",
        /// Interrupts.
        CpuIrq: Counter = "cpu_irq",
        /// Their deferred part.
        CpuSoftirq: Counter = "cpu_softirq",
        /// What the hypervisor gave to others.
        CpuSteal: Counter = "cpu_steal",
        /// Guests of this host.
        CpuGuest: Counter = "cpu_guest",
        /// Guests at low priority.
        CpuGuestNice: Counter = "cpu_guest_nice",
        /// CPUs that are online.
        Cpus: Gauge = "cpus",
        /// Switches from one task to another.
        ContextSwitches: Counter = "context_switches",
        /// Tasks ever created.
        Forks: Counter = "forks",
        /// Tasks that run or could.
        TasksRunning: Gauge = "tasks_running",
        /// Tasks that wait for IO.
        TasksBlocked: Gauge = "tasks_blocked",
        /// When the host started, in nanoseconds since the Unix epoch.
        BootTime: Gauge = "boot_time",
        /// The load average of a minute, in hundredths.
        Load1: Gauge = "load1",
        /// Of five.
        Load5: Gauge = "load5",
        /// Of fifteen.
        Load15: Gauge = "load15",
        /// Time in which some task waited for a CPU, in nanoseconds.
        CpuPressureSome: Counter = "cpu_pressure_some",
        /// Time in which some task waited for memory, in nanoseconds.
        MemoryPressureSome: Counter = "memory_pressure_some",
        /// Time in which all tasks waited for memory, in nanoseconds.
        MemoryPressureFull: Counter = "memory_pressure_full",
        /// Time in which some task waited for IO, in nanoseconds.
        IoPressureSome: Counter = "io_pressure_some",
        /// Time in which all tasks waited for IO, in nanoseconds.
        IoPressureFull: Counter = "io_pressure_full",
        /// Time in which interrupts kept all tasks from running, in nanoseconds.
        IrqPressureFull: Counter = "irq_pressure_full",
    }
}

use Statistic::*;

/// What `pgsteal_*` counts besides: the reclaimers, in the order of [`SCANNED`].
pub const RECLAIMED: [Statistic; 4] = [ReclaimedKswapd, ReclaimedDirect, ReclaimedKhugepaged, ReclaimedProactive];

/// The same of `pgscan_*`.
pub const SCANNED: [Statistic; 4] = [ScannedKswapd, ScannedDirect, ScannedKhugepaged, ScannedProactive];

/// The sum of what is known of these.
pub fn sum(values: &Values, statistics: &[Statistic]) -> u64 {
    statistics.iter().filter_map(|statistic| values.get(*statistic)).fold(0, u64::saturating_add)
}
