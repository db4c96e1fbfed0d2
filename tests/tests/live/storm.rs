//! Lasting pressure, and a lost GPU, as incidents: provoked for real, and compared with the kernel's pressure and what the test
//! did. The GPU is a stand-in.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use collector::clock;
use collector_core::engine::Engine;
use collector_core::incident::{Incident, Kind};
use collector_core::outcome::Outcome;
use collector_tests::agent::Agent;
use collector_tests::cgroup::Cgroup;
use collector_tests::nvml::host;
use collector_tests::receiver::{Answer, Receiver};
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use collector_tests::{needs, provoke};
use serde_json::json;

const MIB: u64 = 1 << 20;
/// Pressure events of one storm that the test waits for: the incident starts at the third.
const ALARMS: f64 = 4.0;
/// Three of the kernel's windows, in nanoseconds.
const WINDOWS: u64 = 6_000_000_000;

/// How long some task of the host has waited, in seconds, according to the kernel.
fn waited(resource: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/pressure/{resource}")).unwrap();
    let total = text.lines().next().unwrap().rsplit_once("total=").unwrap().1;
    total.parse::<f64>().unwrap() / 1e6
}

/// The last complete incident of a kind, as reported first and last.
fn reported(agent: Agent, kind: Kind) -> (Incident, Incident) {
    let mut engine = Engine::new();
    let outcomes: Vec<Outcome> = agent.stop().iter().flat_map(|sample| engine.apply(sample)).collect();
    let incidents = outcomes.into_iter().filter_map(|outcome| match outcome {
        Outcome::Incident(incident) if incident.kind == kind => Some(*incident),
        _ => None,
    });
    let incidents: Vec<Incident> = incidents.collect();
    let last = incidents.iter().rfind(|incident| incident.complete).unwrap();
    let first = incidents.iter().find(|incident| incident.id == last.id).unwrap();
    assert!(!first.complete, "{first:#?}");
    (first.clone(), last.clone())
}

/// Makes the host wait for a resource until the agent has reported it often enough, then stops.
fn storm(resource: &'static str, kind: Kind, cgroup: &Cgroup, arguments: &[&str]) {
    let config = "tick = \"200ms\"\n[workload]\nstat_interval = \"1s\"\n[pressure]\nmemory_waiting = \"20ms\"\n\
                  memory_stalled = \"0s\"\nio_waiting = \"20ms\"\nio_stalled = \"0s\"\n";
    let agent = Agent::start(config);
    let labels = [("resource", resource), ("kind", "waiting")];
    let alarms = |it: &collector_tests::exposition::Exposition| it.sum("headroom_host_pressure_events_total", &labels);
    let (before, calm) = (waited(resource), alarms(&agent.scrape()));
    let begun = clock::unix_ns();
    let mut child = provoke!(cgroup, arguments);
    agent.scrape_until("alarms", |it| alarms(it) >= calm + ALARMS);
    child.kill().unwrap();
    child.wait().unwrap();
    let most = waited(resource) - before;
    let name = if resource == "io" { "IO" } else { resource };
    agent.await_log(&[kind.name(), " is complete: "]);
    let (first, last) = reported(agent, kind);

    eprintln!("{}\n{}: {}", last.title, last.cause.rule, last.cause.sentence);
    assert!(first.title.starts_with(&format!("Tasks of the host waited for {name}")), "{}", first.title);
    let storm = last.evidence.storm.as_ref().unwrap();
    assert!(storm.stalls >= 3 && storm.stalls >= first.evidence.storm.as_ref().unwrap().stalls, "{storm:?}");
    let seconds = storm.waited_seconds.unwrap();
    assert!(seconds >= 3.0 * 0.02, "{seconds} s");
    // The cgroup's pressure is only known if it has this file.
    let told_of = cgroup.procs().iter().any(|procs| procs.with_file_name("io.pressure").exists());
    if told_of {
        let ours = last.evidence.consumers.iter().find(|consumer| consumer.workload == cgroup.path);
        assert!(ours.and_then(|ours| ours.waiting_seconds) > Some(1.0), "{:#?}", last.evidence.consumers);
    }
    // Unless others on this machine started before: then the storm is also theirs, and longer than the test knows.
    if first.time > begun + WINDOWS {
        // What the agent's own start waited for is in the history, but not in what the test measured.
        assert!(seconds <= most + 10.0, "{seconds} s of {most} s");
        assert!(!told_of || last.labels["workload"] == cgroup.path && last.title.contains(&cgroup.path), "{last:#?}");
    }
    assert!(!last.cause.sentence.is_empty() && !last.cause.next.is_empty(), "{:?}", last.cause);
    assert!(last.evidence.history.host.values().any(|line| line.iter().flatten().any(|it| *it > 0.0)));
}

#[test]
fn long_waits_for_memory_are_an_incident() {
    needs!(is_root(), "programs need root");
    needs!(Path::new("/proc/pressure/memory").exists(), "this kernel does not measure pressure");
    let folder = scratch();
    let file = folder.join("sparse");
    File::create(&file).unwrap().set_len(256 * MIB).unwrap();
    let cgroup = Cgroup::everywhere("storm");
    // With less, the kernel kills it now and then: all pages are locked by reads.
    cgroup.limit(32 * MIB);
    let file = format!("file={}", file.display());
    storm("memory", Kind::MemoryPressure, &cgroup, &["thrash", &file, "rounds=100000", "threads=4"]);
}

#[test]
fn long_waits_for_io_are_an_incident() {
    needs!(is_root(), "programs need root");
    needs!(Path::new("/proc/pressure/io").exists(), "this kernel does not measure pressure");
    let folder = scratch();
    let file = folder.join("blocks");
    fs::write(&file, vec![7; 64 * MIB as usize]).unwrap();
    let cgroup = Cgroup::everywhere("storm");
    // One block after the other, past the page cache: it waits nearly all the time.
    let file = file.to_str().unwrap().to_owned();
    storm("io", Kind::IoPressure, &cgroup, &["io", "reread", &file, "4096", "1000000000"]);
}

#[test]
fn a_lost_gpu_is_an_incident_and_an_alert_with_the_workloads_that_held_it() {
    needs!(is_root(), "programs need root");
    let (receiver, cgroup) = (Receiver::start(Answer::Accept), Cgroup::new("held"));
    let holder = cgroup.spawn(Command::new("sleep").arg("600")).id();
    let mut nvml = host(&["GPU-a", "GPU-b"]);
    nvml.scenario["gpus"][0]["processes"] = json!([{"pid": holder, "bytes": 3u64 << 30}]);
    nvml.apply();
    let agent = nvml.agent_with(&format!("[[sink.webhook]]\nurl = {:?}\n", receiver.url()));
    let held = [("uuid", "GPU-a"), ("workload", cgroup.path.as_str())];
    agent.scrape_until("the holder", |it| it.has("headroom_workload_gpu_memory_bytes", &held));
    nvml.change("/xids", json!([{"gpu": 0, "code": 79}]));
    let xid = [("uuid", "GPU-a"), ("xid", "79")];
    agent.scrape_until("the error", |it| it.sum("headroom_gpu_xid_errors_total", &xid) == 1.0);
    // Every call returns NVML_ERROR_GPU_IS_LOST.
    nvml.change("/gpus/0/calls", json!({"*": {"error": 15}}));
    let lost = |alert: &serde_json::Value| alert["alert"] == "GpuLost" && alert["labels"]["uuid"] == "GPU-a";
    let requests = receiver.until("the alert", |requests| requests.iter().any(|it| it.alerts().iter().any(lost)));
    let alert = requests.iter().flat_map(|it| it.alerts()).find(lost).unwrap();
    assert_eq!((&alert["severity"], &alert["incident"]["kind"]), (&"critical".into(), &"gpu_lost".into()), "{alert}");
    agent.await_log(&[Kind::GpuLost.name(), " is complete: "]);
    let (_, last) = reported(agent, Kind::GpuLost);

    assert_eq!(alert["incident"]["id"], last.id);
    let gpu = last.evidence.gpu.as_ref().unwrap();
    assert_eq!((&*gpu.uuid, &*gpu.model, gpu.xids.as_slice()), ("GPU-a", "Stand-in H100", &[79][..]));
    let holders: Vec<_> = gpu.holders.iter().map(|it| (&*it.workload, it.bytes)).collect();
    assert_eq!(holders, [(&*cgroup.path, Some(3u64 << 30))]);
    assert_eq!((gpu.lost, gpu.left, gpu.temperature), (1, 1, Some(61)), "{gpu:?}");
    assert!(last.cause.sentence.contains("79"), "{:?}", last.cause);
}
