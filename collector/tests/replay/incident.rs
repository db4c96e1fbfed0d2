//! Recordings of real kills in, incidents out: each `tests/fixtures/incident/NAME.jsonl` gives `NAME.incidents`, as they were
//! told, a JSON line each, and `NAME.txt`, the page of the last. `BLESS=1` writes these anew.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::{env, fs};

use collector::engine::{Engine, Outcome};
use collector::incident::{Incident, cause, page};
use collector::sink::journal::{self, write::Entry};
use collector::source::replay::samples;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/fixtures/incident")
}

/// Incidents as they are told, first to last.
fn told(name: &str) -> Vec<Incident> {
    let text = fs::read_to_string(folder().join(name).with_extension("jsonl")).unwrap();
    let mut engine = Engine::new();
    let mut outcomes: Vec<Outcome> =
        samples(text.as_bytes()).flat_map(|sample| engine.apply(&sample.unwrap())).collect();
    outcomes.extend(engine.finish());
    let incident = |outcome| match outcome {
        Outcome::Incident(incident) => Some(*incident),
        _ => None,
    };
    outcomes.into_iter().filter_map(incident).collect()
}

fn golden(path: &Path, actual: &str) {
    if env::var_os("BLESS").is_some() {
        fs::write(path, actual).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    let difference = expected.lines().zip(actual.lines()).find(|(expected, actual)| expected != actual);
    assert!(expected == actual, "{} differs: {difference:?}; BLESS=1 writes it anew", path.display());
}

#[test]
fn every_recording_gives_its_incidents() {
    let mut names = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            let told = told(path.file_stem().unwrap().to_str().unwrap());
            let lines: Vec<String> = told.iter().map(|it| serde_json::to_string(it).unwrap() + "\n").collect();
            golden(&path.with_extension("incidents"), &lines.concat());
            golden(&path.with_extension("txt"), &page::page(told.last().unwrap(), 100, false));
            names += 1;
        }
    }
    assert_eq!(names, 4, "recordings");
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

/// `headroom VERB`, without any configuration but its own.
fn headroom(arguments: &[&str]) -> (bool, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_headroom"));
    command.args(arguments).env_clear();
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.success(), text)
}

#[test]
fn the_verb_explains_what_a_recording_and_what_the_journal_has() {
    let recording = folder().join("bystander.jsonl");
    let recording = recording.to_str().unwrap();
    let page = fs::read_to_string(folder().join("bystander.txt")).unwrap();
    assert_eq!(headroom(&["explain", "--replay", recording]), (true, page.clone()));
    let (_, json) = headroom(&["explain", "--replay", recording, "--json"]);
    let last = told("bystander").pop().unwrap();
    assert_eq!(serde_json::from_str::<Incident>(&json).unwrap(), last);
    let (found, why) = headroom(&["explain", "--replay", recording, "2027"]);
    assert!(!found && why.contains("there is no incident 2027"), "{why}");
    let (found, why) = headroom(&["explain", "--replay", "/nowhere"]);
    assert!(!found && why.contains("/nowhere"), "{why}");

    let dir = env::temp_dir().join(format!("headroom-explain-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let file = dir.join("headroom.toml");
    fs::write(&file, format!("[journal]\ndir = {dir:?}\n")).unwrap();
    let explain = |id: &str| headroom(&["explain", id, "--config", file.to_str().unwrap()]);
    let (found, why) = explain("last");
    assert!(!found && why.contains("journal"), "{why}");
    let limits = journal::Limits { max_age: std::time::Duration::from_secs(1 << 40), max_bytes: 1 << 30 };
    let (mut connection, _) = journal::open(&dir, &limits).unwrap();
    let entry = |(id, incident): (u64, Incident)| Entry::Outcome {
        id,
        time: incident.time,
        outcome: Outcome::from(incident).into(),
        sinks: [].into(),
    };
    let entries: Vec<_> = (1..).zip(told("bystander")).map(entry).collect();
    journal::write::append(&mut connection, &entries).unwrap();
    assert_eq!(explain("last"), (true, page.clone()));
    assert_eq!(explain(&last.id[..10]), (true, page));
    let (found, why) = explain("2027");
    assert!(!found && why.contains("there is no incident 2027") && why.contains("headroom incidents"), "{why}");
    fs::remove_dir_all(dir).unwrap();
}
