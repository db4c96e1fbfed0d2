//! What memory workloads have, and how near to their limits they are.

use std::fmt;

use super::row::{self, Emit, Metric, Unit, Value, WORKLOAD};
use super::statistic::rows;
use crate::identity::Kind;
use crate::statistic::workload::Statistic;
use crate::view::workload::Workload;

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
    read: |view, emit| view.workloads.iter().try_for_each(|it| share(emit, it, Statistic::MemoryCurrent)),
    ..ratio(
        "headroom_workload_memory_limit_used_ratio",
        "Memory charged to the workload as a share of its limit; absent if there is none.",
    )
};

/// How near what it needs is.
pub const LIMIT_WORKING_SET_RATIO: Metric = Metric {
    read: |view, emit| {
        let mut own = view.workloads.iter().filter(|it| it.identity.kind != Kind::Pod || !it.is_limited_below());
        own.try_for_each(|it| share(emit, it, Statistic::MemoryWorkingSet))
    },
    ..ratio(
        "headroom_workload_memory_limit_working_set_ratio",
        "Memory charged to the workload less the page cache that was not used lately, as a share of its limit; absent if there is none, and for a pod whose limit is no more than the sum of its containers' limits.",
    )
};

const fn ratio(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: row::Kind::Gauge, unit: None, help, labels: &WORKLOAD, needs: &[], read: |_, _| Ok(()) }
}

fn share(emit: &mut Emit<'_>, workload: &Workload, part: Statistic) -> fmt::Result {
    match [part, Statistic::MemoryLimit].map(|it| workload.statistics.get(it)) {
        // Nothing is a share of nothing.
        [Some(part), Some(limit @ 1..)] => emit.gauge(&workload.labels(), Value::Float(part as f64 / limit as f64)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::cgroup::Id;
    use crate::engine::Engine;
    use crate::engine::test::{ID, start};
    use crate::metric::METRICS;
    use crate::metric::visit::{Part, visit};
    use crate::sample::{Reading, Sample, Start, Statistics};
    use crate::signal::cgroup;
    use crate::statistic::workload::Statistic::{MemoryCurrent, MemoryLimit, MemoryWorkingSet};

    const MIB: u64 = 1 << 20;
    const POD: &str = "/kubepods/burstable/pod6f0f2b3c-8c1d-4e2a-9f6b-0123456789ab";

    /// One more cgroup, its working set and its limit.
    fn add(engine: &mut Engine, id: u64, path: &str, set: u64, limit: Option<u64>) {
        let id = Id { id, ..ID };
        let born = cgroup::Reading::Born { id, path: path.into() };
        let limit = limit.map(|limit| (MemoryLimit, limit * MIB));
        let values = [(MemoryCurrent, set * MIB), (MemoryWorkingSet, set * MIB)].into_iter().chain(limit).collect();
        let statistics = Statistics { cgroup: id, values, turn: true };
        for reading in [Reading::Cgroup(born), Reading::Statistics(statistics), Reading::Tick] {
            engine.apply(&Sample { time: 100, reading });
        }
    }

    fn shown(engine: &Engine) -> Vec<f64> {
        let metric = METRICS.iter().find(|it| it.name == super::LIMIT_WORKING_SET_RATIO.name).unwrap();
        let mut shown = Vec::new();
        visit(engine.view(), metric, Part::Whole, &mut |_, number, _| shown.push(number));
        shown.sort_by(f64::total_cmp);
        shown
    }

    #[test]
    fn a_pod_is_not_near_a_limit_that_its_containers_reach_first() {
        let mut engine = Engine::new();
        let start = Start { workload_max: 10, ..start() };
        engine.apply(&Sample { time: 10, reading: Reading::Start(start) });
        let container = |digit: char| format!("{POD}/{}", digit.to_string().repeat(64));
        add(&mut engine, 90, POD, 15, Some(30));
        assert_eq!(shown(&engine), [0.5], "the limit is its own");
        add(&mut engine, 91, &container('a'), 4, Some(10));
        assert_eq!(shown(&engine), [0.4, 0.5], "a container without limits, or an own limit above the sum");
        add(&mut engine, 92, &container('b'), 2, Some(20));
        assert_eq!(shown(&engine), [0.1, 0.4], "the sum of its containers'");
        add(&mut engine, 93, "/kubepods/burstable/pod7f0f2b3c-8c1d-4e2a-9f6b-0123456789ab", 9, Some(10));
        assert_eq!(shown(&engine), [0.1, 0.4, 0.9], "another pod");
    }
}
