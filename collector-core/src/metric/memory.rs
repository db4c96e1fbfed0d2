//! Memory of workloads, and how close they are to their limits.

use std::fmt;

use super::number::rows;
use super::row::{self, Emit, Metric, Value, WORKLOAD};
use crate::identity::Kind;
use crate::view::View;
use crate::view::number::{Known, Number};
use crate::view::workload::Workload;

rows! {
    CURRENT = "headroom_workload_memory_current_bytes",
        "Memory charged to the workload, including page cache and the kernel's memory for it.", Memory;
    WORKING_SET = "headroom_workload_memory_working_set_bytes",
        "Memory charged to the workload minus the page cache that was not used recently: the working set by which the kubelet evicts.",
        WorkingSet;
    ANON = "headroom_workload_memory_anon_bytes",
        "Anonymous memory of the workload, which belongs to no file: heaps, stacks, private mappings.", Anon;
    FILE = "headroom_workload_memory_file_bytes",
        "Page cache charged to the workload, including shared memory and tmpfs.", File;
    SHMEM = "headroom_workload_memory_shmem_bytes",
        "Shared memory and tmpfs charged to the workload.", Shmem;
    KERNEL = "headroom_workload_memory_kernel_bytes",
        "Memory that the kernel uses for the workload: page tables, stacks, slab, sockets.", Kernel;
    SWAP = "headroom_workload_memory_swap_bytes",
        "Memory of the workload that is in swap.", Swap;
    PEAK = "headroom_workload_memory_peak_bytes",
        "Highest amount of memory ever charged to the workload, summed over its cgroups.", Peak;
    LIMIT = "headroom_workload_memory_limit_bytes",
        "The workload's own memory limit, at which the OOM killer kills; absent if there is none.", Limit;
    HIGH = "headroom_workload_memory_high_bytes",
        "Memory above which the kernel throttles the workload (memory.high of cgroup v2); absent if there is no such limit.", High;
    SWAP_LIMIT = "headroom_workload_memory_swap_limit_bytes",
        "Swap that the workload may use; absent if there is no limit.", SwapLimit;
    UNDER_OOM = "headroom_workload_memory_under_oom",
        "Cgroups of the workload that are out of memory and whose tasks wait, because the OOM killer is off for them (cgroup v1).",
        UnderOom;
}

rows! {
    EVENTS = "headroom_workload_memory_events_total",
        "Times that the workload's memory was reclaimed although protected (low), that it was throttled (high), at its limit (max) or out of memory (oom), and that a process of it was killed for that (oom_kill), or all at once (oom_group_kill).",
        "event" {
            "low": EventsLow,
            "high": EventsHigh,
            "max": EventsMax,
            "oom": EventsOom,
            "oom_kill": EventsOomKill,
            "oom_group_kill": EventsOomGroupKill,
        };
}

pub const LIMIT_USED_RATIO: Metric = Metric {
    read: |view, emit| shares(view, emit, Number::Memory, |_| true),
    ..ratio(
        "headroom_workload_memory_limit_used_ratio",
        "Memory charged to the workload as a share (0 to 1) of its limit; absent if it has no limit.",
    )
};

pub const LIMIT_WORKING_SET_RATIO: Metric = Metric {
    read: |view, emit| {
        shares(view, emit, Number::WorkingSet, |it| it.identity.kind != Kind::Pod || !it.is_limited_below())
    },
    ..ratio(
        "headroom_workload_memory_limit_working_set_ratio",
        "Memory charged to the workload minus the page cache that was not used recently, as a share (0 to 1) of its limit; absent if it has no limit, and for a pod whose limit is no more than the sum of its containers' limits.",
    )
};

const fn ratio(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: row::Kind::Gauge, unit: None, help, labels: &WORKLOAD, needs: &[], read: |_, _| Ok(()) }
}

/// Emits a number as a share of the memory limit, for the workloads that `shown` selects.
fn shares(view: &View, emit: &mut Emit<'_>, part: Number, shown: fn(&Workload) -> bool) -> fmt::Result {
    for workload in view.workloads.iter().filter(|it| shown(it)) {
        // A limit of zero has no shares.
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

    /// Adds a cgroup with its working set and limit, in MiB.
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
    fn a_pod_whose_containers_reach_their_limits_first_has_no_series() {
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
