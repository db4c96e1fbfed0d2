//! A real leak: one of two processes of a cgroup grows. The incident names it; the truth is what the test started. Windows are short,
//! so that it does not take an hour.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use collector_core::incident::{Incident, Kind};
use collector_core::sample::{Reading, Sample};
use collector_core::signal::cgroup;
use collector_core::statistic::host::{Statistic as OfHost, Values as Host};
use collector_core::statistic::workload::{Statistic as Of, Values};
use collector_tests::agent::{Agent, PATIENCE};
use collector_tests::cgroup::Cgroup;
use collector_tests::process::Killed;
use collector_tests::require::is_root;
use collector_tests::{needs, provoke, record};

const MIB: u64 = 1 << 20;
const CONFIG: &str = "tick = \"100ms\"\n[workload]\nstat_interval = \"1s\"\n[leak]\nwindow = \"1s\"\n";

/// Several looks at the processes, and a judgement after them.
const LOOKS: Duration = Duration::from_secs(4);

fn leaks(agent: &Agent, cgroup: &Cgroup) -> Vec<Incident> {
    let ours = |it: &Incident| it.kind == Kind::Leak && it.labels.get("workload") == Some(&cgroup.path);
    record::incidents(&agent.samples()).into_iter().filter(ours).collect()
}

fn until<T>(agent: &Agent, what: &str, found: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}:\n{}", agent.log());
        // Each time the whole recording is read.
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn is_over(incident: &Incident) -> bool {
    incident.complete && incident.evidence.leak.as_ref().is_some_and(|leak| leak.over)
}

#[test]
fn the_process_that_leaks_is_named_until_it_is_gone() {
    needs!(is_root(), "loading eBPF programs needs root");
    let agent = Agent::start(CONFIG);
    let cgroup = Cgroup::new("leak");
    let (limit, pace) = (900 * MIB, 8 * MIB);
    cgroup.limit(limit);
    let calm = Killed(provoke!(&cgroup, &["act", "comm=calm", &format!("anon:{}:0", 60 * MIB), "stay"]));
    let leaky = Killed(provoke!(&cgroup, &["act", "comm=leaky", &format!("anon:{limit}:{pace}"), "stay"]));
    let pid = leaky.0.id();
    let begun = until(&agent, "no leak is told", || leaks(&agent, &cgroup).into_iter().next());
    let leak = begun.evidence.leak.clone().unwrap();
    assert_eq!((&*leak.memory, leak.of_bytes, begun.complete), ("anon", limit, false));
    let hourly = pace as f64 * 3600.0;
    assert!((0.5..2.0).contains(&(leak.bytes_per_hour / hourly)), "{leak:?}");
    // Who grew is known once the processes were looked at twice, which the first report need not wait for.
    std::thread::sleep(LOOKS);
    drop(leaky);
    let over = until(&agent, "the leak is not over", || leaks(&agent, &cgroup).into_iter().find(is_over));
    assert_eq!(over.id, begun.id);
    let process = over.evidence.leak.and_then(|leak| leak.process);
    let process = process.unwrap_or_else(|| panic!("no process is named: {}", over.cause.sentence));
    assert_eq!((process.pid, &*process.comm, process.processes), (pid, "leaky", Some([2, 2])));
    assert_eq!(over.cause.rule, "leaking_process", "{}", over.cause.sentence);
    drop(calm);
    agent.stop();
}

/// A program that keeps a little of each request, makes garbage, and now and then a lot of it. With others beside it.
const LEAKY: &str = "
import random, time
kept = []
random.seed(7)
while True:
    garbage = [bytearray(65536) for _ in range(random.randrange(160))]
    kept.append(bytearray(random.randrange(100000, 140000)))
    del garbage
    time.sleep(0.5)
";

/// Ten minutes at the pace at which two hours pass in the fixture: the replay multiplies its times by twelve.
#[test]
#[ignore = "takes ten minutes; writes tests/fixtures/leak/real.jsonl"]
fn a_leak_of_ten_minutes_is_recorded() {
    needs!(is_root(), "loading eBPF programs needs root");
    let agent = Agent::start("tick = \"5s\"\n[workload]\nstat_interval = \"5s\"\n[leak]\nwindow = \"1m\"\n");
    let cgroup = Cgroup::new("leak-real");
    cgroup.limit(320 * MIB);
    let calm = Killed(provoke!(&cgroup, &["act", "comm=calm", &format!("anon:{}:0", 40 * MIB), "stay"]));
    let mut python = Command::new("python3");
    let mut leaky = Killed(cgroup.spawn(python.arg("-").stdin(Stdio::piped()).stdout(Stdio::null())));
    leaky.0.stdin.take().unwrap().write_all(LEAKY.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_secs(600));
    let (path, id) = (cgroup.path.clone(), cgroup.memory_id());
    drop((calm, leaky));
    let samples = agent.stop();
    let kept: Vec<String> = samples.iter().filter_map(|sample| keep(sample, &path, id)).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/leak");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("real.jsonl"), kept.concat()).unwrap();
}

/// What of the recording is of that cgroup and of the host's memory, under another name.
fn keep(sample: &Sample, path: &str, id: u64) -> Option<String> {
    let mut sample = sample.clone();
    match &mut sample.reading {
        Reading::Start(start) => (start.own, start.level, start.history) = (None, None, None),
        Reading::Tick => {}
        Reading::Cgroup(cgroup::Reading::Born { id: of, path: at }) if &**at == path && of.id == id => {
            *at = "/leaky".into();
        }
        Reading::Cgroup(cgroup::Reading::Died { id: of }) if of.id == id => {}
        Reading::Statistics(it) if it.cgroup.id == id => {
            let kept = [
                Of::MemoryCurrent,
                Of::MemoryLimit,
                Of::MemoryAnon,
                Of::MemoryFile,
                Of::MemoryShmem,
                Of::MemoryKernel,
                Of::CpuUsage,
            ];
            it.values = kept.into_iter().filter_map(|of| Some((of, it.values.get(of)?))).collect::<Values>();
        }
        Reading::Host(values) => {
            let kept = [OfHost::MemoryTotal, OfHost::MemoryAvailable];
            *values = kept.into_iter().filter_map(|of| Some((of, values.get(of)?))).collect::<Host>();
        }
        Reading::Member(it) if it.cgroup.id == id => {}
        _ => return None,
    }
    Some(serde_json::to_string(&sample).unwrap() + "\n")
}
