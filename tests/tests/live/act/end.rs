//! Processes and workloads that are ended, by pidfd, and none that only has the same number.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command};

use collector_tests::actuator::{Actuator, allow};
use collector_tests::cgroup::Cgroup;
use collector_tests::needs;
use collector_tests::process::Killed;
use collector_tests::require::is_root;

use super::TESTS;

fn signal(mut child: Child) -> Option<i32> {
    child.wait().unwrap().signal()
}

/// Field 22 of its line (proc_pid_stat(5)).
fn started(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    text.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap()
}

#[test]
fn a_process_is_asked_to_end_or_killed_and_one_that_came_later_is_not() {
    needs!(is_root(), "cgroups need root");
    let cgroup = Cgroup::new("act-end");
    let sleeps = || cgroup.spawn(Command::new("sleep").arg("600"));
    let actuator = Actuator::start(&allow(&["terminate", "kill"], &[TESTS], ""));
    let (asked, killed, mut other) = (sleeps(), sleeps(), Killed(sleeps()));
    let pid = |child: &Child| child.id().to_string();
    let said = actuator.act(&["terminate", "--pid", &pid(&asked)]);
    assert!(said.code == 0 && said.out.contains("it has ended"), "{said:?}");
    assert_eq!(signal(asked), Some(15));
    let said = actuator.act(&["kill", "--pid", &pid(&killed), "--dry-run"]);
    assert!(said.code == 0 && said.out.contains("risk high"), "{said:?}");
    assert_eq!(actuator.act(&["kill", "--pid", &pid(&killed)]).code, 0);
    assert_eq!(signal(killed), Some(9));
    // The number alone is not the process.
    let (number, start) = (other.0.id(), started(other.0.id()));
    let body = |started: u64| {
        format!("{{\"kind\": \"kill\", \"object\": {{\"process\": {{\"pid\": {number}, \"started\": {started}}}}}}}")
    };
    let (status, problem) = actuator.request("POST", "/api/v1/actions", &body(start + 1)).unwrap();
    assert!(status == 409 && problem["detail"].as_str().unwrap().contains("another one"), "{problem}");
    assert!(other.0.try_wait().unwrap().is_none());
    // Another's process, whatever its number.
    let own = actuator.act(&["kill", "--pid", &actuator.pid().to_string()]);
    assert!(own.code == 24 && own.err.contains("the actuator itself"), "{own:?}");
    for pid in ["1", "2"] {
        let said = actuator.act(&["kill", "--pid", pid]);
        assert!(said.code == 24 && said.err.contains("protected"), "{said:?}");
    }
    let outside = Killed(Command::new("sleep").arg("600").spawn().unwrap());
    let said = actuator.act(&["kill", "--pid", &outside.0.id().to_string()]);
    assert!(said.code == 24 && said.err.contains("no rule of the policy allows kill for"), "{said:?}");
    let journal = actuator.journal();
    let kinds: Vec<_> =
        journal.iter().map(|it| (it["kind"].as_str().unwrap(), it["state"].as_str().unwrap())).collect();
    assert_eq!(kinds, [("terminate", "done"), ("kill", "done")]);
    let undo = actuator.actions(&["--undo", "2"]);
    assert!(undo.code == 25 && undo.err.contains("start it again"), "{undo:?}");
}

#[test]
fn a_workload_is_killed_with_all_below_it() {
    needs!(is_root(), "cgroups need root");
    let cgroup = Cgroup::new("act-all");
    let below = cgroup.child("below");
    let sleeps = |cgroup: &Cgroup| cgroup.spawn(Command::new("sleep").arg("600"));
    // On cgroup v2 no process stays where controllers were given to those below.
    let above = (!cgroup.is_v2()).then(|| sleeps(&cgroup));
    let all: Vec<Child> = above.into_iter().chain((0..3).map(|_| sleeps(&below))).collect();
    let actuator = Actuator::start(&allow(&["kill"], &[TESTS], ""));
    let said = actuator.act(&["kill", &cgroup.path]);
    assert_eq!(said.code, 0, "{said:?}");
    for child in all {
        assert_eq!(signal(child), Some(9));
    }
}
