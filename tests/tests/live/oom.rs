//! OOM kills in temporary cgroups: what the agent reports, compared with the kernel's log, its counters, and what the test
//! did.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Child;
use std::time::Instant;

use collector_core::sample::Sample;
use collector_core::signal::oom::{Kill, Scope};
use collector_tests::agent::{Agent, PATIENCE, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::provocation::{await_ready, was_killed};
use collector_tests::record::kills_of;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use collector_tests::{needs, provoke};

const KILLS: &str = "headroom_oom_kills_total";
const MIB: u64 = 1 << 20;

/// Starts it, and waits until it is ready.
fn ready(cgroup: &Cgroup, arguments: &[&str]) -> Child {
    let mut child = provoke!(cgroup, arguments);
    await_ready(&mut child);
    child
}

fn only_kill_of(samples: &[Sample], pid: u32) -> Kill {
    let kills = kills_of(samples, pid);
    let [kill] = kills[..] else { panic!("kills of {pid}: {kills:?}") };
    kill.clone()
}

/// The kernel's log from here on.
struct KernelLog(File);

impl KernelLog {
    fn open() -> Result<KernelLog, String> {
        let open = || {
            let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg")?;
            file.seek(SeekFrom::End(0))?;
            Ok(KernelLog(file))
        };
        open().map_err(|error: std::io::Error| format!("/dev/kmsg: {error}"))
    }

    /// The kernel's line on the kill of a process.
    fn killed(&mut self, pid: u32) -> String {
        let wanted = format!("Killed process {pid} (");
        let deadline = Instant::now() + PATIENCE;
        let mut record = [0; 8192];
        loop {
            match self.0.read(&mut record) {
                Ok(length) => {
                    let line = String::from_utf8_lossy(&record[..length]);
                    if let Some(at) = line.find(&wanted) {
                        return line[at..].lines().next().unwrap_or_default().to_owned();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(Instant::now() < deadline, "the kernel did not log the kill of {pid}");
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                // EPIPE: the next message was overwritten; the next read continues after it.
                Err(error) => assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}"),
            }
        }
    }
}

/// The number after `key` in the kernel's line: `anon-rss:64512kB, …`.
fn figure(line: &str, key: &str) -> i64 {
    let after = line.split(key).nth(1).unwrap_or_else(|| panic!("no {key} in {line}"));
    let digits = after.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(after.len());
    after[..digits].parse().unwrap_or_else(|_| panic!("no number after {key} in {line}"))
}

#[test]
fn a_kill_is_reported_as_in_the_kernel_log() {
    needs!(is_root(), "loading eBPF programs needs root");
    let log = KernelLog::open();
    needs!(log.is_ok(), log.as_ref().err().map_or("", String::as_str));
    let mut log = log.unwrap();
    let directory = scratch();
    let file = directory.join("mapped");
    fs::write(&file, vec![7; 8 * MIB as usize]).unwrap();

    let agent = Agent::start("tick = \"100ms\"\n");
    let cgroup = Cgroup::new("oom");
    cgroup.limit(64 * MIB);
    let id = cgroup.memory_id();
    let path = format!("file={}", file.display());
    let arguments = ["hog", "anon=268435456", "shmem=6291456", &path, "uid=12345", "score=321", "comm=the hog"];
    let mut hog = provoke!(&cgroup, &arguments);
    let pid = hog.id();
    assert!(was_killed(&mut hog), "it survived");
    let line = log.killed(pid);

    let workload = [("workload", cgroup.path.as_str())];
    let exposition = agent.scrape_until("the kill", |exposition| exposition.sum(KILLS, &workload) > 0.0);
    assert_eq!(cgroup.kills(), 1);
    assert_eq!(exposition.sum(KILLS, &workload), 1.0, "{}", exposition.text);
    assert_eq!(exposition.values(KILLS, &[workload[0], ("scope", "memcg")]), [1.0]);

    let kill = only_kill_of(&agent.stop(), pid);
    assert_eq!((kill.comm.as_str(), kill.tid, kill.uid, kill.score_adj), ("the hog", pid, 12345, 321));
    assert_eq!((kill.trigger_pid, kill.trigger_comm.as_str()), (pid, "the hog"));
    assert_eq!((kill.cgroup.unwrap().id, kill.trigger_cgroup), (id, kill.cgroup));
    assert_eq!(kill.scope, Scope::Memcg);
    assert!(line.contains("(the hog)"), "{line}");
    assert_eq!((figure(&line, "UID:"), figure(&line, "oom_score_adj:")), (12345, 321));
    let figures = [("anon-rss:", kill.anon_bytes), ("file-rss:", kill.file_bytes), ("shmem-rss:", kill.shmem_bytes)];
    for (key, reported) in figures {
        let Some(reported) = reported else { panic!("{key} is not known") };
        let logged = figure(&line, key) * 1024;
        let off = (reported as i64 - logged).abs();
        eprintln!("{key} log {logged}, sample {reported}");
        assert!(logged > 4 * MIB as i64 && off * 20 <= logged, "{key} {reported}, but {line}");
    }
    let (peak, resident) = (kill.peak_bytes.unwrap(), figures.iter().filter_map(|(_, bytes)| *bytes).sum::<u64>());
    assert!(peak >= resident && peak <= 80 * MIB, "{peak}, {resident}");
}

#[test]
fn the_kill_counts_for_the_victim_and_not_for_the_task_that_asked() {
    needs!(is_root(), "loading eBPF programs needs root");
    let agent = Agent::start("tick = \"100ms\"\n");
    let limited = Cgroup::new("limited");
    limited.limit(64 * MIB);
    let (victims, askers) = (limited.child("victim"), limited.child("asker"));
    let mut sleeper = ready(&victims, &["sleeper", "anon=52428800", "score=900", "comm=sleeper"]);
    let mut asker = provoke!(&askers, &["hog", "anon=41943040", "comm=asker"]);
    assert!(was_killed(&mut sleeper));
    // The kernel may have killed it as well, since the sleeper's memory is not free at once.
    let asker_died = was_killed(&mut asker);

    let kills = |cgroup: &Cgroup| (cgroup.path.clone(), cgroup.kills());
    let witnesses = [kills(&victims), kills(&askers), kills(&limited)];
    assert_eq!(witnesses.each_ref().map(|(_, kills)| *kills), [1, asker_died.into(), 0]);
    let all: u64 = witnesses.iter().map(|(_, kills)| kills).sum();
    let count = |e: &collector_tests::exposition::Exposition, path: &str| e.sum(KILLS, &[("workload", path)]) as u64;
    agent.scrape_until("the kills", |e| witnesses.iter().map(|(path, _)| count(e, path)).sum::<u64>() >= all);
    let exposition = agent.settle();
    for (path, kills) in &witnesses {
        assert_eq!(count(&exposition, path), *kills, "{path}");
    }

    let (victim_id, asker_id, limited_id) = (victims.memory_id(), askers.memory_id(), limited.memory_id());
    let reported = limit_probe(&agent);
    let kill = only_kill_of(&agent.samples(), sleeper.id());
    assert_eq!((kill.comm.as_str(), kill.score_adj), ("sleeper", 900));
    assert_eq!((kill.trigger_pid, kill.trigger_comm.as_str()), (asker.id(), "asker"));
    assert_eq!((kill.cgroup.unwrap().id, kill.trigger_cgroup.unwrap().id), (victim_id, asker_id));
    assert_eq!(kill.scope, Scope::Memcg);

    let limit_kills = "headroom_oom_limit_kills_total";
    let reported = reported || kill.limited.is_some();
    assert_eq!(exposition.has(limit_kills, &[]), reported, "the metric exists exactly if the kernel shows the limit");
    if reported {
        assert_eq!(kill.limited.unwrap().id, limited_id, "it was the parent's limit");
        assert_eq!(exposition.sum(limit_kills, &[("workload", &limited.path)]), all as f64);
        assert_eq!(exposition.sum(limit_kills, &[("workload", &victims.path)]), 0.0);
    }
}

/// Whether a probe on the OOM killer itself is attached. If none is, the doctor must say why, and agree.
fn limit_probe(agent: &Agent) -> bool {
    let exposition = agent.scrape();
    let attached = |probe: &str| {
        let states = |state| exposition.sum("headroom_probe_state", &[("probe", probe), ("state", state)]);
        let all = ["attached", "disabled", "unneeded", "unsupported", "failed"].map(states);
        assert_eq!(all.iter().sum::<f64>(), 1.0, "{probe} is in exactly one state: {all:?}");
        assert_eq!(all[1] + all[4], 0.0, "{probe} is neither disabled nor failed: {all:?}");
        all[0] == 1.0
    };
    let programs = ["oom_kill_process", "oom_kill_process_kprobe"];
    let attached = programs.map(attached);
    let output = headroom("doctor").arg("--json").output().unwrap();
    let findings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for (program, attached) in programs.iter().zip(attached) {
        let verdicts = findings["probes"].as_array().unwrap();
        let verdict = verdicts.iter().find(|verdict| verdict["program"] == *program).unwrap();
        eprintln!("{verdict}");
        assert_eq!(verdict["state"] == "attached", attached, "{verdict}");
        assert_eq!(verdict["reason"].as_str().is_some_and(|reason| reason.len() > 10), !attached, "{verdict}");
    }
    attached.contains(&true)
}

#[test]
fn a_cgroup_that_exists_for_a_moment_is_named() {
    needs!(is_root(), "loading eBPF programs needs root");
    let agent = Agent::start("tick = \"100ms\"\n[workload]\ngrace = \"2s\"\n");
    let born = Instant::now();
    let cgroup = Cgroup::new("brief");
    cgroup.limit(16 * MIB);
    let (path, id) = (cgroup.path.clone(), cgroup.memory_id());
    let mut hog = provoke!(&cgroup, &["hog", "anon=67108864"]);
    assert!(was_killed(&mut hog));
    drop(cgroup);
    eprintln!("it existed for {:?}", born.elapsed());

    let workload = [("workload", path.as_str())];
    agent.scrape_until("the kill", |exposition| exposition.sum(KILLS, &workload) == 1.0);
    // The alert about it stays longer.
    agent.scrape_until("the end of its series", |exposition| !exposition.has(KILLS, &workload));
    assert!(agent.log().contains(&format!("in {path}: a memory cgroup was at its limit")), "{}", agent.log());

    let record = agent.directory().join("record.jsonl");
    let output = headroom("replay").arg("--events").arg(record).output().unwrap();
    let events = String::from_utf8(output.stdout).unwrap();
    let named = |line: &&str| line.contains("oom_kill") && line.contains(&format!("\"workload\":\"{path}\""));
    assert_eq!(events.lines().filter(named).count(), 1, "{events}");
    assert_eq!(only_kill_of(&agent.stop(), hog.id()).cgroup.unwrap().id, id);
}

#[test]
fn a_process_of_many_threads_is_killed_once() {
    needs!(is_root(), "loading eBPF programs needs root");
    let agent = Agent::start("tick = \"100ms\"\n");
    let cgroup = Cgroup::new("threads");
    cgroup.limit(32 * MIB);
    for _ in 0..10 {
        let mut hog = provoke!(&cgroup, &["hog", "anon=134217728", "threads=16"]);
        assert!(was_killed(&mut hog));
        let workload = [("workload", cgroup.path.as_str())];
        let kernel = cgroup.kills() as f64;
        agent.scrape_until("the kill", |exposition| exposition.sum(KILLS, &workload) >= kernel);
        assert_eq!(agent.settle().sum(KILLS, &workload), kernel);
        // The log has a thread of its own.
        agent.await_kills(kernel as usize);
        let reported = format!(" in {}: a memory cgroup was at its limit", cgroup.path);
        assert_eq!(agent.log().matches(&reported).count() as f64, kernel);
        eprintln!("marks of {}: {}", hog.id(), kills_of(&agent.samples(), hog.id()).len());
    }
}
