//! A memory node that is full while the host is not: the kernel kills for a memory policy or a cpuset, and that is told.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::time::Instant;

use collector_core::signal::oom::{Constraint, Scope};
use collector_tests::agent::{Agent, PATIENCE, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::provocation::was_killed;
use collector_tests::record::kills_of;
use collector_tests::require::own_machine;
use collector_tests::{applies, needs, provoke};

const OWN: &str = "it would harm this machine: cargo xtask test vm";
/// The smaller of two nodes.
const NODE: &str = "1";

/// Memory of the node in bytes, if there is more than one.
fn size() -> Option<u64> {
    let text = fs::read_to_string(format!("/sys/devices/system/node/node{NODE}/meminfo")).ok()?;
    let total = text.lines().find(|line| line.contains("MemTotal"))?;
    Some(total.split_whitespace().rev().nth(1)?.parse::<u64>().ok()? << 10)
}

/// More than the node has, written within some seconds by a process that the kernel prefers as victim.
fn hog(cgroup: &Cgroup, size: u64, bind: &[&str]) -> Child {
    let anon = format!("anon:{}:{}", size / 4 * 5, size / 6);
    provoke!(cgroup, &[&["act", "score=900", "comm=hog"], bind, &[&anon]].concat())
}

/// Waits for the kill, and returns what the agent says of it.
fn told(agent: Agent, mut hog: Child, wanted: Constraint) -> String {
    assert!(was_killed(&mut hog), "it survived");
    let deadline = Instant::now() + PATIENCE;
    while !agent.log().contains(" is complete: ") {
        assert!(Instant::now() < deadline, "{}", agent.log());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let journal = agent.directory().join("journal");
    let samples = agent.samples();
    let [kill] = kills_of(&samples, hog.id())[..] else { panic!("not exactly one kill of {}", hog.id()) };
    assert_eq!((kill.scope, kill.limited), (Scope::Host, None));
    assert!(kill.constraint.is_none_or(|constraint| constraint == wanted), "{kill:?}");
    explain(&journal)
}

fn explain(journal: &Path) -> String {
    let output = headroom("explain").arg("--journal-dir").arg(journal).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_full_node_of_a_memory_policy_is_named_not_the_host() {
    needs!(own_machine(), OWN);
    let size = size();
    applies!(size.is_some(), "this machine has one memory node: cargo xtask test vm --nodes 2");
    let agent = Agent::start("");
    let cgroup = Cgroup::new("policy");
    let text = told(agent, hog(&cgroup, size.unwrap(), &[&format!("bind:{NODE}")]), Constraint::MemoryPolicy);
    assert!(text.contains("memory nodes") && text.contains("policy"), "{text}");
    assert!(!text.contains("The host ran out of memory"), "{text}");
}

#[test]
fn a_full_node_of_a_cpuset_is_named_not_the_host() {
    needs!(own_machine(), OWN);
    let size = size();
    applies!(size.is_some(), "this machine has one memory node: cargo xtask test vm --nodes 2");
    let agent = Agent::start("");
    fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+cpuset").unwrap();
    let cgroup = Cgroup::new("cpuset");
    cgroup.delegate("cpuset").unwrap();
    let inner = cgroup.child("inner");
    fs::write(inner.memory().join("cpuset.mems"), NODE).unwrap();
    let text = told(agent, hog(&inner, size.unwrap(), &[]), Constraint::Cpuset);
    assert!(text.contains("memory nodes") && text.contains("cpuset"), "{text}");
    assert!(!text.contains("The host ran out of memory"), "{text}");
}
