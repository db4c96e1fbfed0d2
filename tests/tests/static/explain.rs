//! `headroom explain` as seen from a shell: a recorded kill, from the recording and from a journal.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use collector::sink::journal::{self, write::Entry};
use collector_core::incident::Incident;
use collector_core::outcome::Outcome;
use collector_tests::binary::binary;
use collector_tests::scratch::scratch;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/fixtures/incident")
}

/// Incidents of a fixture, first to last; the replay tests keep the fixture up to date.
fn reported(name: &str) -> Vec<Incident> {
    let text = fs::read_to_string(folder().join(name).with_extension("incidents")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// `headroom VERB` without any configuration from the environment.
fn headroom(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(binary());
    command.args(arguments).env_clear();
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.success(), text)
}

#[test]
fn explain_works_on_a_recording_and_on_the_journal() {
    let recording = folder().join("bystander.jsonl");
    let recording = recording.to_str().unwrap();
    let page = fs::read_to_string(folder().join("bystander.txt")).unwrap();
    assert_eq!(headroom(&["explain", "--replay", recording]), (true, page.clone()));
    let (_, json) = headroom(&["explain", "--replay", recording, "--json"]);
    let last = reported("bystander").pop().unwrap();
    assert_eq!(serde_json::from_str::<Incident>(&json).unwrap(), last);
    let (found, why) = headroom(&["explain", "--replay", recording, "2027"]);
    assert!(!found && why.contains("there is no incident 2027"), "{why}");
    let (found, why) = headroom(&["explain", "--replay", "/nowhere"]);
    assert!(!found && why.contains("/nowhere"), "{why}");

    let dir = scratch();
    let file = dir.join("headroom.toml");
    fs::write(&file, format!("[journal]\ndir = {dir:?}\n")).unwrap();
    let explain = |id: &str| headroom(&["explain", id, "--config", file.to_str().unwrap()]);
    let (found, why) = explain("last");
    assert!(!found && why.contains("journal"), "{why}");
    let limits = journal::Limits { max_age: Duration::from_secs(1 << 40), max_bytes: 1 << 30, readers: None };
    let (mut connection, _) = journal::open(&dir, &limits).unwrap();
    let entry = |(id, incident): (u64, Incident)| Entry::Outcome {
        id,
        time: incident.time,
        outcome: Outcome::from(incident).into(),
        sinks: [].into(),
    };
    let entries: Vec<_> = (1..).zip(reported("bystander")).map(entry).collect();
    journal::write::append(&mut connection, &entries).unwrap();
    assert_eq!(explain("last"), (true, page.clone()));
    assert_eq!(explain(&last.id[..10]), (true, page));
    let (found, why) = explain("2027");
    assert!(!found && why.contains("there is no incident 2027") && why.contains("headroom incidents"), "{why}");
}
