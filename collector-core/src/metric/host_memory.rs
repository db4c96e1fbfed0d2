//! What the host's memory and swap are used for, as the kernel says.

use std::fmt;

use super::host_statistic::rows;
use super::row::{Emit, Kind, Metric, Value};
use crate::statistic::host::Statistic;
use crate::view::View;

rows! {
    /// All of it.
    TOTAL: Gauge Bytes "headroom_host_memory_total_bytes",
        "Memory that the kernel has to give." { [] MemoryTotal }
    /// What can be had.
    AVAILABLE: Gauge Bytes "headroom_host_memory_available_bytes",
        "Memory that new processes can have without swapping, as the kernel estimates it." { [] MemoryAvailable }
    /// What lies idle.
    FREE: Gauge Bytes "headroom_host_memory_free_bytes",
        "Memory that lies idle; page cache that could be dropped is not in it." { [] MemoryFree }
    /// Page cache.
    CACHED: Gauge Bytes "headroom_host_memory_cached_bytes",
        "Page cache, tmpfs and shared memory included, without the cache of block devices." { [] MemoryCached }
    /// Cache of block devices.
    BUFFERS: Gauge Bytes "headroom_host_memory_buffers_bytes", "Cache of block devices." { [] MemoryBuffers }
    /// Memory of no file.
    ANON: Gauge Bytes "headroom_host_memory_anon_bytes", "Anonymous memory that processes have mapped." { [] MemoryAnon }
    /// Mapped files.
    MAPPED: Gauge Bytes "headroom_host_memory_mapped_bytes", "Page cache that processes have mapped." { [] MemoryMapped }
    /// Shared memory.
    SHMEM: Gauge Bytes "headroom_host_memory_shmem_bytes", "Tmpfs and shared memory." { [] MemoryShmem }
    /// What waits to be written.
    DIRTY: Gauge Bytes "headroom_host_memory_dirty_bytes", "Page cache that waits to be written." { [] MemoryDirty }
    /// What is being written.
    WRITEBACK: Gauge Bytes "headroom_host_memory_writeback_bytes",
        "Page cache that is being written." { [] MemoryWriteback }
    /// The kernel's own objects.
    SLAB: Gauge Bytes "headroom_host_memory_slab_bytes", "The kernel's own objects." { [] MemorySlab }
    /// Those that it can free.
    SLAB_RECLAIMABLE: Gauge Bytes "headroom_host_memory_slab_reclaimable_bytes",
        "The kernel's own objects that it can free, a part of slab." { [] MemorySlabReclaimable }
    /// Page tables.
    PAGE_TABLES: Gauge Bytes "headroom_host_memory_page_tables_bytes", "Page tables of processes." { [] MemoryPageTables }
    /// What reclaim leaves alone.
    UNEVICTABLE: Gauge Bytes "headroom_host_memory_unevictable_bytes",
        "Memory that reclaim has to leave alone: locked, or of no use to anybody but its owner." { [] MemoryUnevictable }
    /// What is promised.
    COMMITTED: Gauge Bytes "headroom_host_memory_committed_bytes",
        "Memory promised to processes, whether they use it or not." { [] MemoryCommitted }
    /// What may be promised.
    COMMIT_LIMIT: Gauge Bytes "headroom_host_memory_commit_limit_bytes",
        "What may be promised to processes, if the kernel is set not to overcommit." { [] MemoryCommitLimit }
    /// Transparent huge pages.
    ANON_HUGE_PAGES: Gauge Bytes "headroom_host_memory_anon_huge_pages_bytes",
        "Anonymous memory in transparent huge pages." { [] MemoryAnonHugePages }
    /// The pool of huge pages.
    HUGE_PAGES: Gauge Bytes "headroom_host_memory_huge_pages_bytes",
        "The pool of huge pages of the default size, the used ones included." { [] MemoryHugePages }
    /// Those that are free.
    HUGE_PAGES_FREE: Gauge Bytes "headroom_host_memory_huge_pages_free_bytes",
        "Huge pages of the pool that are free." { [] MemoryHugePagesFree }
    /// Those that are promised.
    HUGE_PAGES_RESERVED: Gauge Bytes "headroom_host_memory_huge_pages_reserved_bytes",
        "Huge pages of the pool that are free and promised." { [] MemoryHugePagesReserved }
    /// Swap.
    SWAP_TOTAL: Gauge Bytes "headroom_host_swap_total_bytes", "Swap space; 0 on a host without." { [] SwapTotal }
    /// What of it is free.
    SWAP_FREE: Gauge Bytes "headroom_host_swap_free_bytes", "Swap space that is free." { [] SwapFree }
    /// What is in memory too.
    SWAP_CACHED: Gauge Bytes "headroom_host_swap_cached_bytes",
        "What is in swap and, read back, in memory as well." { [] SwapCached }
    /// Compressed swap.
    ZRAM_ORIGINAL: Gauge Bytes "headroom_host_zram_original_bytes",
        "What all zram devices hold, before compression." { [] ZramOriginal }
    /// The same, compressed.
    ZRAM_COMPRESSED: Gauge Bytes "headroom_host_zram_compressed_bytes",
        "What all zram devices hold, compressed." { [] ZramCompressed }
    /// What it takes.
    ZRAM_USED: Gauge Bytes "headroom_host_zram_used_bytes",
        "Memory that all zram devices take, what is lost between the pieces included." { [] ZramUsed }
    /// The compressed cache before swap.
    ZSWAP_ORIGINAL: Gauge Bytes "headroom_host_zswap_original_bytes",
        "What zswap holds, before compression." { [] ZswapOriginal }
    /// The same, compressed.
    ZSWAP_COMPRESSED: Gauge Bytes "headroom_host_zswap_compressed_bytes",
        "Memory that zswap takes." { [] ZswapCompressed }
}

/// How full memory is.
pub const USED_RATIO: Metric = Metric {
    name: "headroom_host_memory_used_ratio",
    kind: Kind::Gauge,
    unit: None,
    help: "The share of memory that cannot be had without swapping: 1 - available / total.",
    labels: &[],
    needs: &[],
    read: |view, emit| ratio(view, emit, Statistic::MemoryAvailable, Statistic::MemoryTotal),
};

/// How much can be had.
pub const AVAILABLE_RATIO: Metric = Metric {
    name: "headroom_host_memory_available_ratio",
    kind: Kind::Gauge,
    unit: None,
    help: "The share of memory that new processes can have without swapping: available / total.",
    labels: &[],
    needs: &[],
    read: |view, emit| {
        let left = left(view, Statistic::MemoryAvailable, Statistic::MemoryTotal);
        left.map_or(Ok(()), |left| emit.gauge(&[], Value::Float(left)))
    },
};

/// How full swap is.
pub const SWAP_USED_RATIO: Metric = Metric {
    name: "headroom_host_swap_used_ratio",
    kind: Kind::Gauge,
    unit: None,
    help: "The share of swap space that is used: 1 - free / total; absent on a host without.",
    labels: &[],
    needs: &[],
    read: |view, emit| ratio(view, emit, Statistic::SwapFree, Statistic::SwapTotal),
};

/// One less the share that is left.
fn ratio(view: &View, emit: &mut Emit<'_>, part: Statistic, total: Statistic) -> fmt::Result {
    left(view, part, total).map_or(Ok(()), |left| emit.gauge(&[], Value::Float(1.0 - left)))
}

/// The share that is left.
fn left(view: &View, left: Statistic, total: Statistic) -> Option<f64> {
    let values = &view.host.statistics;
    let (left, total) = (values.get(left)?, values.get(total).filter(|total| *total > 0)?);
    // In a container, what is left may be the host's and the total its own.
    Some(left.min(total) as f64 / total as f64)
}
