//! Recordings of real kills in, incidents out: each `tests/fixtures/incident/NAME.jsonl` gives `NAME.incidents`, a JSON line for
//! each report, and `NAME.txt`, the page of the last one. `BLESS=1` rewrites these files.

use collector_core::engine::Engine;
use collector_core::incident::{Incident, cause, page};
use collector_core::outcome::Outcome;

use crate::fixture::{folder, golden, recordings, samples};

/// Incidents in the order in which they are reported.
fn reported(name: &str) -> Vec<Incident> {
    let samples = samples(&folder("incident").join(name).with_extension("jsonl"));
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
        golden(&path.with_extension("txt"), &page::page(reports.last().unwrap(), 100, false));
    }
    assert_eq!(recordings.len(), 4, "recordings");
}

#[test]
fn the_cause_is_what_the_test_provoked() {
    for (name, rule, whose, limited) in [
        ("spike", "sudden_spike", "/roomy/tight", "/roomy/tight"),
        ("leak", "slow_leak", "/leaky", "/leaky"),
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

#[test]
fn readings_after_the_kill_decide_between_two_limits() {
    let reports = reported("spike");
    assert_eq!((&reports[0].evidence.limit, &*reports[0].cause.rule), (&None, "not_known"));
    assert!(reports[1].evidence.limit.as_ref().is_some_and(|limit| limit.own));
}

#[test]
fn processes_that_are_killed_together_are_one_incident() {
    let reports = reported("together");
    assert_eq!(reports.iter().map(|it| it.evidence.killed).collect::<Vec<_>>(), [1, 4]);
}
