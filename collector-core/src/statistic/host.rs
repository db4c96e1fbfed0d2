//! Statistics of the host as a whole: memory, swap, reclaim, CPU, pressure.

/// The words of `transparent_hugepage/defrag`, in the order of [`Statistic::HugePagesDefrag`].
pub const DEFRAG: [&str; 5] = ["never", "madvise", "defer", "defer+madvise", "always"];

super::statistics! {
    {
        /// Total memory, in bytes.
        MemoryTotal: Limit = "memory_total",
        /// Unused memory, in bytes.
        MemoryFree: Gauge = "memory_free",
        /// Memory available to new processes without swapping, by the kernel's estimate, in bytes.
        MemoryAvailable: Gauge = "memory_available",
        /// Cache of block devices, in bytes.
        MemoryBuffers: Gauge = "memory_buffers",
        /// Page cache, tmpfs and shared memory included, in bytes.
        MemoryCached: Gauge = "memory_cached",
        /// Anonymous memory, in bytes.
        MemoryAnon: Gauge = "memory_anon",
        /// File pages mapped by processes, in bytes.
        MemoryMapped: Gauge = "memory_mapped",
        /// Tmpfs and shared memory, in bytes.
        MemoryShmem: Gauge = "memory_shmem",
        /// Dirty page cache, in bytes.
        MemoryDirty: Gauge = "memory_dirty",
        /// Page cache that is being written, in bytes.
        MemoryWriteback: Gauge = "memory_writeback",
        /// Kernel objects (slab), in bytes.
        MemorySlab: Gauge = "memory_slab",
        /// Reclaimable kernel objects, in bytes.
        MemorySlabReclaimable: Gauge = "memory_slab_reclaimable",
        /// Page tables, in bytes.
        MemoryPageTables: Gauge = "memory_page_tables",
        /// Memory that reclaim cannot free, in bytes.
        MemoryUnevictable: Gauge = "memory_unevictable",
        /// Pins that drivers and the kernel hold on pages of processes (`pin_user_pages`), times the page size. A page that is pinned
        /// twice counts twice; a huge page that is pinned as a whole counts as one small one.
        MemoryPinned: Gauge = "memory_pinned",
        /// Memory committed to processes, in bytes.
        MemoryCommitted: Gauge = "memory_committed",
        /// Commit limit under strict overcommit, in bytes.
        MemoryCommitLimit: Gauge = "memory_commit_limit",
        /// Anonymous memory in transparent huge pages, in bytes.
        MemoryAnonHugePages: Gauge = "memory_anon_huge_pages",
        /// ZFS' cache (ARC), in bytes: no part of the page cache, and not counted as available by the kernel.
        MemoryArc: Gauge = "memory_arc",
        /// The part of it that ZFS gives back when memory is short, in bytes.
        MemoryArcReclaimable: Gauge = "memory_arc_reclaimable",
        /// Pools of huge pages, in bytes.
        MemoryHugePages: Gauge = "memory_huge_pages",
        /// Free huge pages, in bytes.
        MemoryHugePagesFree: Gauge = "memory_huge_pages_free",
        /// Reserved huge pages, in bytes.
        MemoryHugePagesReserved: Gauge = "memory_huge_pages_reserved",
        /// Swap space, in bytes.
        SwapTotal: Limit = "swap_total",
        /// Swap space that is free, in bytes.
        SwapFree: Gauge = "swap_free",
        /// Pages that are both in swap and in memory, in bytes.
        SwapCached: Gauge = "swap_cached",
        /// How readily the kernel swaps, 0 to 200 (`vm.swappiness`). At 0 the limit of a cgroup never leads to swapping.
        Swappiness: Gauge = "swappiness",
        /// Data in zswap before compression, in bytes.
        ZswapOriginal: Gauge = "zswap_original",
        /// Data in zswap after compression, in bytes.
        ZswapCompressed: Gauge = "zswap_compressed",
        /// Data in all zram devices before compression, in bytes.
        ZramOriginal: Gauge = "zram_original",
        /// Data in all zram devices after compression, in bytes.
        ZramCompressed: Gauge = "zram_compressed",
        /// Memory used by zram devices, in bytes.
        ZramUsed: Gauge = "zram_used",
        /// Data that all zram devices take at most, before compression (`disksize`), in bytes.
        ZramSize: Gauge = "zram_size",
        /// Memory that they may use at most: the limit of each (`mem_limit`), and its size where it has none, in bytes.
        ZramMost: Gauge = "zram_most",
        /// How far ahead of a shortage kswapd frees memory, in ten-thousandths of the memory (`vm.watermark_scale_factor`).
        WatermarkScaleFactor: Gauge = "watermark_scale_factor",
        /// Who gets transparent huge pages (`enabled`): 0 nobody, 1 who asks (`madvise`), 2 everybody (`always`).
        HugePagesEnabled: Gauge = "huge_pages_enabled",
        /// Who waits for one to be made (`defrag`): 0 nobody (`never`), 1 who asks (`madvise`), 2 nobody, it is made in the background
        /// (`defer`), 3 who asks, the others in the background (`defer+madvise`), 4 everybody (`always`).
        HugePagesDefrag: Gauge = "huge_pages_defrag",
        /// Bytes freed by kswapd.
        ReclaimedKswapd: Counter = "reclaimed_kswapd",
        /// Bytes freed by direct reclaim.
        ReclaimedDirect: Counter = "reclaimed_direct",
        /// Bytes freed by khugepaged.
        ReclaimedKhugepaged: Counter = "reclaimed_khugepaged",
        /// Bytes freed at the request of user space.
        ReclaimedProactive: Counter = "reclaimed_proactive",
        /// Bytes freed for cgroup limits: counted by page type, but by none of the reclaimers above.
        ReclaimedCgroup: Counter = "reclaimed_cgroup",
        /// Bytes scanned by kswapd.
        ScannedKswapd: Counter = "scanned_kswapd",
        /// Bytes scanned by direct reclaim.
        ScannedDirect: Counter = "scanned_direct",
        /// Bytes scanned by khugepaged.
        ScannedKhugepaged: Counter = "scanned_khugepaged",
        /// Bytes scanned at the request of user space.
        ScannedProactive: Counter = "scanned_proactive",
        /// Bytes scanned for cgroup limits.
        ScannedCgroup: Counter = "scanned_cgroup",
        /// Allocations that had to reclaim directly.
        AllocationStalls: Counter = "allocation_stalls",
        /// Refaults of anonymous pages: needed again soon after they were swapped out.
        RefaultsAnon: Counter = "refaults_anon",
        /// Refaults of file pages: needed again soon after they were dropped.
        RefaultsFile: Counter = "refaults_file",
        /// Bytes read from swap.
        SwapIn: Counter = "swap_in",
        /// Bytes written to swap.
        SwapOut: Counter = "swap_out",
        /// All page faults.
        PageFaults: Counter = "page_faults",
        /// Page faults that needed IO.
        MajorPageFaults: Counter = "major_page_faults",
        /// Processes killed by the OOM killer.
        OomKills: Counter = "oom_kills",
        /// CPU time in user space without guests, in nanoseconds, like the following.
        CpuUser: Counter = "cpu_user",
        /// CPU time in user space at low priority.
        CpuNice: Counter = "cpu_nice",
        /// CPU time in the kernel.
        CpuSystem: Counter = "cpu_system",
        /// Idle time.
        CpuIdle: Counter = "cpu_idle",
        /// Idle time while waiting for IO.
        CpuIowait: Counter = "cpu_iowait",
        /// Time in interrupts.
        CpuIrq: Counter = "cpu_irq",
        /// Time in soft interrupts.
        CpuSoftirq: Counter = "cpu_softirq",
        /// Time stolen by the hypervisor.
        CpuSteal: Counter = "cpu_steal",
        /// Time of guests of this host.
        CpuGuest: Counter = "cpu_guest",
        /// Time of guests at low priority.
        CpuGuestNice: Counter = "cpu_guest_nice",
        /// Online CPUs.
        Cpus: Gauge = "cpus",
        /// Context switches.
        ContextSwitches: Counter = "context_switches",
        /// Tasks ever created.
        Forks: Counter = "forks",
        /// Runnable tasks.
        TasksRunning: Gauge = "tasks_running",
        /// Tasks blocked on IO.
        TasksBlocked: Gauge = "tasks_blocked",
        /// When the host started, in nanoseconds since the Unix epoch.
        BootTime: Gauge = "boot_time",
        /// Load average over one minute, in hundredths.
        Load1: Gauge = "load1",
        /// Load average over five minutes, in hundredths.
        Load5: Gauge = "load5",
        /// Load average over fifteen minutes, in hundredths.
        Load15: Gauge = "load15",
        /// Time in which at least one task waited for a CPU, in nanoseconds.
        CpuPressureSome: Counter = "cpu_pressure_some",
        /// Time in which at least one task waited for memory, in nanoseconds.
        MemoryPressureSome: Counter = "memory_pressure_some",
        /// Time in which all tasks waited for memory, in nanoseconds.
        MemoryPressureFull: Counter = "memory_pressure_full",
        /// Time in which at least one task waited for IO, in nanoseconds.
        IoPressureSome: Counter = "io_pressure_some",
        /// Time in which all tasks waited for IO, in nanoseconds.
        IoPressureFull: Counter = "io_pressure_full",
        /// Time in which interrupts kept all tasks from running, in nanoseconds.
        IrqPressureFull: Counter = "irq_pressure_full",
    }
}

use Statistic::*;

/// `pgsteal_*` by reclaimer, in the order of [`SCANNED`].
pub const RECLAIMED: [Statistic; 4] = [ReclaimedKswapd, ReclaimedDirect, ReclaimedKhugepaged, ReclaimedProactive];

/// `pgscan_*` by reclaimer, in the order of [`RECLAIMED`].
pub const SCANNED: [Statistic; 4] = [ScannedKswapd, ScannedDirect, ScannedKhugepaged, ScannedProactive];

/// The sum of the known values.
pub fn sum(values: &Values, statistics: &[Statistic]) -> u64 {
    crate::count::sum(statistics.iter().filter_map(|statistic| values.get(*statistic)))
}

/// Time in which a CPU was neither idle nor waiting for IO, averaged over the CPUs, in nanoseconds.
pub fn average_busy(values: &Values) -> Option<u64> {
    values.get(CpuUser)?;
    let modes = [CpuUser, CpuNice, CpuSystem, CpuIrq, CpuSoftirq, CpuSteal, CpuGuest, CpuGuestNice];
    average(values, &modes)
}

/// CPU time in these modes, averaged over the CPUs, in nanoseconds.
pub fn average(values: &Values, modes: &[Statistic]) -> Option<u64> {
    sum(values, modes).checked_div(values.get(Cpus)?)
}
