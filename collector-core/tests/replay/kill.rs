//! Reports of OOM kills: the workload by its name at that time, and what the victim held.

use collector_core::engine::Engine;
use collector_core::outcome::Outcome;

use crate::fixture::{folder, samples};

/// Outcomes without alerts and incidents, which have their own golden files.
fn facts(name: &str) -> Vec<Outcome> {
    let mut engine = Engine::new();
    let outcomes = samples(&folder("replay").join(name)).into_iter().flat_map(|sample| engine.apply(&sample));
    outcomes.filter(|outcome| !matches!(outcome, Outcome::Incident(_) | Outcome::Alert(_))).collect()
}

#[test]
fn a_kill_in_a_short_lived_cgroup_is_reported_with_its_names() {
    let outcomes = facts("oom.jsonl");
    let [Outcome::OomKill(kill)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert_eq!(kill.workload.as_deref(), Some("/job/worker"));
    assert_eq!(kill.trigger_workload.as_deref(), Some("/job"));
    assert_eq!(kill.limited_workload.as_deref(), Some("/job"));
    assert_eq!(kill.kill.comm, "python");
}

#[test]
fn kills_are_reported_with_the_names_of_the_host() {
    let outcomes = facts("name.jsonl");
    let names = outcomes.iter().map(|outcome| match outcome {
        Outcome::OomKill(kill) => (kill.kill.pid, kill.workload.as_deref().unwrap_or_default()),
        other => panic!("{other:?}"),
    });
    let expected = [(100, "docker/web"), (101, "docker/web"), (102, "podman/a1a1a1a1a1a1")];
    assert_eq!(names.collect::<Vec<_>>(), expected);
}

#[test]
fn a_kill_reports_gpu_memory_of_its_victim() {
    let outcomes = facts("gpu.jsonl");
    let [Outcome::OomKill(kill)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    let held: Vec<_> = kill.gpus.iter().map(|it| (&*it.gpu, it.process_bytes, it.workload_bytes)).collect();
    assert_eq!(held, [("0", Some(9_000_000_000), Some(10_000_000_000))]);
}
