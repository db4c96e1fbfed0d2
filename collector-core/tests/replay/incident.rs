//! Recordings of real kills in, incidents out: each `tests/fixtures/incident/NAME.jsonl` gives `NAME.incidents`, a JSON line for
//! each report, and `NAME.txt`, the page of the last one. `BLESS=1` rewrites these files.

use collector_core::api::incidents::page;
use collector_core::engine::Engine;
use collector_core::incident::{Incident, Source, cause};
use collector_core::outcome::Outcome;
use collector_core::sample::{Reading, Sample};
use collector_core::signal::cgroup;

use crate::fixture::{folder, golden, recordings, samples};

/// Incidents in the order in which they are reported.
fn reported(name: &str) -> Vec<Incident> {
    reported_in("incident", name)
}

fn reported_in(place: &str, name: &str) -> Vec<Incident> {
    reported_of(&samples(&folder(place).join(name).with_extension("jsonl")))
}

fn reported_of(samples: &[Sample]) -> Vec<Incident> {
    let mut engine = Engine::new();
    let mut outcomes: Vec<Outcome> = samples.iter().flat_map(|sample| engine.apply(sample)).collect();
    outcomes.extend(engine.finish());
    let incident = |outcome| match outcome {
        Outcome::Incident(incident) => Some(*incident),
        _ => None,
    };
    outcomes.into_iter().filter_map(incident).collect()
}

#[test]
fn every_recording_gives_its_incidents() {
    let recordings = recordings("incident");
    for path in &recordings {
        let reports = reported(path.file_stem().unwrap().to_str().unwrap());
        let lines: Vec<String> = reports.iter().map(|it| serde_json::to_string(it).unwrap() + "\n").collect();
        golden(&path.with_extension("incidents"), &lines.concat());
        golden(&path.with_extension("txt"), &page(reports.last().unwrap(), 100, false));
    }
    assert_eq!(recordings.len(), 4, "recordings");
}

#[test]
fn the_cause_is_what_the_test_provoked() {
    for (name, rule, whose, limited) in [
        ("spike", "sudden_spike", "/roomy/tight", "/roomy/tight"),
        ("leak", "steady_growth", "/leaky", "/leaky"),
        ("bystander", "grown_by_another", "/crowded/bystander", "/crowded"),
        ("together", "sudden_spike", "/together", "/together"),
    ] {
        let reports = reported(name);
        let [first, last] = reports.as_slice() else { panic!("{name}: {reports:?}") };
        assert_eq!((&first.id, first.complete, last.complete), (&last.id, false, true), "{name}");
        assert_eq!((&*last.cause.rule, &*last.labels["workload"]), (rule, whose), "{name}");
        let limit = last.evidence.limit.as_ref().unwrap();
        assert_eq!(limit.workload.as_deref(), Some(limited), "{name}");
        // After a round trip through JSON the cause is the same.
        let read: Incident = serde_json::from_str(&serde_json::to_string(last).unwrap()).unwrap();
        assert_eq!((&read, cause::find(&read)), (last, last.cause.clone()), "{name}");
    }
}

/// Two limits apply, and the memory in use can have reached only one of them. Peaks that are read after the kill confirm it.
#[test]
fn the_memory_in_use_decides_between_two_limits() {
    let reports = reported("spike");
    let sources = reports.iter().map(|it| it.evidence.limit.as_ref().map(|limit| (limit.own, limit.source)));
    assert_eq!(sources.collect::<Vec<_>>(), [Some((true, Source::Used)), Some((true, Source::Only))]);
    assert_eq!(&*reports[0].cause.rule, "sudden_spike");
}

/// The recordings in `tests/fixtures/cause`, each with the cause of both reports and words of its sentence.
#[test]
fn causes_that_are_not_the_shape_of_memory() {
    let trainer = "docker/trainer";
    let server = "ml/vllm-0/server";
    for (name, rule, whose, words) in [
        ("shmem", "shared_memory", trainer, &["52.0 MiB", "64.0 MiB", "tmpfs", "held 10.0 MiB"][..]),
        ("kernel", "kernel_memory", trainer, &["52.0 MiB", "64.0 MiB", "sockets", "held 10.0 MiB"]),
        ("mlock", "file_pages", trainer, &["52.0 MiB", "could not be dropped", "held 10.0 MiB"]),
        ("dirty", "file_pages", trainer, &["54.0 MiB", "could not be dropped", "held 10.0 MiB"]),
        ("high", "memory_high", server, &["800 MiB", "held back", "does not kill"]),
        (
            "node",
            "nodes_full",
            "docker/4f1c2a9be07d",
            &["904 GiB of 1.48 TiB available", "memory nodes", "VLLM::EngineCor"],
        ),
        ("node-neighbour", "nodes_full", "docker/4f1c2a9be07d", &["memory nodes"]),
        ("pod", "steady_growth", server, &["grew steadily", "its own limit of 1.00 GiB"]),
        ("container", "steady_growth", server, &["grew steadily", "its own limit of 1.00 GiB"]),
        ("thrash", "page_cache_thrash", "docker/runner", &["64.0 MiB", "keeps reading"]),
        ("thrash-gone", "page_cache_thrash", "docker/runner", &["64.0 MiB", "keeps reading"]),
    ] {
        let reports = reported_in("cause", name);
        let [first, last] = reports.as_slice() else { panic!("{name}: {reports:?}") };
        assert_eq!((first.complete, last.complete), (false, true), "{name}");
        for report in [first, last] {
            assert_eq!((&*report.cause.rule, &*report.labels["workload"]), (rule, whose), "{name}: {report:?}");
            for word in words {
                assert!(report.cause.sentence.contains(word), "{name}: {word}: {:?}", report.cause);
            }
            assert_eq!(cause::find(report), report.cause, "{name}: the evidence is that of the cause");
        }
    }
}

/// The processes end before the storm is over, and the container stays.
#[test]
fn a_storm_keeps_its_cause_when_it_is_over() {
    let mut samples = samples(&folder("cause").join("thrash-gone.jsonl"));
    samples.retain(|sample| !matches!(sample.reading, Reading::Cgroup(cgroup::Reading::Died { .. })));
    let causes: Vec<_> = reported_of(&samples).into_iter().map(|it| (it.complete, it.cause.rule)).collect();
    let thrash = |complete| (complete, "page_cache_thrash".to_owned());
    assert_eq!(causes, [thrash(false), thrash(true)]);
}

#[test]
fn what_is_told_is_never_against_the_numbers() {
    for name in ["node", "node-neighbour"] {
        let reports = reported_in("cause", name);
        assert!(
            reports.iter().all(|it| !format!("{}{}", it.title, it.cause.sentence).contains("ran out of memory")),
            "{name}"
        );
        assert!(reports.iter().all(|it| !it.title.contains("the host was out of memory")), "{name}");
    }
    for name in ["pod", "container"] {
        for report in reported_in("cause", name) {
            assert_eq!(report.title, "OOM kill of python3 (77) in ml/vllm-0/server: its own limit of 1.00 GiB was hit");
            assert!(
                !report.cause.next.contains("limits of their own") && report.cause.next.contains("raise the limit")
            );
        }
    }
}

#[test]
fn processes_that_are_killed_together_are_one_incident() {
    let reports = reported("together");
    assert_eq!(reports.iter().map(|it| it.evidence.killed).collect::<Vec<_>>(), [1, 4]);
}
