//! Memory between ticks of a workload near its limit: a spike that no tick sees is in the history, and a kill has the readings of its
//! last second. The witness reads the same file every 10 ms.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use collector::clock;
use collector::source::cgroup::Controller;
use collector_core::incident::{Incident, Kind};
use collector_core::sample::{Reading, Sample};
use collector_tests::agent::{Agent, PATIENCE};
use collector_tests::cgroup::Cgroup;
use collector_tests::provocation::{await_ready, was_killed};
use collector_tests::require::is_root;
use collector_tests::{needs, provoke, record};

const MIB: u64 = 1 << 20;
const TENTH: Duration = Duration::from_millis(100);
/// The kernel charges 64 pages at once for each CPU, and the two do not read at the same moment.
const SLACK: u64 = 2 * MIB;
/// A reading may be this much apart from the witness's, in nanoseconds.
const APART: u64 = 60_000_000;

/// What the witness read: time in nanoseconds since the Unix epoch, and bytes.
fn witness(cgroup: &Cgroup, done: &AtomicBool) -> Vec<(u64, u64)> {
    let name = if cgroup.is_v2() { "memory.current" } else { "memory.usage_in_bytes" };
    let file = cgroup.file(Controller::Memory, name);
    let mut read = Vec::new();
    while !done.load(Ordering::Relaxed) {
        read.push((clock::unix_ns(), fs::read_to_string(&file).unwrap().trim().parse().unwrap()));
        thread::sleep(Duration::from_millis(10));
    }
    read
}

#[test]
fn no_spike_between_ticks_is_missed_and_a_kill_has_its_last_second() {
    needs!(is_root(), "loading eBPF programs needs root");
    let agent = Agent::start("");
    let cgroup = Cgroup::new("sampled");
    cgroup.limit(256 * MIB);
    let sleeper = |bytes: u64| {
        let mut child = provoke!(&cgroup, &["sleeper", &format!("anon={bytes}")]);
        await_ready(&mut child);
        child
    };
    let mut children = vec![sleeper(206 * MIB)];
    let deadline = Instant::now() + PATIENCE;
    let is_read = |sample: &Sample| matches!(&sample.reading, Reading::Usage(it) if it.cgroup.id == cgroup.memory_id());
    while !agent.samples().iter().any(is_read) {
        assert!(Instant::now() < deadline, "it is not read between ticks:\n{}", agent.log());
        thread::sleep(TENTH);
    }
    let done = AtomicBool::new(false);
    let (read, grows, pid) = thread::scope(|scope| {
        let read = scope.spawn(|| witness(&cgroup, &done));
        let mut spike = sleeper(32 * MIB);
        thread::sleep(3 * TENTH);
        spike.kill().unwrap();
        spike.wait().unwrap();
        thread::sleep(20 * TENTH);
        let grows = clock::unix_ns();
        for _ in 0..6 {
            children.push(sleeper(4 * MIB));
            thread::sleep(TENTH);
        }
        let mut hog = provoke!(&cgroup, &["hog", &format!("anon={}", 64 * MIB), "score=1000"]);
        assert!(was_killed(&mut hog));
        done.store(true, Ordering::Relaxed);
        (read.join().unwrap(), grows, hog.id())
    });
    let incidents = record::incidents(&agent.stop());
    let ours = |it: &&Incident| it.kind == Kind::Oom && it.evidence.kills.first().is_some_and(|kill| kill.pid == pid);
    let incident = incidents.iter().find(ours).unwrap();
    for mut child in children {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    let history = &incident.evidence.history;
    assert!(history.last.len() >= 8, "{:?}", history.last);
    for (ago, bytes) in &history.last {
        let time = incident.time - (ago * 1e9) as u64;
        let near = read.iter().filter(|(at, _)| at.abs_diff(time) <= APART).map(|(_, bytes)| *bytes);
        let (least, most) = near.fold((u64::MAX, 0), |(least, most), bytes| (least.min(bytes), most.max(bytes)));
        assert!(least <= most, "the witness did not read at {time}");
        assert!((least.saturating_sub(SLACK)..=most + SLACK).contains(bytes), "{ago}: {least} {bytes} {most}");
    }
    let wanted = read.iter().filter(|(time, _)| *time < grows).map(|(_, bytes)| *bytes).max().unwrap();
    let line = &history.workload["memory_max_bytes"];
    let seen = line.iter().flatten().any(|most| wanted.abs_diff(*most as u64) <= SLACK);
    assert!(wanted > 236 * MIB && seen, "{wanted} {line:?}");
}
