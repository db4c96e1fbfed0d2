//! Names of workloads with real cgroups: a container that has a name in Docker's state, a cgroup nested in it, and a name that
//! appears late. Compared with the kernel's own count of the kills.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use collector_tests::agent::{Agent, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::needs;
use collector_tests::provocation::was_killed;
use collector_tests::require::is_root;
use collector_tests::scratch::{Scratch, scratch};

const KILLS: &str = "headroom_oom_kills_total";
const MIB: u64 = 1 << 20;

fn hog(cgroup: &Cgroup) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_provoke"));
    command.args(["hog", "anon=67108864"]).stdout(Stdio::null()).stderr(Stdio::null());
    cgroup.spawn(&mut command)
}

/// Docker's state in a folder of the test.
struct Docker(Scratch);

impl Docker {
    fn agent(&self) -> Agent {
        Agent::start(&format!("tick = \"100ms\"\n[workload]\ndocker = {:?}\n", self.0))
    }

    fn enter(&self, id: &str, name: &str) {
        let folder = self.0.join("containers").join(id);
        fs::create_dir_all(&folder).unwrap();
        // Docker also replaces the file as a whole.
        fs::write(folder.join("new"), format!(r#"{{"ID":"{id}","Name":"/{name}","Config":{{}}}}"#)).unwrap();
        fs::rename(folder.join("new"), folder.join("config.v2.json")).unwrap();
    }
}

/// An id that no other test uses, nor its first twelve digits.
fn id(digit: u32) -> String {
    format!("{digit:02x}{:08x}{:054x}", std::process::id(), 0)
}

#[test]
fn a_kill_deep_in_a_container_counts_for_the_container_by_name() {
    needs!(is_root(), "loading eBPF programs needs root");
    let docker = Docker(scratch());
    let id = id(1);
    docker.enter(&id, "web");
    let agent = docker.agent();
    let parent = Cgroup::new("docker");
    let container = parent.child(&format!("docker-{id}.scope"));
    container.limit(32 * MIB);
    let inner = container.child("inner.scope");
    assert!(was_killed(&mut hog(&inner)));
    let kills = inner.kills() as f64;
    assert_eq!(kills, 1.0);

    let workload = [("workload", "docker/web")];
    agent.scrape_until("the kill", |exposition| exposition.sum(KILLS, &workload) == kills);
    let exposition = agent.settle();
    let identity =
        [("workload", "docker/web"), ("kind", "container"), ("container_id", &id), ("cgroup", &container.path)];
    assert_eq!(exposition.values("headroom_workload_info", &identity), [1.0], "{}", exposition.text);
    assert!(!exposition.text.contains("inner.scope"), "nested cgroups have no series of their own");
    let line = "in docker/web: a memory cgroup was at its limit";
    assert!(agent.log().contains(line), "{}", agent.log());
    assert_eq!(reported(agent.directory()), 1);
    drop((inner, container));
    agent.stop();
}

/// Kills in `docker/web` that a replay of the recording reports.
fn reported(directory: &Path) -> usize {
    let output = headroom("replay").arg("--events").arg(directory.join("record.jsonl")).output().unwrap();
    let events = String::from_utf8(output.stdout).unwrap();
    let named = |line: &&str| line.contains("oom_kill") && line.contains(r#""workload":"docker/web""#);
    events.lines().filter(named).count()
}

#[test]
fn a_name_that_appears_late_keeps_the_counters() {
    needs!(is_root(), "loading eBPF programs needs root");
    let docker = Docker(scratch());
    let id = id(2);
    let agent = docker.agent();
    let parent = Cgroup::new("late");
    let container = parent.child(&format!("docker-{id}.scope"));
    container.limit(32 * MIB);
    assert!(was_killed(&mut hog(&container)));
    let (short, kills) = (format!("docker/{}", &id[..12]), container.kills() as f64);
    agent.scrape_until("the kill", |exposition| exposition.sum(KILLS, &[("workload", &short)]) == kills);
    docker.enter(&id, "late");
    let named = [("workload", "docker/late")];
    let exposition = agent.scrape_until("the name", |exposition| exposition.has(KILLS, &named));
    assert_eq!(exposition.sum(KILLS, &named), kills);
    assert!(!exposition.text.contains(&format!("\"{short}\"")), "{}", exposition.text);
    drop(container);
    agent.stop();
}
