//! What memory workloads have, and how near to their limits they are.

use std::fmt;

use super::number::rows;
use super::row::{self, Emit, Metric, Value, WORKLOAD};
use crate::identity::Kind;
use crate::view::View;
use crate::view::number::{Known, Number};
use crate::view::workload::Workload;

rows! {
    /// Charged now.
    CURRENT = "headroom_workload_memory_current_bytes",
        "Memory charged to the workload, page cache and what the kernel keeps for it included.", Memory;
    /// As cAdvisor has it.
    WORKING_SET = "headroom_workload_memory_working_set_bytes",
        "Memory charged to the workload less the page cache that was not used lately: what the kubelet evicts by.",
        WorkingSet;
    /// Of no file.
    ANON = "headroom_workload_memory_anon_bytes",
        "Memory of the workload that belongs to no file: heaps, stacks, private mappings.", Anon;
    /// Page cache.
    FILE = "headroom_workload_memory_file_bytes",
        "Page cache charged to the workload, shared memory and tmpfs included.", File;
    /// Shared memory.
    SHMEM = "headroom_workload_memory_shmem_bytes",
        "Shared memory and tmpfs charged to the workload.", Shmem;
    /// The kernel's.
    KERNEL = "headroom_workload_memory_kernel_bytes",
        "Memory that the kernel keeps for the workload: page tables, stacks, slab, sockets.", Kernel;
    /// In swap.
    SWAP = "headroom_workload_memory_swap_bytes",
        "Memory of the workload that is in swap.", Swap;
    /// The most.
    PEAK = "headroom_workload_memory_peak_bytes",
        "The most memory that was ever charged to the workload, summed over its cgroups.", Peak;
    /// The hard limit.
    LIMIT = "headroom_workload_memory_limit_bytes",
        "The workload's own memory limit, at which the kernel kills; absent if there is none.", Limit;
    /// The soft limit.
    HIGH = "headroom_workload_memory_high_bytes",
        "The memory above which the workload is throttled (cgroup v2); absent if there is no such limit.", High;
    /// The limit on swap.
    SWAP_LIMIT = "headroom_workload_memory_swap_limit_bytes",
        "The swap that the workload may use; absent if there is no limit.", SwapLimit;
    /// Paused for memory.
    UNDER_OOM = "headroom_workload_memory_under_oom",
        "Cgroups of the workload that are out of memory and wait, because they are not to be killed (cgroup v1).",
        UnderOom;
}

rows! {
    /// Run-ins with limits.
    EVENTS = "headroom_workload_memory_events_total",
        "Times that the workload was reclaimed from although protected (low), throttled (high), at its limit (max), out of memory (oom), and its processes killed for it (oom_kill, all at once: oom_group_kill).",
        "event" {
            "low": EventsLow,
            "high": EventsHigh,
            "max": EventsMax,
            "oom": EventsOom,
            "oom_kill": EventsOomKill,
            "oom_group_kill": EventsOomGroupKill,
        };
}

/// How near to its limit.
pub const LIMIT_USED_RATIO: Metric = Metric {
    read: |view, emit| shares(view, emit, Number::Memory, |_| true),
    ..ratio(
        "headroom_workload_memory_limit_used_ratio",
        "Memory charged to the workload as a share of its limit; absent if there is none.",
    )
};

/// How near what it needs is.
pub const LIMIT_WORKING_SET_RATIO: Metric = Metric {
    read: |view, emit| {
        shares(view, emit, Number::WorkingSet, |it| it.identity.kind != Kind::Pod || !it.is_limited_below())
    },
    ..ratio(
        "headroom_workload_memory_limit_working_set_ratio",
        "Memory charged to the workload less the page cache that was not used lately, as a share of its limit; absent if there is none, and for a pod whose limit is no more than the sum of its containers' limits.",
    )
};

const fn ratio(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: row::Kind::Gauge, unit: None, help, labels: &WORKLOAD, needs: &[], read: |_, _| Ok(()) }
}

/// A number of those that `shown` chooses, by their limits.
fn shares(view: &View, emit: &mut Emit<'_>, part: Number, shown: fn(&Workload) -> bool) -> fmt::Result {
    for workload in view.workloads.iter().filter(|it| shown(it)) {
        // Nothing is a share of nothing.
        if let [Some(part), Some(limit @ 1..)] = [part, Number::Limit].map(|it| it.of(workload, Known::MET)) {
            emit.gauge(&workload.labels(), Value::Float(part as f64 / limit as f64))?;
        }
    }
    Ok(())
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
