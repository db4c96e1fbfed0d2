//! Memory of workloads, and how close they are to their limits.

use std::fmt;

use super::number::rows;
use super::row::{self, Detail, Emit, Metric, Value, WORKLOAD};
use crate::identity::Kind;
use crate::statistic::workload::Statistic::{MemoryWithoutCache, MemoryWorkingSet};
use crate::view::View;
use crate::view::number::{Known, Number};
use crate::view::workload::Workload;

rows! {
    CURRENT = "headroom_workload_memory_current_bytes",
        "Memory charged to the workload, including page cache and the kernel's memory for it.", Memory, Detail::Always;
    WORKING_SET = "headroom_workload_memory_working_set_bytes",
        "Memory charged to the workload minus the page cache that was not used recently: the working set by which the kubelet evicts.",
        WorkingSet, Detail::Busy;
    WITHOUT_CACHE = "headroom_workload_memory_without_cache_bytes",
        "Memory charged to the workload minus all page cache that the kernel can drop: it must be freed or swapped out before there is room.",
        WithoutCache, Detail::Full;
    ANON = "headroom_workload_memory_anon_bytes",
        "Anonymous memory of the workload, which belongs to no file: heaps, stacks, private mappings.", Anon, Detail::Busy;
    FILE = "headroom_workload_memory_file_bytes",
        "Page cache charged to the workload, including shared memory and tmpfs.", File, Detail::Busy;
    SHMEM = "headroom_workload_memory_shmem_bytes",
        "Shared memory and tmpfs charged to the workload.", Shmem, Detail::Busy;
    KERNEL = "headroom_workload_memory_kernel_bytes",
        "Memory that the kernel uses for the workload: page tables, stacks, slab, sockets. On cgroup v2 before 5.18 the sum of these; on v1 without sockets.", Kernel, Detail::Busy;
    SWAP = "headroom_workload_memory_swap_bytes",
        "Memory of the workload that is in swap.", Swap, Detail::Used;
    PEAK = "headroom_workload_memory_peak_bytes",
        "Highest amount of memory ever charged to the workload, summed over its cgroups.", Peak, Detail::Busy;
    LIMIT = "headroom_workload_memory_limit_bytes",
        "The workload's own memory limit, at which the OOM killer kills; absent if there is none.", Limit, Detail::Always;
    HIGH = "headroom_workload_memory_high_bytes",
        "Memory above which the kernel throttles the workload (memory.high of cgroup v2); absent if there is no such limit.", High, Detail::Always;
    SWAP_LIMIT = "headroom_workload_memory_swap_limit_bytes",
        "Swap that the workload may use; absent if there is no limit.", SwapLimit, Detail::Always;
    UNDER_OOM = "headroom_workload_memory_under_oom",
        "Cgroups of the workload that are out of memory and whose tasks wait, because the OOM killer is off for them (cgroup v1).",
        UnderOom, Detail::Used;
}

rows! {
    EVENTS = "headroom_workload_memory_events_total",
        "Times that the workload's memory was reclaimed although protected (low), that it was throttled (high), at its limit (max) or out of memory (oom), and that a process of it was killed for that (oom_kill), or all at once (oom_group_kill).",
        Detail::By(&[("high", Detail::Used), ("", Detail::Busy)]),
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
    read: |view, emit| shares(view, emit, |workload| Number::Memory.of(workload, Known::MET)),
    ..ratio(
        "headroom_workload_memory_limit_used_ratio",
        "Memory charged to the workload as a share (0 to 1) of its limit; absent if it has no limit.",
    )
};

pub const LIMIT_WORKING_SET_RATIO: Metric = Metric {
    detail: Detail::Full,
    read: |view, emit| shares(view, emit, |workload| Number::WorkingSet.of(own_limit(workload)?, Known::MET)),
    ..ratio(
        "headroom_workload_memory_limit_working_set_ratio",
        "Memory charged to the workload minus the page cache that was not used recently, as a share (0 to 1) of its limit; absent if it has no limit, and for a pod whose limit is no more than the sum of its containers' limits.",
    )
};

pub const LIMIT_UNRECLAIMABLE_RATIO: Metric = Metric {
    read: |view, emit| shares(view, emit, |workload| own_limit(workload)?.unreclaimable(view.host.swap())),
    ..ratio(
        "headroom_workload_memory_limit_unreclaimable_ratio",
        "Memory of the workload that the kernel can neither drop nor swap out, as a share (0 to 1) of its limit: at 1 the OOM killer kills. Absent as headroom_workload_memory_limit_working_set_ratio, and while the workload is frozen at its limit.",
    )
};

pub const LIMIT_CACHE_RATIO: Metric = Metric {
    read: |view, emit| shares(view, emit, |workload| kept_by_cache(own_limit(workload)?)),
    ..ratio(
        "headroom_workload_memory_limit_cache_ratio",
        "The same as headroom_workload_memory_limit_working_set_ratio, for workloads of whose working set a quarter or more is page cache in use: at 1 the kernel drops it, and the workload reads it again. Absent for others.",
    )
};

/// The workload, unless it is a pod whose containers reach their limits first.
fn own_limit(workload: &Workload) -> Option<&Workload> {
    Some(workload).filter(|it| it.identity.kind != Kind::Pod || !it.is_limited_below())
}

/// Page cache in use matters from this share of the working set: one in this many.
const CACHE_SHARE: u64 = 4;

fn kept_by_cache(workload: &Workload) -> Option<u64> {
    let get = |statistic| workload.statistics.get(statistic);
    let (working, rest) = (get(MemoryWorkingSet)?, get(MemoryWithoutCache)?);
    (working.saturating_sub(rest) >= working / CACHE_SHARE).then_some(working)
}

const fn ratio(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: row::Kind::Gauge,
        unit: None,
        detail: Detail::Busy,
        help,
        labels: &WORKLOAD,
        needs: &[],
        read: |_, _| Ok(()),
    }
}

/// Emits a part of each workload's memory as a share of its limit.
fn shares(view: &View, emit: &mut Emit<'_>, part: impl Fn(&Workload) -> Option<u64>) -> fmt::Result {
    for workload in emit.workloads(view) {
        // A limit of zero has no shares.
        if let (Some(part), Some(limit @ 1..)) = (part(workload), Number::Limit.of(workload, Known::MET)) {
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
    use crate::metric::row::Metric;
    use crate::metric::visit::{Part, visit};
    use crate::sample::{Reading, Sample, Start, Statistics};
    use crate::signal::cgroup;
    use crate::statistic::host;
    use crate::statistic::workload::Statistic::{self, *};

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
        series(engine, &super::LIMIT_WORKING_SET_RATIO)
    }

    fn series(engine: &Engine, metric: &Metric) -> Vec<f64> {
        let metric = METRICS.iter().find(|it| it.name == metric.name).unwrap();
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

    /// The ratios of a container with a limit of 100 MiB on a host with this much free swap: of a kill, and of reading again.
    fn ratios(swap: u64, numbers: &[(Statistic, u64)]) -> [Option<f64>; 2] {
        let mut engine = Engine::new();
        engine.apply(&Sample { time: 10, reading: Reading::Start(Start { workload_max: 10, ..start() }) });
        let values = host::Values::from_iter([(host::Statistic::SwapFree, swap * MIB)]);
        engine.apply(&Sample { time: 11, reading: Reading::Host(values) });
        let id = Id { id: 90, ..ID };
        let born = cgroup::Reading::Born { id, path: format!("/docker/{}", "a".repeat(64)) };
        let limit = [(MemoryLimit, 100), (MemoryCurrent, 99)];
        let values = limit.iter().chain(numbers).map(|(statistic, mib)| (*statistic, mib * MIB)).collect();
        for reading in [Reading::Cgroup(born), Reading::Statistics(Statistics { cgroup: id, values, turn: true })] {
            engine.apply(&Sample { time: 100, reading });
        }
        [super::LIMIT_UNRECLAIMABLE_RATIO, super::LIMIT_CACHE_RATIO].map(|it| series(&engine, &it).first().copied())
    }

    #[test]
    fn what_the_kernel_can_drop_or_swap_out_is_not_near_a_kill() {
        let parts = |working, rest| [(MemoryWorkingSet, working), (MemoryWithoutCache, rest)];
        assert_eq!(ratios(0, &parts(93, 2)), [Some(0.02), Some(0.93)], "a mapped model in use");
        assert_eq!(ratios(0, &parts(93, 93)), [Some(0.93), None], "a heap");
        assert_eq!(ratios(0, &parts(80, 60)), [Some(0.6), Some(0.8)], "a quarter of it is cache");
        assert_eq!(ratios(0, &parts(80, 61)), [Some(0.61), None]);
        let heap = |more: &[(Statistic, u64)]| {
            let numbers: Vec<_> = parts(95, 95).into_iter().chain([(MemoryAnon, 90)]).chain(more.to_vec()).collect();
            ratios(50, &numbers)[0]
        };
        assert_eq!(heap(&[]), Some(0.45), "swap has room for 50 of it");
        assert_eq!(heap(&[(MemorySwapLimit, 30), (MemorySwap, 20)]), Some(0.85), "of which it may use 10 more");
        assert_eq!(heap(&[(MemorySwapLimit, 0)]), Some(0.95));
        assert_eq!(heap(&[(MemorySwappiness, 0)]), Some(0.95), "the kernel does not swap it");
        assert_eq!(heap(&[(MemorySwappiness, 60)]), Some(0.45));
        assert_eq!(heap(&[(MemoryUnderOom, 1)]), None, "it is frozen");
        assert_eq!(ratios(0, &[]), [None, None], "nobody knows");
    }
}
