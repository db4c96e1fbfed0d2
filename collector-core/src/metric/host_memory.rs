//! Use of the host's memory and swap, as the kernel reports it, and whether it runs out.

use std::fmt;

use super::host_statistic::rows;
use super::row::{Detail, Emit, Kind, Metric, Unit, Value};
use crate::pressure;
use crate::series::Series;
use crate::statistic::host::Statistic;
use crate::view::View;
use crate::view::host::Memory;

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
    PINNED: Gauge Bytes "headroom_host_memory_pinned_bytes",
        "Pages of processes that drivers of all kinds (GPU, RDMA, VFIO, io_uring, direct IO in flight) hold pinned for devices, as the kernel counts them (nr_foll_pin_acquired - nr_foll_pin_released): they can be neither swapped nor moved, and are mostly not part of unevictable. A page that is pinned twice counts twice; a huge page that io_uring or udmabuf pins as a whole counts as one small page; memory that a driver allocated itself does not count." { [] MemoryPinned }
    COMMITTED: Gauge Bytes "headroom_host_memory_committed_bytes",
        "Memory promised to processes, whether they use it or not (Committed_AS)." { [] MemoryCommitted }
    COMMIT_LIMIT: Gauge Bytes "headroom_host_memory_commit_limit_bytes",
        "Most memory that the kernel may promise to processes if it is set not to overcommit (CommitLimit)." { [] MemoryCommitLimit }
    ANON_HUGE_PAGES: Gauge Bytes "headroom_host_memory_anon_huge_pages_bytes",
        "Anonymous memory in transparent huge pages." { [] MemoryAnonHugePages }
    ARC: Gauge Bytes "headroom_host_memory_zfs_arc_bytes",
        "Memory of ZFS' cache (ARC), which is no part of the page cache; only on a host with ZFS." { [] MemoryArc }
    ARC_RECLAIMABLE: Gauge Bytes "headroom_host_memory_zfs_arc_reclaimable_bytes",
        "Memory of ZFS' cache that it gives back when memory is short: what is clean, down to its minimum. The kernel does not count it as available." { [] MemoryArcReclaimable }
    HUGE_PAGES: Gauge Bytes "headroom_host_memory_huge_pages_bytes",
        "Size of the pools of huge pages of all sizes, including the used ones." { [] MemoryHugePages }
    HUGE_PAGES_FREE: Gauge Bytes "headroom_host_memory_huge_pages_free_bytes",
        "Size of the pools' huge pages that are free." { [] MemoryHugePagesFree }
    HUGE_PAGES_RESERVED: Gauge Bytes "headroom_host_memory_huge_pages_reserved_bytes",
        "Size of the pools' huge pages that are free but promised to a process." { [] MemoryHugePagesReserved }
    SWAP_TOTAL: Gauge Bytes "headroom_host_swap_total_bytes", "Swap space; 0 on a host without swap." { [] SwapTotal }
    SWAP_FREE: Gauge Bytes "headroom_host_swap_free_bytes", "Free swap space." { [] SwapFree }
    SWAPPINESS: Gauge None "headroom_host_swappiness",
        "How readily the kernel swaps, 0 to 200 (vm.swappiness). At 0 a cgroup at its limit is not swapped out but killed." { [] Swappiness }
    SWAP_CACHED: Gauge Bytes "headroom_host_swap_cached_bytes",
        "Memory that was read back from swap and is still in swap as well." { [] SwapCached }
    ZRAM_ORIGINAL: Gauge Bytes "headroom_host_zram_original_bytes",
        "Data in all zram devices, before compression." { [] ZramOriginal }
    ZRAM_COMPRESSED: Gauge Bytes "headroom_host_zram_compressed_bytes",
        "Data in all zram devices, compressed." { [] ZramCompressed }
    ZRAM_USED: Gauge Bytes "headroom_host_zram_used_bytes",
        "Memory used by all zram devices, including fragmentation." { [] ZramUsed }
    ZRAM_SIZE: Gauge Bytes "headroom_host_zram_size_bytes",
        "Data that all zram devices take at most, before compression (disksize)." { [] ZramSize }
    ZRAM_MOST: Gauge Bytes "headroom_host_zram_most_bytes",
        "Memory that all zram devices may use at most: the limit of each (mem_limit), and its size where it has none." { [] ZramMost }
    WATERMARK_SCALE_FACTOR: Gauge None "headroom_host_watermark_scale_factor",
        "How far ahead of a shortage kswapd frees memory, in ten-thousandths of the memory (vm.watermark_scale_factor)." { [] WatermarkScaleFactor }
    HUGE_PAGES_ENABLED: Gauge None "headroom_host_transparent_huge_pages_enabled",
        "Who gets transparent huge pages (/sys/kernel/mm/transparent_hugepage/enabled): 0 nobody, 1 who asks (madvise), 2 everybody (always)." { [] HugePagesEnabled }
    HUGE_PAGES_DEFRAG: Gauge None "headroom_host_transparent_huge_pages_defrag",
        "Who waits until a transparent huge page is made (/sys/kernel/mm/transparent_hugepage/defrag): 0 nobody (never), 1 who asks (madvise), 2 nobody, it is made in the background (defer), 3 who asks, the others in the background (defer+madvise), 4 everybody (always)." { [] HugePagesDefrag }
    ZSWAP_ORIGINAL: Gauge Bytes "headroom_host_zswap_original_bytes",
        "Data in zswap, before compression." { [] ZswapOriginal }
    ZSWAP_COMPRESSED: Gauge Bytes "headroom_host_zswap_compressed_bytes",
        "Memory used by zswap." { [] ZswapCompressed }
}

pub const USED_RATIO: Metric = Metric {
    name: "headroom_host_memory_used_ratio",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Always,
    help: "Share of memory (0 to 1) that cannot be had without swapping. Page cache and what ZFS gives back of its cache can be had; free huge pages are neither used nor part of the total.",
    labels: &[],
    needs: &[],
    read: |view, emit| memory(view, emit, Memory::used_ratio),
};

pub const AVAILABLE_RATIO: Metric = Metric {
    name: "headroom_host_memory_available_ratio",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Always,
    help: "Share of memory (0 to 1) that new processes can have without swapping: 1 - headroom_host_memory_used_ratio.",
    labels: &[],
    needs: &[],
    read: |view, emit| memory(view, emit, Memory::available_ratio),
};

pub const SHORTAGE_RATIO: Metric = Metric {
    name: "headroom_host_memory_shortage_ratio",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Always,
    help: "The same share as headroom_host_memory_used_ratio, while memory runs out: tasks waited for it for 1 % of the last 10 seconds or more and the host reclaimed, or what is left is gone within a minute at the pace of the last half minute. Else absent. Where the kernel does not say whether tasks wait (no PSI), it is always there.",
    labels: &[],
    needs: &[],
    read: |view, emit| match runs_out(view) {
        true => memory(view, emit, Memory::used_ratio),
        false => Ok(()),
    },
};

pub const SHORT_WAIT_SECONDS: Metric = Metric {
    name: "headroom_host_memory_short_wait_seconds_total",
    kind: Kind::Counter,
    unit: Some(Unit::Seconds),
    detail: Detail::Always,
    help: "Time in which tasks of the host, some (waiting) or all (stalled), waited for memory while the host itself was short of it: less than a tenth of its memory could be had, or it reclaimed 0.05 % of its memory per second or more. A cgroup that waits at its own limit on a host with free memory does not count.",
    labels: &["kind"],
    needs: &[],
    read: |view, emit| {
        for (kind, ns) in pressure::Kind::ALL.into_iter().zip(view.host.shortage.waited) {
            if let Some(ns) = ns {
                emit.counter(&[kind.label()], Value::seconds(ns), view.started)?;
            }
        }
        Ok(())
    },
};

pub const SWAP_USED_RATIO: Metric = Metric {
    name: "headroom_host_swap_used_ratio",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Always,
    help: "Share of swap space (0 to 1) that is used: 1 - free / total; absent on a host without swap.",
    labels: &[],
    needs: &[],
    read: |view, emit| ratio(view, emit, Statistic::SwapFree, Statistic::SwapTotal),
};

fn memory(view: &View, emit: &mut Emit<'_>, share: fn(Memory) -> f64) -> fmt::Result {
    view.host.memory().map_or(Ok(()), |memory| emit.gauge(&[], Value::Float(share(memory))))
}

/// Tasks wait from this share of the last [`WAIT_NS`].
const WAITING: f64 = 0.01;
const WAIT_NS: u64 = 10_000_000_000;
/// How far back the pace is measured, and how soon memory must be gone at that pace, in seconds.
const PACE_NS: u64 = 30_000_000_000;
const SOON: f64 = 60.0;

/// Whether the host's memory runs out, if it is nearly full.
fn runs_out(view: &View) -> bool {
    // A cgroup that waits at its own limit makes the host wait too.
    let reclaims = || view.host.reclaims_since(view.time.saturating_sub(WAIT_NS));
    let waits =
        || view.history.mean(Series::MemoryWaiting, WAIT_NS).is_some_and(|waiting| waiting >= WAITING) && reclaims();
    let left = || view.host.memory().map(|memory| memory.available as f64);
    let soon =
        || left().zip(view.history.pace(Series::Memory, PACE_NS)).is_some_and(|(left, pace)| pace * SOON >= left);
    view.host.statistics.get(Statistic::MemoryPressureSome).is_none() || waits() || soon()
}

/// Emits 1 - part / total.
fn ratio(view: &View, emit: &mut Emit<'_>, part: Statistic, total: Statistic) -> fmt::Result {
    let values = &view.host.statistics;
    let (Some(part), Some(total @ 1..)) = (values.get(part), values.get(total)) else { return Ok(()) };
    match part <= total {
        true => emit.gauge(&[], Value::Float(1.0 - part as f64 / total as f64)),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::metric::visit::{Part, visit};
    use crate::sample::{Reading, Sample};
    use crate::statistic::host::Values;
    use Statistic::*;

    const SECOND: u64 = 1_000_000_000;

    /// The shortage after 40 seconds: used bytes of 100 and nanoseconds waited, by second.
    fn shortage(used: impl Fn(u64) -> u64, waited: impl Fn(u64) -> Option<u64>) -> Option<f64> {
        shortage_of(used, waited, None)
    }

    /// The same on a host that looks for this much memory each second.
    fn shortage_of(used: impl Fn(u64) -> u64, waited: impl Fn(u64) -> Option<u64>, scans: Option<u64>) -> Option<f64> {
        let mut engine = Engine::new();
        engine.apply(&Sample { time: SECOND, reading: Reading::Start(crate::engine::test::start()) });
        for second in 2..42 {
            let mut values = Values::from_iter([(MemoryTotal, 100), (MemoryAvailable, 100 - used(second))]);
            values.put(MemoryPressureSome, waited(second));
            values.put(ScannedKswapd, scans.map(|scans| 7 + scans * second));
            values.put(ScannedDirect, scans.map(|_| 0));
            for reading in [Reading::Host(values), Reading::Tick] {
                engine.apply(&Sample { time: second * SECOND, reading });
            }
        }
        let mut shown = None;
        visit(engine.view(), &SHORTAGE_RATIO, Part::Whole, &mut |_, number, _| shown = Some(number));
        shown
    }

    #[test]
    fn a_full_host_on_which_nobody_waits_is_not_out_of_memory() {
        let nobody = |_| Some(70 * SECOND);
        assert_eq!(shortage(|_| 97, nobody), None);
        assert_eq!(shortage(|_| 97, |second| Some(second * SECOND / 50)), Some(0.97), "tasks wait for 2 % of the time");
        assert_eq!(shortage(|_| 97, |second| Some(second.min(30) * SECOND)), None, "that was more than 10 s ago");
        assert_eq!(shortage(|_| 97, |_| None), Some(0.97), "nobody knows");
        let all = |second| Some(second * SECOND);
        assert_eq!(shortage_of(|_| 97, all, Some(0)), None, "a cgroup waits at its own limit");
        assert_eq!(shortage_of(|_| 97, all, Some(1)), Some(0.97));
    }

    #[test]
    fn memory_that_grows_fast_runs_out() {
        let nobody = |_| Some(0);
        assert_eq!(shortage(|second| 54 + second, nobody), Some(0.95), "5 bytes are left, and one goes per second");
        assert_eq!(shortage(|second| 91 + second / 20, nobody), None, "one in twenty seconds");
        assert_eq!(shortage(|second| if second < 38 { 50 } else { 97 }, nobody), Some(0.97), "it jumped");
    }
}
