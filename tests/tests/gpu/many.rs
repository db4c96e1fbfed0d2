//! Sixteen GPUs with two hundred processes each: the built agent assigns each process to its workload, and keeps its limits
//! when there are more workloads than it may distinguish.

use std::process::Command;

use collector_tests::cgroup::Cgroup;
use collector_tests::exposition::Exposition;
use collector_tests::needs;
use collector_tests::nvml::{Nvml, gpu, up};
use collector_tests::require::is_root;
use serde_json::json;

const HELD: &str = "headroom_workload_gpu_memory_bytes";
const GPUS: usize = 16;
const GROUPS: usize = 20;
const PROCESSES: usize = 10;

fn uuid(index: usize) -> String {
    format!("GPU-{index:02}")
}

/// Bytes that this process of this group holds on this GPU: all sums of groups differ.
fn bytes(gpu: usize, group: usize, process: usize) -> u64 {
    (1 << 30) + ((gpu as u64) << 20) + ((group as u64) << 10) + process as u64
}

fn expected(gpu: usize, group: usize) -> f64 {
    (0..PROCESSES).map(|process| bytes(gpu, group, process)).sum::<u64>() as f64
}

/// The groups, and a library with all their processes on every GPU.
fn machine() -> (Vec<Cgroup>, Nvml) {
    let groups: Vec<Cgroup> = (0..GROUPS).map(|_| Cgroup::new("gpu-many")).collect();
    let pids: Vec<Vec<u32>> = groups
        .iter()
        .map(|group| (0..PROCESSES).map(|_| group.spawn(Command::new("sleep").arg("600")).id()).collect())
        .collect();
    let gpus = (0..GPUS).map(|index| {
        let holder =
            |group: usize, process: usize| json!({"pid": pids[group][process], "bytes": bytes(index, group, process)});
        let mut gpu = gpu(&uuid(index));
        gpu["processes"] = (0..GROUPS)
            .flat_map(|group| (0..PROCESSES).map(move |process| (group, process)))
            .map(|(a, b)| holder(a, b))
            .collect();
        gpu
    });
    let nvml = Nvml::new(json!({"driver": "555.42", "gpus": gpus.collect::<Vec<_>>()}));
    (groups, nvml)
}

#[test]
fn thousands_of_processes_are_assigned_to_their_workloads() {
    needs!(is_root(), "cgroups and programs need root");
    let (groups, nvml) = machine();
    let agent = nvml.agent();
    let all = |it: &Exposition| it.values(HELD, &[]).len() >= GPUS * GROUPS && up(it) == Some(1.0);
    let seen = agent.scrape_until("all holders", all);
    assert_eq!(seen.values(HELD, &[]).len(), GPUS * GROUPS, "no other workload holds anything");
    for gpu in 0..GPUS {
        for (group, cgroup) in groups.iter().enumerate() {
            let held = seen.values(HELD, &[("uuid", &uuid(gpu)), ("workload", &cgroup.path)]);
            assert_eq!(held, [expected(gpu, group)], "GPU {gpu}, group {group}");
        }
    }
    assert_eq!(seen.lost("gpu"), 0.0);
}

#[test]
fn memory_of_workloads_over_the_limit_is_in_other_and_none_is_missing() {
    needs!(is_root(), "cgroups and programs need root");
    let (groups, nvml) = machine();
    let agent = nvml.agent_with("[workload]\nmax = 5\n");
    let total = |it: &Exposition, gpu: usize| it.sum(HELD, &[("uuid", &uuid(gpu))]);
    let all: f64 = (0..GROUPS).map(|group| expected(GPUS - 1, group)).sum();
    let seen = agent.scrape_until("the last GPU's holders", |it| total(it, GPUS - 1) == all);
    for gpu in 0..GPUS {
        assert_eq!(total(&seen, gpu), (0..GROUPS).map(|group| expected(gpu, group)).sum::<f64>(), "GPU {gpu}");
        let own = groups.iter().filter(|cgroup| seen.has(HELD, &[("uuid", &uuid(gpu)), ("workload", &cgroup.path)]));
        assert!(own.count() <= 5, "GPU {gpu}");
        assert_eq!(seen.values(HELD, &[("uuid", &uuid(gpu)), ("workload", "other")]).len(), 1, "GPU {gpu}");
    }
}
