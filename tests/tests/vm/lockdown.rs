//! A kernel that hides its memory (`lockdown=confidentiality`, as on Talos): `cargo xtask test vm --boot lockdown=confidentiality`.

use std::fs;
use std::path::Path;
use std::process::Command;

use collector_core::engine::Engine;
use collector_core::incident::{Incident, Kind};
use collector_core::outcome::Outcome;
use collector_core::sample::{Reading, Sample};
use collector_core::signal::kill;
use collector_tests::agent::{Agent, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::process::Killed;
use collector_tests::provocation::{await_ready, was_killed};
use collector_tests::record::kills_of;
use collector_tests::require::own_machine;
use collector_tests::{applies, needs, provoke};

use super::probe;

const CONFIG: &str = "tick = \"200ms\"\n[workload]\nstat_interval = \"1s\"\n";
const STATES: &str = "/sys/kernel/security/lockdown";
const MIB: u64 = 1 << 20;

fn is_locked() -> bool {
    if !Path::new(STATES).exists() {
        let _ = Command::new("mount").args(["-t", "securityfs", "securityfs", "/sys/kernel/security"]).status();
    }
    fs::read_to_string(STATES).is_ok_and(|states| states.contains("[confidentiality]"))
}

/// The id of a process that was killed at its limit of 64 MiB.
fn kill_a_hog(cgroup: &Cgroup) -> u32 {
    cgroup.limit(64 * MIB);
    let mut hog = provoke!(cgroup, &["hog", "anon=268435456", "comm=the hog"]);
    assert!(was_killed(&mut hog));
    hog.id()
}

/// What this prints, and its exit code.
fn run(command: &mut Command) -> (i32, String) {
    let output = command.env("HEADROOM_LISTEN", "127.0.0.1:0").output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), text)
}

/// Incidents of OOM kills, when they were complete.
fn incidents(samples: &[Sample]) -> Vec<Incident> {
    let mut engine = Engine::new();
    let outcomes = samples.iter().flat_map(|sample| engine.apply(sample)).collect::<Vec<_>>();
    let of_kill = |outcome| match outcome {
        Outcome::Incident(it) if it.kind == Kind::Oom && it.complete => Some(*it),
        _ => None,
    };
    outcomes.into_iter().chain(engine.finish()).filter_map(of_kill).collect()
}

/// No program may read use and limit of a workload: they come from files.
fn assert_signal_has_numbers(agent: &Agent) {
    let cgroup = Cgroup::new("signalled");
    cgroup.limit(64 * MIB);
    let start = |anon: u64| {
        let mut child = Killed(provoke!(&cgroup, &["sleeper", &format!("anon={anon}")]));
        await_ready(&mut child.0);
        child
    };
    let (_stays, mut killed) = (start(40 * MIB), start(16 * MIB));
    killed.0.kill().unwrap();
    agent.settle();
    let samples = agent.samples();
    let of = |sample: &Sample| match &sample.reading {
        Reading::Kill(kill::Reading::Sent(sent)) if sent.pid == killed.0.id() => Some(sent.clone()),
        _ => None,
    };
    let sent: Vec<_> = samples.iter().filter_map(of).collect();
    let [sent] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!((sent.limit_bytes, sent.read_after), (Some(64 * MIB), true));
    assert!(sent.memory_bytes.is_some_and(|bytes| (40 * MIB..=64 * MIB).contains(&bytes)), "{sent:?}");
}

#[test]
fn typed_programs_see_what_others_see_elsewhere() {
    needs!(own_machine(), "other kernels run in virtual machines: cargo xtask test vm");
    applies!(is_locked(), "its memory is not hidden: cargo xtask test vm --boot lockdown=confidentiality");
    let agent = Agent::start(CONFIG);
    probe::check(&agent);
    let (code, doctor) = run(headroom("doctor").arg("--require-probes"));
    assert_eq!(code, 0, "{doctor}");
    let line = doctor.lines().find(|line| line.starts_with("lockdown ")).unwrap_or_else(|| panic!("{doctor}"));
    assert!(line.contains("missing") && line.contains("confidentiality"), "{line}");

    assert_signal_has_numbers(&agent);
    let cgroup = Cgroup::new("locked");
    let hog = kill_a_hog(&cgroup);
    let labels = [("workload", cgroup.path.as_str())];
    agent.scrape_until("the kill", |exposition| exposition.sum("headroom_oom_kills_total", &labels) > 0.0);
    let exposition = agent.settle();
    assert_eq!(exposition.sum("headroom_oom_kills_total", &labels), cgroup.kills() as f64);
    for counted in ["page_faults", "reclaim_stalls"] {
        assert!(exposition.sum(&format!("headroom_workload_{counted}_total"), &labels) > 0.0, "{counted}");
    }
    assert!(exposition.text.contains("headroom_host_pressure_waiting_seconds_total"), "{}", exposition.text);
    agent.await_log(&[" is complete: "]);
    let samples = agent.stop();
    let [kill] = kills_of(&samples, hog)[..] else { panic!("not exactly one kill of {hog}") };
    assert_eq!((kill.comm.as_str(), kill.limit_bytes), ("the hog", Some(64 * MIB)));
    assert_eq!(kill.cgroup.map(|it| it.id), Some(cgroup.memory_id()));
    assert_eq!(kill.limited, kill.cgroup);
    assert!(kill.anon_bytes.is_some_and(|anon| (48 * MIB..=64 * MIB).contains(&anon)), "{kill:?}");
    assert_eq!(incidents(&samples).len(), 1);
}

/// Covers the kernel's types, until it is dropped.
struct Untyped;

impl Untyped {
    const TYPES: &str = "/sys/kernel/btf";

    fn new() -> Untyped {
        assert!(Command::new("mount").args(["-t", "tmpfs", "none", Untyped::TYPES]).status().unwrap().success());
        Untyped
    }
}

impl Drop for Untyped {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(Untyped::TYPES).status();
    }
}

#[test]
fn without_types_a_kill_is_told_by_the_kernels_count() {
    needs!(own_machine(), "other kernels run in virtual machines: cargo xtask test vm");
    applies!(is_locked(), "its memory is not hidden: cargo xtask test vm --boot lockdown=confidentiality");
    let _untyped = Untyped::new();
    for verb in ["run", "doctor"] {
        let (code, text) = run(headroom(verb).arg("--require-probes"));
        assert_eq!(code, 7, "{verb}: {text}");
        assert!(text.contains("BTF"), "{verb}: {text}");
    }
    let agent = Agent::start(CONFIG);
    assert!(agent.log().contains("headroom doctor"), "{}", agent.log());
    let cgroup = Cgroup::new("untold");
    let labels = [("workload", cgroup.path.as_str())];
    // Empty, it would have no series.
    let _sleeper = Killed(provoke!(&cgroup, &["sleeper", "anon=4194304"]));
    agent.scrape_until("its memory", |exposition| exposition.has("headroom_workload_memory_current_bytes", &labels));
    kill_a_hog(&cgroup);
    agent.await_log(&["OOM kill", &cgroup.path]);
    agent.await_log(&[" is complete: "]);
    let exposition = agent.settle();
    let events = [labels[0], ("event", "oom_kill")];
    assert_eq!(exposition.sum("headroom_workload_memory_events_total", &events), cgroup.kills() as f64);
    assert!(exposition.text.contains("headroom_host_pressure_waiting_seconds_total"), "{}", exposition.text);
    assert_eq!(exposition.sum("headroom_alerts", &[("alert", "OomKill")]), 1.0, "{}", exposition.text);
    let samples = agent.stop();
    let [incident] = &incidents(&samples)[..] else { panic!("{:#?}", incidents(&samples)) };
    assert_eq!((incident.labels.get("workload"), incident.evidence.killed), (Some(&cgroup.path), cgroup.kills()));
    assert_eq!(incident.evidence.kills, [], "nobody saw which");
    let limit = incident.evidence.limit.as_ref().unwrap_or_else(|| panic!("{incident:#?}"));
    assert_eq!((limit.own, limit.bytes), (true, Some(64 * MIB)));
}
