//! Processes that another process kills while memory is short, and while it is not.

use std::process::{Child, Command, Stdio};

use collector_core::incident::{Incident, Kind};
use collector_core::sample::{Reading, Sample};
use collector_core::signal::kill::{Reading as Kill, Sent, Shortage, Signal};
use collector_tests::agent::{Agent, PATIENCE, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::provocation::{await_ready, was_killed};
use collector_tests::require::is_root;
use collector_tests::{needs, provoke};

const CONFIG: &str = "tick = \"100ms\"\n";
const KILLS: &str = "headroom_oom_kills_total";
const MIB: u64 = 1 << 20;

fn sleeper(cgroup: &Cgroup, anon: &str) -> Child {
    let mut child = provoke!(cgroup, &["sleeper", anon, "comm=the sleeper"]);
    await_ready(&mut child);
    child
}

/// The signals to a process that the agent recorded.
fn sent_to(samples: &[Sample], pid: u32) -> Vec<Sent> {
    let sent = |sample: &Sample| match &sample.reading {
        Reading::Kill(Kill::Sent(sent)) if sent.pid == pid => Some(sent.clone()),
        _ => None,
    };
    samples.iter().filter_map(sent).collect()
}

/// Waits for the signals to a process, and returns them.
fn await_signals(agent: &Agent, pid: u32, count: usize) -> Vec<Sent> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let sent = sent_to(&agent.samples(), pid);
        if sent.len() >= count {
            return sent;
        }
        assert!(std::time::Instant::now() < deadline, "no signal to {pid}:\n{}", agent.log());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// The incidents of this kind and workload in the agent's journal, once there is one.
fn incidents(agent: &Agent, workload: &str) -> Vec<Incident> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let journal = agent.directory().join("journal");
        let output = headroom("incidents").arg("--json").arg("--journal-dir").arg(journal).output().unwrap();
        let all: Vec<Incident> = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let ours =
            |it: &Incident| it.kind == Kind::Killed && it.labels.get("workload").is_some_and(|it| it == workload);
        let killed: Vec<Incident> = all.into_iter().filter(ours).collect();
        if !killed.is_empty() {
            return killed;
        }
        assert!(std::time::Instant::now() < deadline, "no incident:\n{}", agent.log());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn who_kills_a_process_near_its_limit_is_named() {
    needs!(is_root(), "loading eBPF programs needs root");
    let agent = Agent::start(CONFIG);
    let cgroup = Cgroup::new("pressed");
    cgroup.limit(64 * MIB);
    let mut child = sleeper(&cgroup, "anon=62914560");
    let (pid, me) = (child.id(), std::process::id());
    child.kill().unwrap();
    assert!(was_killed(&mut child));

    let sent = await_signals(&agent, pid, 1);
    let [sent] = sent.as_slice() else { panic!("{sent:?}") };
    let own_name = std::fs::read_to_string("/proc/thread-self/comm").unwrap();
    assert_eq!((sent.signal, sent.fatal, sent.comm.as_str()), (Signal::Kill, true, "the sleeper"));
    assert_eq!((sent.sender_pid, sent.sender_comm.as_str()), (me, own_name.trim_end()));
    assert_eq!((sent.cgroup.unwrap().id, sent.limit_bytes), (cgroup.memory_id(), Some(64 * MIB)));
    assert!(sent.memory_bytes.is_some_and(|bytes| (60 * MIB..=64 * MIB).contains(&bytes)), "{sent:?}");

    let incidents = incidents(&agent, &cgroup.path);
    let [incident] = incidents.as_slice() else { panic!("{incidents:?}") };
    let killed = format!("the sleeper ({pid}) in {} was killed by {}", cgroup.path, own_name.trim_end());
    assert!(incident.title.contains(&killed), "{}", incident.title);
    assert!(matches!(incident.evidence.shortage, Some(Shortage::Limit { .. })), "{:?}", incident.evidence.shortage);
    assert_eq!(agent.settle().sum(KILLS, &[("workload", &cgroup.path)]), 0.0);
}

#[test]
fn page_cache_that_memory_has_displaced_since_the_last_tick_hides_no_shortage() {
    needs!(is_root(), "loading eBPF programs needs root");
    // All that follows the settling happens between two ticks.
    let agent = Agent::start("tick = \"2s\"\n");
    let cgroup = Cgroup::new("displaced");
    cgroup.limit(64 * MIB);
    let file = agent.directory().join("file");
    std::fs::write(&file, vec![1; 40 << 20]).unwrap();
    // What is dirty cannot be dropped, and what this process wrote is charged to it.
    let written = std::fs::File::open(&file).unwrap();
    written.sync_all().unwrap();
    rustix::fs::fadvise(&written, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let mut reader = cgroup.spawn(Command::new("cat").arg(&file).stdout(Stdio::null()));
    assert!(reader.wait().unwrap().success());
    let cached = agent.settle().sum("headroom_workload_memory_file_bytes", &[("workload", &cgroup.path)]);
    let mut child = sleeper(&cgroup, "anon=62914560");
    child.kill().unwrap();
    assert!(was_killed(&mut child));

    let incidents = incidents(&agent, &cgroup.path);
    let [incident] = incidents.as_slice() else { panic!("{incidents:?}") };
    let Some(Shortage::Limit { memory_bytes, .. }) = incident.evidence.shortage else { panic!("{incident:?}") };
    assert!((58 * MIB..=64 * MIB).contains(&memory_bytes), "{incident:?}");
    assert!(cached > 20e6, "the last tick read {cached} bytes of page cache");
}

#[test]
fn an_ordinary_stop_is_not_told() {
    needs!(is_root(), "loading eBPF programs needs root");
    let agent = Agent::start(CONFIG);
    let cgroup = Cgroup::new("roomy");
    cgroup.limit(64 * MIB);
    let mut child = sleeper(&cgroup, "anon=4194304");
    child.kill().unwrap();
    assert!(was_killed(&mut child));
    await_signals(&agent, child.id(), 1);
    agent.settle();
    let log = agent.log();
    let told = log.lines().find(|line| line.contains("while memory was short") && line.contains(&cgroup.path));
    assert_eq!(told, None);
}

#[test]
fn who_handles_the_signal_is_told_as_asked_and_only_signals_from_outside_are_recorded() {
    needs!(is_root(), "loading eBPF programs needs root");
    let agent = Agent::start(CONFIG);
    let cgroup = Cgroup::new("shell");
    // The shell handles the signal, kills its own child, and ends with 7.
    let script = "sleep 1000 & trap 'kill $!; exit 7' TERM; echo ready; wait";
    let mut command = Command::new("sh");
    let mut shell = cgroup.spawn(command.args(["-c", script]).stdout(Stdio::piped()));
    await_ready(&mut shell);
    let pid = rustix::process::Pid::from_child(&shell);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(shell.wait().unwrap().code(), Some(7));

    let sent = await_signals(&agent, shell.id(), 1);
    let [sent] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!((sent.signal, sent.fatal), (Signal::Term, false));
    agent.settle();
    let within = |sample: &Sample| match &sample.reading {
        Reading::Kill(Kill::Sent(sent)) => sent.sender_pid == shell.id(),
        _ => false,
    };
    assert!(!agent.samples().iter().any(within));
}
