//! Processes that are dying already when the OOM killer looks for a victim: it marks them, but does not kill them. The kernel's
//! counts and what wait(2) says are the witnesses. A debugger's stop keeps each of them between its end and the release of its
//! memory.

use std::fs;
use std::process::{Child, Command, Stdio};

use collector_core::signal::oom::Kill;
use collector_tests::agent::Agent;
use collector_tests::cgroup::Cgroup;
use collector_tests::provocation::{await_ready, was_killed};
use collector_tests::record::kills_of;
use collector_tests::require::is_root;
use collector_tests::{applies, needs, provoke};

const CONFIG: &str = "tick = \"100ms\"\n";
const KILLS: &str = "headroom_oom_kills_total";
const MIB: u64 = 1 << 20;

/// Starts a process of two threads that ends with 3 when its standard input ends, and stops in the middle of its end.
fn start(cgroup: &Cgroup, anon: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_provoke"));
    command.args(["sleeper", anon, "exit=3"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = cgroup.spawn(&mut command);
    await_ready(&mut child);
    let options = libc::PTRACE_O_TRACEEXIT as libc::c_long;
    // SAFETY: seizes a child of this process.
    let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, child.id() as libc::pid_t, 0, options) };
    assert_eq!(seized, 0, "PTRACE_SEIZE: {}", std::io::Error::last_os_error());
    child
}

/// Waits until it stops in the middle of its end.
fn await_end(child: &Child) {
    let mut status = 0;
    // SAFETY: waits for a child of this process, and does not reap it: it is stopped.
    let pid = unsafe { libc::waitpid(child.id() as libc::pid_t, &mut status, libc::__WALL) };
    assert_eq!(pid, child.id() as libc::pid_t, "waitpid: {}", std::io::Error::last_os_error());
    assert_eq!(status >> 8, libc::SIGTRAP | libc::PTRACE_EVENT_EXIT << 8, "{status:#x}");
}

/// Lets it end, if the kernel has not: on 5.10, SIGKILL also ends such a stop.
fn release(child: &Child) {
    // SAFETY: detaches from a child of this process; an error if it is not stopped.
    unsafe { libc::ptrace(libc::PTRACE_DETACH, child.id() as libc::pid_t, 0, 0) };
}

/// How often the log says of a process in this cgroup that it was dying already.
fn told_as_dying(agent: &Agent, cgroup: &Cgroup) -> usize {
    let of_it = |line: &&str| line.contains("which was dying already") && line.contains(&cgroup.path);
    agent.log().lines().filter(of_it).count()
}

fn told(agent: &Agent, cgroup: &Cgroup) -> u64 {
    agent.settle().sum(KILLS, &[("workload", &cgroup.path)]) as u64
}

/// A process ends in the way that `end` makes it, while another allocates memory below the same limit. Returns how it ended, and
/// what was recorded of it.
fn found_dying(end: impl Fn(&mut Child)) -> (std::process::ExitStatus, Kill) {
    let agent = Agent::start(CONFIG);
    let limited = Cgroup::new("dying");
    limited.limit(96 * MIB);
    let (ending, asking) = (limited.child("ending"), limited.child("asking"));
    let mut dies = start(&ending, "anon=62914560");
    end(&mut dies);
    await_end(&dies);
    // The kernel's reaper takes the memory of the dying process after a while, if the process does not release it.
    let mut asks = provoke!(&asking, &["hog", "anon=52428800"]);
    asks.wait().unwrap();
    release(&dies);
    let status = dies.wait().unwrap();
    let witnesses = [&limited, &ending, &asking].map(Cgroup::kills);
    let told = [&limited, &ending, &asking].map(|cgroup| told(&agent, cgroup));
    assert_eq!((told, told[1]), (witnesses, 0), "{}", agent.log());
    assert_eq!(told_as_dying(&agent, &ending), 1, "{}", agent.log());

    // Another of that cgroup is killed.
    assert!(was_killed(&mut provoke!(&ending, &["hog", "anon=268435456"])));
    let kernel = ending.kills();
    agent.scrape_until("the kill", |it| it.sum(KILLS, &[("workload", &ending.path)]) as u64 >= kernel);
    assert_eq!(self::told(&agent, &ending), kernel);
    let samples = agent.stop();
    let kills = kills_of(&samples, dies.id());
    (status, kills.first().map(|kill| (*kill).clone()).unwrap_or_else(|| panic!("no mark of {}", dies.id())))
}

#[test]
fn who_ends_itself_is_not_told_as_killed() {
    needs!(is_root(), "loading eBPF programs needs root");
    let (status, kill) = found_dying(|dies| drop(dies.stdin.take()));
    assert_eq!(status.code(), Some(3));
    assert_eq!((kill.dying, kill.exit_code, kill.signal), (true, Some(3), None), "{kill:?}");
}

#[test]
fn whom_somebody_else_killed_is_not_told_as_killed_by_the_oom_killer() {
    needs!(is_root(), "loading eBPF programs needs root");
    let (status, kill) = found_dying(|dies| dies.kill().unwrap());
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(libc::SIGKILL));
    assert_eq!((kill.dying, kill.exit_code, kill.signal), (true, None, Some(9)), "{kill:?}");
}

#[test]
fn of_a_group_only_those_that_die_of_it_are_told_as_killed() {
    needs!(is_root(), "loading eBPF programs needs root");
    let agent = Agent::start(CONFIG);
    let group = Cgroup::new("group");
    applies!(group.is_v2(), "cgroup v1 does not kill groups");
    group.limit(96 * MIB);
    fs::write(group.memory().join("memory.oom.group"), "1").unwrap();
    let (ending, others) = (group.child("ending"), group.child("others"));
    let mut dies = start(&ending, "anon=8388608");
    let mut bystander = provoke!(&others, &["sleeper", "anon=4194304"]);
    await_ready(&mut bystander);
    drop(dies.stdin.take());
    await_end(&dies);
    let mut hog = provoke!(&others, &["hog", "anon=268435456"]);
    assert!(was_killed(&mut hog) && was_killed(&mut bystander));
    release(&dies);
    assert_eq!(dies.wait().unwrap().code(), Some(3));
    assert_eq!((told(&agent, &others), told(&agent, &ending)), (2, 0), "{}", agent.log());
}

#[test]
fn who_is_killed_while_it_lives_is_told_as_killed() {
    needs!(is_root(), "loading eBPF programs needs root");
    let agent = Agent::start(CONFIG);
    let cgroup = Cgroup::new("living");
    cgroup.limit(32 * MIB);
    for _ in 0..5 {
        let mut hog = provoke!(&cgroup, &["hog", "anon=134217728", "threads=8"]);
        assert!(was_killed(&mut hog));
        let kernel = cgroup.kills();
        agent.scrape_until("the kill", |it| it.sum(KILLS, &[("workload", &cgroup.path)]) as u64 >= kernel);
        agent.settle();
        let samples = agent.samples();
        let kills = kills_of(&samples, hog.id());
        // Its other threads may be marked as they exit, of the OOM killer's own signal.
        assert_eq!(kills.iter().filter(|kill| !kill.dying).count(), 1, "{kills:?}");
        assert!(kills.iter().all(|kill| kill.exit_code.is_none()), "{kills:?}");
    }
    assert_eq!(told(&agent, &cgroup), cgroup.kills());
    assert_eq!(told_as_dying(&agent, &cgroup), 0, "{}", agent.log());
}
