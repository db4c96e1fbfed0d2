//! Use of the host's memory and swap, as the kernel reports it.

use std::fmt;

use super::host_statistic::rows;
use super::row::{Emit, Kind, Metric, Value};
use crate::statistic::host::Statistic;
use crate::view::View;

rows! {
    TOTAL: Gauge Bytes "headroom_host_memory_total_bytes",
        "Total memory that the kernel manages." { [] MemoryTotal }
    AVAILABLE: Gauge Bytes "headroom_host_memory_available_bytes",
        "Memory that new processes can use without swapping, as the kernel estimates it." { [] MemoryAvailable }
    FREE: Gauge Bytes "headroom_host_memory_free_bytes",
        "Unused memory; page cache that the kernel could drop is not counted." { [] MemoryFree }
    CACHED: Gauge Bytes "headroom_host_memory_cached_bytes",
        "Page cache, including tmpfs and shared memory, without the cache of block devices." { [] MemoryCached }
    BUFFERS: Gauge Bytes "headroom_host_memory_buffers_bytes", "Cache of block devices." { [] MemoryBuffers }
    ANON: Gauge Bytes "headroom_host_memory_anon_bytes", "Anonymous memory mapped by processes." { [] MemoryAnon }
    MAPPED: Gauge Bytes "headroom_host_memory_mapped_bytes", "Page cache mapped by processes." { [] MemoryMapped }
    SHMEM: Gauge Bytes "headroom_host_memory_shmem_bytes", "Tmpfs and shared memory." { [] MemoryShmem }
    DIRTY: Gauge Bytes "headroom_host_memory_dirty_bytes", "Page cache that waits to be written to disk." { [] MemoryDirty }
    WRITEBACK: Gauge Bytes "headroom_host_memory_writeback_bytes",
        "Page cache that is being written to disk." { [] MemoryWriteback }
    SLAB: Gauge Bytes "headroom_host_memory_slab_bytes", "Memory of the kernel's own objects (slab)." { [] MemorySlab }
    SLAB_RECLAIMABLE: Gauge Bytes "headroom_host_memory_slab_reclaimable_bytes",
        "Slab memory that the kernel can reclaim, a part of slab." { [] MemorySlabReclaimable }
    PAGE_TABLES: Gauge Bytes "headroom_host_memory_page_tables_bytes", "Memory used by the page tables of processes." { [] MemoryPageTables }
    UNEVICTABLE: Gauge Bytes "headroom_host_memory_unevictable_bytes",
        "Memory that the kernel cannot reclaim: locked, or of use only to its owner." { [] MemoryUnevictable }
    COMMITTED: Gauge Bytes "headroom_host_memory_committed_bytes",
        "Memory promised to processes, whether they use it or not (Committed_AS)." { [] MemoryCommitted }
    COMMIT_LIMIT: Gauge Bytes "headroom_host_memory_commit_limit_bytes",
        "Most memory that the kernel may promise to processes if it is set not to overcommit (CommitLimit)." { [] MemoryCommitLimit }
    ANON_HUGE_PAGES: Gauge Bytes "headroom_host_memory_anon_huge_pages_bytes",
        "Anonymous memory in transparent huge pages." { [] MemoryAnonHugePages }
    HUGE_PAGES: Gauge Bytes "headroom_host_memory_huge_pages_bytes",
        "Size of the pool of huge pages of the default size, including the used ones." { [] MemoryHugePages }
    HUGE_PAGES_FREE: Gauge Bytes "headroom_host_memory_huge_pages_free_bytes",
        "Size of the pool's huge pages that are free." { [] MemoryHugePagesFree }
    HUGE_PAGES_RESERVED: Gauge Bytes "headroom_host_memory_huge_pages_reserved_bytes",
        "Size of the pool's huge pages that are free but promised to a process." { [] MemoryHugePagesReserved }
    SWAP_TOTAL: Gauge Bytes "headroom_host_swap_total_bytes", "Swap space; 0 on a host without swap." { [] SwapTotal }
    SWAP_FREE: Gauge Bytes "headroom_host_swap_free_bytes", "Free swap space." { [] SwapFree }
    SWAP_CACHED: Gauge Bytes "headroom_host_swap_cached_bytes",
        "Memory that was read back from swap and is still in swap as well." { [] SwapCached }
    ZRAM_ORIGINAL: Gauge Bytes "headroom_host_zram_original_bytes",
        "Data in all zram devices, before compression." { [] ZramOriginal }
    ZRAM_COMPRESSED: Gauge Bytes "headroom_host_zram_compressed_bytes",
        "Data in all zram devices, compressed." { [] ZramCompressed }
    ZRAM_USED: Gauge Bytes "headroom_host_zram_used_bytes",
        "Memory used by all zram devices, including fragmentation." { [] ZramUsed }
    ZSWAP_ORIGINAL: Gauge Bytes "headroom_host_zswap_original_bytes",
        "Data in zswap, before compression." { [] ZswapOriginal }
    ZSWAP_COMPRESSED: Gauge Bytes "headroom_host_zswap_compressed_bytes",
        "Memory used by zswap." { [] ZswapCompressed }
}

pub const USED_RATIO: Metric = Metric {
    name: "headroom_host_memory_used_ratio",
    kind: Kind::Gauge,
    unit: None,
    help: "Share of memory (0 to 1) that is not available without swapping: 1 - available / total.",
    labels: &[],
    needs: &[],
    read: |view, emit| ratio(view, emit, Statistic::MemoryAvailable, Statistic::MemoryTotal),
};

pub const AVAILABLE_RATIO: Metric = Metric {
    name: "headroom_host_memory_available_ratio",
    kind: Kind::Gauge,
    unit: None,
    help: "Share of memory (0 to 1) that new processes can use without swapping: available / total.",
    labels: &[],
    needs: &[],
    read: |view, emit| {
        let left = left(view, Statistic::MemoryAvailable, Statistic::MemoryTotal);
        left.map_or(Ok(()), |left| emit.gauge(&[], Value::Float(left)))
    },
};

pub const SWAP_USED_RATIO: Metric = Metric {
    name: "headroom_host_swap_used_ratio",
    kind: Kind::Gauge,
    unit: None,
    help: "Share of swap space (0 to 1) that is used: 1 - free / total; absent on a host without swap.",
    labels: &[],
    needs: &[],
    read: |view, emit| ratio(view, emit, Statistic::SwapFree, Statistic::SwapTotal),
};

/// Emits 1 - part / total.
fn ratio(view: &View, emit: &mut Emit<'_>, part: Statistic, total: Statistic) -> fmt::Result {
    left(view, part, total).map_or(Ok(()), |left| emit.gauge(&[], Value::Float(1.0 - left)))
}

/// left / total; `None` if either is unknown, or if the total is zero.
fn left(view: &View, left: Statistic, total: Statistic) -> Option<f64> {
    let values = &view.host.statistics;
    let (left, total) = (values.get(left)?, values.get(total).filter(|total| *total > 0)?);
    // In a container, the part may be the host's and the total the container's own.
    Some(left.min(total) as f64 / total as f64)
}
