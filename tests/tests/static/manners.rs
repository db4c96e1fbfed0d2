//! The manners of the command line: which entries are listed and in whose time, what a help text has, what is said on stderr, and where
//! options stand.

use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use collector::sink::journal::{self, write::Entry};
use collector_core::incident::{Incident, Kind};
use collector_core::outcome::{Named, Outcome};
use collector_core::signal::compaction::Stall;
use collector_tests::binary::binary;
use collector_tests::scratch::{Scratch, scratch};

const SECOND: u64 = 1_000_000_000;
/// 2023-11-14T22:13:20Z.
const BEGIN: u64 = 1_700_000_000 * SECOND;

fn headroom(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).env_clear().envs(environment.iter().copied());
    command.output().unwrap()
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A journal with a stall and an incident of each of two workloads, an hour apart.
fn journal() -> Scratch {
    let dir = scratch();
    let limits = journal::Limits { max_age: Duration::from_secs(1 << 40), max_bytes: 1 << 30, readers: None };
    let (mut connection, _) = journal::open(&dir, &limits).unwrap();
    let mut entries = Vec::new();
    for (hour, workload) in [(0, "docker/vllm"), (1, "ollama.service")] {
        let time = BEGIN + hour * 3600 * SECOND;
        let fact = Stall { cgroup: None, ns: 2 * SECOND, pid: 7, tid: 7, comm: "python3".to_owned() };
        let stall = Outcome::CompactionStall(Box::new(Named { time, workload: Some(workload.into()), fact }));
        let mut incident = Incident::new(Kind::Oom, format!("i-{hour}"), time);
        incident.labels.insert("workload".to_owned(), workload.to_owned());
        incident.title = format!("a kill in {workload}");
        for outcome in [stall, Outcome::from(incident)] {
            let id = entries.len() as u64 + 1;
            entries.push(Entry::Outcome { id, time, outcome: outcome.into(), sinks: [].into() });
        }
    }
    journal::write::append(&mut connection, &entries).unwrap();
    dir
}

#[test]
fn lists_are_picked_by_time_and_workload_and_shown_in_local_time_or_utc() {
    let dir = journal();
    let list = |arguments: &[&str]| {
        let config = ["--config", "/dev/null", "--journal-dir", dir.to_str().unwrap()];
        // Two hours ahead of UTC, in the words of POSIX.
        let output = headroom(&[arguments, &config].concat(), &[("TZ", "EET-2")]);
        assert_eq!(err(&output), "");
        out(&output)
    };
    let sentence = "python3 (7) of docker/vllm waited 2.0 s until memory was moved together";
    let events = list(&["events"]);
    let lines: Vec<&str> = events.lines().collect();
    assert_eq!(lines.len(), 4, "{events}");
    assert_eq!(lines[0], format!("2023-11-15 00:13:20  compaction_stall   {sentence}"));
    assert!(lines[3].starts_with("2023-11-15 01:13:20  incident           i-1: a kill in ollama.service"), "{events}");
    let utc = list(&["events", "--utc"]);
    assert!(utc.starts_with("2023-11-14T22:13:20Z  compaction_stall "), "{utc}");

    let of = |verb: &str, arguments: &[&str]| list(&[&[verb], arguments].concat()).lines().count();
    for verb in ["events", "incidents"] {
        let each = if verb == "events" { 2 } else { 1 };
        assert_eq!(of(verb, &["--workload", "docker/*"]), each, "{verb}");
        assert_eq!(of(verb, &["--since", "2023-11-15T01:00"]), each, "{verb}: of local time");
        assert_eq!(of(verb, &["--since", "2023-11-14T23:00Z"]), each, "{verb}");
        assert_eq!(of(verb, &["--since", "2023-11-14", "--limit", "1"]), 1, "{verb}");
        assert_eq!(of(verb, &["--workload", "docker/*", "--limit", "1"]), 1, "{verb}: picked, then counted");
        let none = list(&[verb, "--since", "1h"]);
        assert!(none.starts_with("no ") && none.ends_with("is recorded\n"), "{none}");
    }
    assert_eq!(list(&["events", "--since", "1h", "--json"]), "");
    let newest = list(&["events", "--workload", "ollama.service", "--limit", "1"]);
    assert!(newest.contains("i-1"), "the newest: {newest}");
    assert_eq!(list(&["alerts", "--since", "2h"]), "no alert fires\n");
    assert_eq!(list(&["alerts", "--all", "--workload", "x"]), "no alert is recorded\n");
    let wrong = headroom(&["events", "--since", "soon"], &[]);
    assert!(wrong.status.code() == Some(2) && err(&wrong).contains("such as 2h"), "{wrong:?}");
}

#[test]
fn a_help_has_a_verbs_options_and_settings_are_one_step_away() {
    for verb in ["run", "status", "events", "admit", "guard", "check-config"] {
        let short = out(&headroom(&[verb, "--help"], &[]));
        assert!(!short.contains("--kernel-debug") && short.contains("--config <FILE>"), "{verb}: {short}");
        assert!(short.contains(&format!("headroom {verb} --help-all lists all")), "{verb}: {short}");
        let all = out(&headroom(&[verb, "--help-all"], &[]));
        assert!(all.contains("--kernel-debug") && all.contains("[env: HEADROOM_TICK]"), "{verb}: {all}");
    }
}

#[test]
fn a_verb_says_sentences_on_stderr_also_to_a_program() {
    let nowhere = scratch();
    let socket = nowhere.join("none").display().to_string();
    let output = headroom(&["level", "--socket", &socket, "--json"], &[]);
    let said = err(&output);
    assert!(said.lines().all(|line| line.starts_with("headroom: ")), "{said}");
    assert!(said.contains("no agent answers at"), "{said}");
    assert!(serde_json::from_slice::<serde_json::Value>(&output.stdout).is_ok());
}

#[test]
fn options_after_a_model_or_a_command_are_refused_with_the_right_order() {
    let dir = scratch();
    let model = dir.join("model.gguf");
    fs::write(&model, "GGUF").unwrap();
    let model = model.to_str().unwrap();
    for (verb, flag) in [("admit", "--strict"), ("reserve", "--evictable"), ("wait", "--timeout"), ("need", "--json")] {
        let output = headroom(&[verb, model, flag], &[("HEADROOM_CONFIG", "/dev/null")]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = err(&output);
        assert!(said.contains(&format!("{flag} after {model}: options of {verb} come before MODEL")), "{said}");
        assert!(said.contains(&format!("headroom {verb} … -- ENGINE …")), "{said}");
    }
    let guard = |arguments: &[&str]| {
        headroom(&[&["guard", "--no-agent", "allow"], arguments].concat(), &[("PATH", "/bin:/usr/bin")])
    };
    let output = guard(&["echo", "--wait", "5m"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(125), 0), "{output:?}");
    assert!(err(&output).contains("--wait after echo: options of guard come before COMMAND"), "{output:?}");
    let output = guard(&["--", "echo", "--wait", "5m"]);
    assert_eq!(out(&output), "--wait 5m\n");
}

#[test]
fn a_wrong_slot_or_a_star_is_refused_before_a_start() {
    let check = |text: &str| {
        let dir = scratch();
        let file = dir.join("headroom.toml");
        fs::write(&file, text).unwrap();
        headroom(&["check-config", "--config", file.to_str().unwrap()], &[])
    };
    for (text, wanted) in [
        ("admission.slots = [\"a=x\"]", ":1:19: admission.slots: \"a=x\" is not a slot: NAME or NAME=PLACES"),
        ("admission.high_priority = [\"ml-*\"]", "admission.high_priority: \"ml-*\" is not a name"),
    ] {
        let output = check(text);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert!(err(&output).contains(wanted), "{output:?}");
    }
    let said = out(&check("admission.high_priority = [\"nobody-has-this-name\"]\n[[level.target]]\nmemory = 0.5\n"));
    assert!(said.contains("# WARNING: admission.high_priority: there is no user nobody-has-this-name here"), "{said}");
    assert!(said.contains("[[level.target]]\nmemory = 0.5"), "{said}");
}
