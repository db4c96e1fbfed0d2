//! Real OOM kills, explained: whose limit it was, who filled it, and that a bystander is named as one. Compared with what the
//! test did.

use std::process::Child;
use std::time::{Duration, Instant};

use collector_core::incident::{Incident, Kind, Source};
use collector_core::sample::{Reading, Sample};
use collector_core::statistic::workload::Statistic;
use collector_tests::agent::{Agent, PATIENCE, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::provocation::{await_ready, was_killed};
use collector_tests::require::is_root;
use collector_tests::{needs, provoke, record};

const MIB: u64 = 1 << 20;
const CONFIG: &str = "tick = \"200ms\"\n[workload]\nstat_interval = \"1s\"\n";

/// The history has a resolution of one second, so an event must last longer to show.
const SECONDS: Duration = Duration::from_millis(1500);

/// Starts a process that holds memory, and waits until it does.
fn sleeper(cgroup: &Cgroup, arguments: &[&str]) -> Child {
    let mut child = provoke!(cgroup, &[&["sleeper"], arguments].concat());
    await_ready(&mut child);
    child
}

/// Waits until the agent has read this much memory of a cgroup, and its limit if it has one.
fn until_read(agent: &Agent, cgroup: &Cgroup, bytes: u64, limit: Option<u64>) {
    let read = |sample: &Sample| match &sample.reading {
        Reading::Statistics(it) => {
            it.cgroup.id == cgroup.memory_id()
                && it.values.get(Statistic::MemoryCurrent) >= Some(bytes)
                && it.values.get(Statistic::MemoryLimit) == limit
        }
        _ => false,
    };
    let deadline = Instant::now() + PATIENCE;
    while !agent.samples().iter().any(read) {
        assert!(Instant::now() < deadline, "{} was not read:\n{}", cgroup.path, agent.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Incidents in the agent's record: as reported first and last.
fn reported(samples: &[Sample], pid: u32) -> (Incident, Incident) {
    let all = record::incidents(samples);
    // If several are killed together, the first one reported may be another.
    let whose = all.iter().find(|it| it.evidence.kills.iter().any(|kill| kill.pid == pid)).map(|it| it.id.clone());
    let reported: Vec<Incident> = all.into_iter().filter(|it| Some(&it.id) == whose.as_ref()).collect();
    let [first, last] = reported.as_slice() else { panic!("incidents with {pid}: {reported:#?}") };
    assert_eq!((first.kind, &first.id, first.complete, last.complete), (Kind::Oom, &last.id, false, true));
    (first.clone(), last.clone())
}

/// Waits until the agent has reported the incident completely, then returns its record.
fn finish(agent: Agent, pid: u32) -> Vec<Sample> {
    let deadline = Instant::now() + PATIENCE;
    while !agent.log().contains(" is complete: ") {
        assert!(Instant::now() < deadline, "{pid} is not reported:\n{}", agent.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    agent.stop()
}

#[test]
fn a_kill_at_its_own_limit_is_explained() {
    needs!(is_root(), "loading eBPF programs needs root");
    let agent = Agent::start(CONFIG);
    let (parent, sibling) = (Cgroup::new("roomy"), Cgroup::new("elsewhere"));
    parent.limit(512 * MIB);
    let cgroup = parent.child("tight");
    cgroup.limit(64 * MIB);
    let mut other = sleeper(&sibling, &["anon=209715200"]);
    until_read(&agent, &sibling, 200 * MIB, None);
    until_read(&agent, &cgroup, 0, Some(64 * MIB));
    until_read(&agent, &parent, 0, Some(512 * MIB));
    std::thread::sleep(SECONDS);
    let mut hog = provoke!(&cgroup, &["hog", "anon=268435456", "comm=the hog"]);
    assert!(was_killed(&mut hog));
    let record = agent.directory().join("record.jsonl");
    let deadline = Instant::now() + PATIENCE;
    while !agent.log().contains(" is complete: ") {
        assert!(Instant::now() < deadline, "{}", agent.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let page = headroom("explain").arg("--replay").arg(&record).output().unwrap();
    let page = String::from_utf8(page.stdout).unwrap();
    let (_, last) = reported(&agent.stop(), hog.id());

    assert_eq!(last.labels["workload"], cgroup.path);
    let limit = last.evidence.limit.as_ref().unwrap_or_else(|| panic!("{last:#?}"));
    assert_eq!((limit.workload.as_deref(), limit.own, limit.bytes), (Some(&*cgroup.path), true, Some(64 * MIB)));
    assert_eq!(last.cause.rule, "sudden_spike", "{:?}", last.cause);
    assert!(last.cause.sentence.contains(&cgroup.path) && last.cause.sentence.contains("64.0 MiB"), "{:?}", last.cause);
    let victim = &last.evidence.kills[0];
    let held = victim.anon_bytes.unwrap();
    assert!((48 * MIB..=64 * MIB).contains(&held), "{held}");
    let peak = last.evidence.workload.as_ref().unwrap().peak_bytes.unwrap_or_else(|| panic!("{last:#?}"));
    assert!((60 * MIB..=64 * MIB).contains(&peak), "read after the kill: {peak}");
    let holder = last.evidence.consumers.iter().find(|it| it.workload == sibling.path).unwrap();
    assert!((200 * MIB..220 * MIB).contains(&holder.memory_bytes.unwrap()), "{holder:?}");
    assert!(last.evidence.within.is_empty());
    // A title longer than a line is on two lines.
    let words = page.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [&last.title, "the hog", "64.0 MiB, of", "Last ", "▁"] {
        assert!(words.contains(part), "{part}: {page}");
    }
    assert!(!page.contains('\x1b'), "no colours in a pipe");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_kill_at_its_parents_limit_is_explained() {
    needs!(is_root(), "loading eBPF programs needs root");
    let agent = Agent::start(CONFIG);
    let parent = Cgroup::new("shared");
    parent.limit(96 * MIB);
    let (big, small) = (parent.child("big"), parent.child("small"));
    // Both have held their memory from the start, and the victim asks for too much.
    let mut neighbour = sleeper(&small, &["anon=20971520"]);
    let mut first = sleeper(&big, &["anon=52428800"]);
    until_read(&agent, &small, 20 * MIB, None);
    until_read(&agent, &big, 50 * MIB, None);
    until_read(&agent, &parent, 70 * MIB, Some(96 * MIB));
    std::thread::sleep(SECONDS);
    let mut hog = provoke!(&big, &["hog", "anon=104857600", "score=900", "comm=hog"]);
    assert!(was_killed(&mut hog));
    let (first_reported, last) = reported(&finish(agent, hog.id()), hog.id());

    for incident in [&first_reported, &last] {
        let limit = incident.evidence.limit.as_ref().unwrap_or_else(|| panic!("{incident:#?}"));
        assert_eq!((limit.workload.as_deref(), limit.own, limit.bytes), (Some(&*parent.path), false, Some(96 * MIB)));
        assert!([Source::Kernel, Source::Only].contains(&limit.source), "{limit:?}");
        assert_eq!(incident.labels["workload"], big.path);
        assert_eq!(incident.cause.rule, "parents_limit", "{:?}", incident.cause);
    }
    let within: Vec<_> =
        last.evidence.within.iter().map(|it| (&*it.workload, it.memory_bytes.unwrap() / MIB)).collect();
    let place = |path: &str| within.iter().position(|(name, _)| *name == path);
    assert!(place(&big.path).unwrap() < place(&small.path).unwrap(), "{within:?}");
    assert!((20..=24).contains(&within[place(&small.path).unwrap()].1), "{within:?}");
    assert!(last.cause.sentence.contains(&format!("{} held most", big.path)), "{:?}", last.cause);
    assert!(!last.evidence.history.limited.is_empty());
    for child in [&mut neighbour, &mut first] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn an_innocent_bystander_is_named_as_one() {
    needs!(is_root(), "loading eBPF programs needs root");
    let agent = Agent::start(CONFIG);
    let parent = Cgroup::new("crowded");
    parent.limit(128 * MIB);
    let (grower, bystander) = (parent.child("grower"), parent.child("bystander"));
    let mut victim = sleeper(&bystander, &["anon=20971520", "score=900", "comm=bystander"]);
    until_read(&agent, &bystander, 20 * MIB, None);
    until_read(&agent, &parent, 20 * MIB, Some(128 * MIB));
    // Grows in steps that are read; the kernel still chooses the other.
    let steps: Vec<Child> = (1..=5)
        .map(|step| {
            let child = sleeper(&grower, &["anon=18874368"]);
            until_read(&agent, &grower, step * 18 * MIB, None);
            std::thread::sleep(SECONDS);
            child
        })
        .collect();
    let mut last_step = provoke!(&grower, &["hog", "anon=31457280"]);
    assert!(was_killed(&mut victim));
    last_step.wait().unwrap();
    let (_, incident) = reported(&finish(agent, victim.id()), victim.id());

    assert_eq!(incident.labels["workload"], bystander.path);
    assert_eq!(incident.cause.rule, "grown_by_another", "{:?}", incident.cause);
    let sentence = &incident.cause.sentence;
    for part in [&*grower.path, "128 MiB", &format!("{} held", bystander.path), "oom_score_adj is 900"] {
        assert!(sentence.contains(part), "{part}: {sentence}");
    }
    let growth = incident.cause.numbers["other_growth_bytes"] / MIB as f64;
    assert!((50.0..110.0).contains(&growth), "{growth}: {sentence}");
    for mut child in steps {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn processes_killed_together_are_one_incident() {
    needs!(is_root(), "loading eBPF programs needs root");
    let agent = Agent::start(CONFIG);
    let cgroup = Cgroup::new("together");
    cgroup.limit(64 * MIB);
    until_read(&agent, &cgroup, 0, Some(64 * MIB));
    // Each alone is too large, all start at once, and they are killed one after the other.
    let mut hogs: Vec<Child> = (0..4).map(|_| provoke!(&cgroup, &["hog", "anon=104857600"])).collect();
    let killed = hogs.iter_mut().map(was_killed).filter(|killed| *killed).count() as u64;
    assert_eq!((killed, cgroup.kills()), (4, 4));
    let (_, last) = reported(&finish(agent, hogs[0].id()), hogs[0].id());
    assert_eq!((last.evidence.killed, last.evidence.kills.len()), (4, 4), "{last:#?}");
    assert!(last.title.contains("OOM kill of 4 processes"), "{}", last.title);
    assert!(last.evidence.limit.is_some_and(|limit| limit.own));
}
