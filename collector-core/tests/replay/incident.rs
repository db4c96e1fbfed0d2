//! Recordings of real kills in, incidents out: each `tests/fixtures/incident/NAME.jsonl` gives `NAME.incidents`, as they were
//! told, a JSON line each, and `NAME.txt`, the page of the last. `BLESS=1` writes these anew.

use collector_core::engine::Engine;
use collector_core::incident::{Incident, cause, page};
use collector_core::outcome::Outcome;

use crate::fixture::{folder, golden, recordings, samples};

/// Incidents as they are told, first to last.
fn told(name: &str) -> Vec<Incident> {
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
        let told = told(path.file_stem().unwrap().to_str().unwrap());
        let lines: Vec<String> = told.iter().map(|it| serde_json::to_string(it).unwrap() + "\n").collect();
        golden(&path.with_extension("incidents"), &lines.concat());
        golden(&path.with_extension("txt"), &page::page(told.last().unwrap(), 100, false));
    }
    assert_eq!(recordings.len(), 4, "recordings");
}

#[test]
fn the_cause_is_what_was_done() {
    for (name, rule, whose, limited) in [
        ("spike", "sudden_spike", "/roomy/tight", "/roomy/tight"),
        ("leak", "slow_leak", "/leaky", "/leaky"),
        ("bystander", "grown_by_another", "/crowded/bystander", "/crowded"),
        ("together", "sudden_spike", "/together", "/together"),
    ] {
        let told = told(name);
        let [first, last] = told.as_slice() else { panic!("{name}: {told:?}") };
        assert_eq!((&first.id, first.complete, last.complete), (&last.id, false, true), "{name}");
        assert_eq!((&*last.cause.rule, &*last.labels["workload"]), (rule, whose), "{name}");
        let limit = last.evidence.limit.as_ref().unwrap();
        assert_eq!(limit.workload.as_deref(), Some(limited), "{name}");
        // Written down and read again, it is explained the same.
        let read: Incident = serde_json::from_str(&serde_json::to_string(last).unwrap()).unwrap();
        assert_eq!((&read, cause::find(&read)), (last, last.cause.clone()), "{name}");
    }
}

#[test]
fn what_two_limits_leave_open_is_settled_by_what_is_read_after_the_kill() {
    let told = told("spike");
    assert_eq!((&told[0].evidence.limit, &*told[0].cause.rule), (&None, "not_known"));
    assert!(told[1].evidence.limit.as_ref().is_some_and(|limit| limit.own));
}

#[test]
fn processes_that_are_killed_together_are_one_incident() {
    let told = told("together");
    assert_eq!(told.iter().map(|it| it.evidence.killed).collect::<Vec<_>>(), [1, 4]);
}
