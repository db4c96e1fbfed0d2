//! What is read of the host as a whole: memory, swap, reclaim, CPU, pressure.

super::statistics! {
    /// One statistic of the host.
    {
        /// Memory that the kernel has to give, in bytes.
        MemoryTotal: Limit = "memory_total",
        /// Memory that lies idle, in bytes.
        MemoryFree: Level = "memory_free",
        /// What new processes can have without swapping, as the kernel estimates it, in bytes.
        MemoryAvailable: Level = "memory_available",
        /// Cache of block devices, in bytes.
        MemoryBuffers: Level = "memory_buffers",
        /// Page cache, tmpfs and shared memory included, in bytes.
        MemoryCached: Level = "memory_cached",
        /// Memory of no file, in bytes.
        MemoryAnon: Level = "memory_anon",
        /// Pages of files that processes have mapped, in bytes.
        MemoryMapped: Level = "memory_mapped",
        /// Tmpfs and shared memory, in bytes.
        MemoryShmem: Level = "memory_shmem",
        /// Page cache that waits to be written, in bytes.
        MemoryDirty: Level = "memory_dirty",
        /// Page cache that is being written, in bytes.
        MemoryWriteback: Level = "memory_writeback",
        /// The kernel's own objects, in bytes.
        MemorySlab: Level = "memory_slab",
        /// Of these, what it can free, in bytes.
        MemorySlabReclaimable: Level = "memory_slab_reclaimable",
        /// Page tables, in bytes.
        MemoryPageTables: Level = "memory_page_tables",
        /// Memory that reclaim has to leave alone, in bytes.
        MemoryUnevictable: Level = "memory_unevictable",
        /// Memory promised to processes, in bytes.
        MemoryCommitted: Level = "memory_committed",
        /// What may be promised under strict overcommitting, in bytes.
        MemoryCommitLimit: Level = "memory_commit_limit",
        /// Anonymous memory in transparent huge pages, in bytes.
        MemoryAnonHugePages: Level = "memory_anon_huge_pages",
        /// The pool of huge pages of the default size, in bytes.
        MemoryHugePages: Level = "memory_huge_pages",
        /// Of these, what is free, in bytes.
        MemoryHugePagesFree: Level = "memory_huge_pages_free",
        /// Of these, what is promised, in bytes.
        MemoryHugePagesReserved: Level = "memory_huge_pages_reserved",
        /// Swap space, in bytes.
        SwapTotal: Limit = "swap_total",
        /// Swap space that is free, in bytes.
        SwapFree: Level = "swap_free",
        /// What is in swap and in memory, in bytes.
        SwapCached: Level = "swap_cached",
        /// What zswap holds, before compression, in bytes.
        ZswapOriginal: Level = "zswap_original",
        /// The same, compressed, in bytes.
        ZswapCompressed: Level = "zswap_compressed",
        /// What all zram devices hold, before compression, in bytes.
        ZramOriginal: Level = "zram_original",
        /// The same, compressed, in bytes.
        ZramCompressed: Level = "zram_compressed",
        /// Memory that they take for it, in bytes.
        ZramUsed: Level = "zram_used",
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
        Cpus: Level = "cpus",
        /// Switches from one task to another.
        ContextSwitches: Counter = "context_switches",
        /// Tasks ever created.
        Forks: Counter = "forks",
        /// Tasks that run or could.
        TasksRunning: Level = "tasks_running",
        /// Tasks that wait for IO.
        TasksBlocked: Level = "tasks_blocked",
        /// When the host started, in nanoseconds since the Unix epoch.
        BootTime: Level = "boot_time",
        /// The load average of a minute, in hundredths.
        Load1: Level = "load1",
        /// Of five.
        Load5: Level = "load5",
        /// Of fifteen.
        Load15: Level = "load15",
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
