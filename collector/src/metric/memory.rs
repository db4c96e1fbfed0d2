//! What memory workloads have, and how near to their limits they are.

use std::fmt;

use super::render::{Emit, Value};
use super::statistic::rows;
use super::{Kind, Metric, Unit, WORKLOAD};
use crate::statistic::workload::Statistic;
use crate::view::View;

const BYTES: Option<Unit> = Some(Unit::Bytes);

rows! {
    /// Charged now.
    CURRENT = Gauge "headroom_workload_memory_current_bytes", BYTES,
        "Memory charged to the workload, page cache and what the kernel keeps for it included.", MemoryCurrent;
    /// As cAdvisor has it.
    WORKING_SET = Gauge "headroom_workload_memory_working_set_bytes", BYTES,
        "Memory charged to the workload less the page cache that was not used lately: what the kubelet evicts by.",
        MemoryWorkingSet;
    /// Of no file.
    ANON = Gauge "headroom_workload_memory_anon_bytes", BYTES,
        "Memory of the workload that belongs to no file: heaps, stacks, private mappings.", MemoryAnon;
    /// Page cache.
    FILE = Gauge "headroom_workload_memory_file_bytes", BYTES,
        "Page cache charged to the workload, shared memory and tmpfs included.", MemoryFile;
    /// Shared memory.
    SHMEM = Gauge "headroom_workload_memory_shmem_bytes", BYTES,
        "Shared memory and tmpfs charged to the workload.", MemoryShmem;
    /// The kernel's.
    KERNEL = Gauge "headroom_workload_memory_kernel_bytes", BYTES,
        "Memory that the kernel keeps for the workload: page tables, stacks, slab, sockets.", MemoryKernel;
    /// In swap.
    SWAP = Gauge "headroom_workload_memory_swap_bytes", BYTES,
        "Memory of the workload that is in swap.", MemorySwap;
    /// The most.
    PEAK = Gauge "headroom_workload_memory_peak_bytes", BYTES,
        "The most memory that was ever charged to the workload, summed over its cgroups.", MemoryPeak;
    /// The hard limit.
    LIMIT = Gauge "headroom_workload_memory_limit_bytes", BYTES,
        "The workload's own memory limit, at which the kernel kills; absent if there is none.", MemoryLimit;
    /// The soft limit.
    HIGH = Gauge "headroom_workload_memory_high_bytes", BYTES,
        "The memory above which the workload is throttled (cgroup v2); absent if there is no such limit.", MemoryHigh;
    /// The limit on swap.
    SWAP_LIMIT = Gauge "headroom_workload_memory_swap_limit_bytes", BYTES,
        "The swap that the workload may use; absent if there is no limit.", MemorySwapLimit;
    /// Paused for memory.
    UNDER_OOM = Gauge "headroom_workload_memory_under_oom", None,
        "Cgroups of the workload that are out of memory and wait, because they are not to be killed (cgroup v1).",
        MemoryUnderOom;
}

rows! {
    /// Run-ins with limits.
    EVENTS = Counter "headroom_workload_memory_events_total", None,
        "Times that the workload was reclaimed from although protected (low), throttled (high), at its limit (max), out of memory (oom), and its processes killed for it (oom_kill, all at once: oom_group_kill).",
        "event" {
            "low": MemoryEventLow,
            "high": MemoryEventHigh,
            "max": MemoryEventMax,
            "oom": MemoryEventOom,
            "oom_kill": MemoryEventOomKill,
            "oom_group_kill": MemoryEventOomGroupKill,
        };
}

/// How near to its limit.
pub const LIMIT_USED_RATIO: Metric = Metric {
    read: |view, emit| shares(view, emit, Statistic::MemoryCurrent),
    ..ratio(
        "headroom_workload_memory_limit_used_ratio",
        "Memory charged to the workload as a share of its limit; absent if there is none.",
    )
};

/// How near what it needs is.
pub const LIMIT_WORKING_SET_RATIO: Metric = Metric {
    read: |view, emit| shares(view, emit, Statistic::MemoryWorkingSet),
    ..ratio(
        "headroom_workload_memory_limit_working_set_ratio",
        "Memory charged to the workload less the page cache that was not used lately, as a share of its limit; absent if there is none.",
    )
};

const fn ratio(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit: None, help, labels: &WORKLOAD, needs: &[], read: |_, _| Ok(()) }
}

fn shares(view: &View, emit: &mut Emit<'_, '_>, part: Statistic) -> fmt::Result {
    for workload in view.workloads.iter() {
        let numbers = [part, Statistic::MemoryLimit].map(|it| workload.statistics.get(it));
        // Nothing is a share of nothing.
        if let [Some(part), Some(limit @ 1..)] = numbers {
            emit.gauge(&workload.labels(), Value::Float(part as f64 / limit as f64))?;
        }
    }
    Ok(())
}
