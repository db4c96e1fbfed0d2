//! Rules with the live kernel, in the log and in the metrics: a cgroup that comes close to its limit and recovers, one that is
//! frozen at it, and a container's full /dev/shm.

use collector_tests::agent::Agent;
use collector_tests::cgroup::Cgroup;
use collector_tests::exposition::Exposition;
use collector_tests::mount::Mount;
use collector_tests::process::Killed;
use collector_tests::provocation::await_ready;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use collector_tests::{applies, needs, provoke};
use rustix::process::Signal;

const MIB: u64 = 1 << 20;

#[test]
fn an_alert_fires_near_the_limit_and_resolves_away_from_it() {
    needs!(is_root(), "loading eBPF programs needs root");
    let cgroup = Cgroup::new("rule");
    cgroup.limit(64 * MIB);
    let config = "[workload]\nstat_interval = \"1s\"\n[[rule]]\nalert = \"WorkloadMemoryNearLimit\"\nabove = 0.7\nclear = 0.5\nfor = \"1s\"\n";
    let agent = Agent::start(config);
    let labels = [("alert", "WorkloadMemoryNearLimit"), ("workload", cgroup.path.as_str()), ("severity", "warning")];
    assert!(!agent.settle().has("headroom_alerts", &labels));

    let mut holder = Killed(provoke!(&cgroup, &["sleeper", &format!("anon={}", 52 * MIB)]));
    await_ready(&mut holder.0);
    let fires = agent.scrape_until("the alert fires", |page| page.has("headroom_alerts", &labels));
    assert_eq!(fires.values("headroom_alerts", &labels), [1.0]);
    let fired = [("alert", "WorkloadMemoryNearLimit")];
    assert!(fires.sum("headroom_alerts_fired_total", &fired) >= 1.0);
    let sentence = format!("{} uses ", cgroup.path);
    agent.await_log(&[&sentence, "Firing"]);

    drop(holder);
    agent.scrape_until("the alert is over", |page| !page.has("headroom_alerts", &labels));
    agent.await_log(&[&sentence, "Resolved"]);

    // Replaying the same samples gives the same alerts.
    let record = agent.directory().join("record.jsonl");
    let (config, copy) = (agent.directory().join("headroom.toml"), agent.directory().join("copy.jsonl"));
    agent.signal(Signal::STOP);
    std::fs::copy(&record, &copy).unwrap();
    let mut replay = collector_tests::agent::headroom("replay");
    let output = replay.arg("--events").arg("--config").arg(&config).arg(&copy).output().unwrap();
    agent.signal(Signal::CONT);
    let events = String::from_utf8(output.stdout).unwrap();
    let reported = |state: &str| {
        let line = |line: &&str| line.contains(&sentence) && line.contains(&format!("\"state\":\"{state}\""));
        events.lines().filter(line).count()
    };
    assert_eq!((reported("firing"), reported("resolved")), (1, 1), "{events}");
}

#[test]
fn a_cgroup_without_an_oom_killer_is_frozen_and_not_near_a_kill() {
    needs!(is_root(), "loading eBPF programs needs root");
    let cgroup = Cgroup::new("frozen");
    applies!(!cgroup.is_v2(), "cgroup v2 always has its OOM killer");
    cgroup.limit(16 * MIB);
    std::fs::write(cgroup.memory().join("memory.oom_control"), "1").unwrap();
    let soon = |alert: &str| format!("[[rule]]\nalert = \"{alert}\"\nfor = \"1s\"\n");
    let rules = soon("WorkloadFrozen") + &soon("WorkloadMemoryNearLimit");
    let agent = Agent::start(&format!("[workload]\nstat_interval = \"1s\"\n{rules}"));
    let alert = |name| [("alert", name), ("workload", cgroup.path.as_str())];

    let hog = Killed(provoke!(&cgroup, &["hog", &format!("anon={}", 64 * MIB)]));
    let page = agent.scrape_until("the alert fires", |page| page.has("headroom_alerts", &alert("WorkloadFrozen")));
    assert!(!page.has("headroom_alerts", &alert("WorkloadMemoryNearLimit")), "{}", page.text);
    let control = std::fs::read_to_string(cgroup.memory().join("memory.oom_control")).unwrap();
    assert!(control.contains("under_oom 1"), "{control}");
    assert_eq!(cgroup.kills(), 0);
    drop(hog);
    agent.scrape_until("it ends", |page| !page.has("headroom_alerts", &alert("WorkloadFrozen")));
}

#[test]
fn a_containers_full_shared_memory_has_its_name() {
    needs!(is_root(), "loading eBPF programs needs root");
    // As Docker mounts it.
    let id = "5a".repeat(32);
    let folder = scratch();
    let volume = Mount::tmpfs_at(&folder.join(format!("containers/{id}/mounts/shm")), "size=1m");
    needs!(volume.is_ok(), volume.as_ref().err().map_or("", String::as_str));
    let volume = volume.unwrap();
    let agent =
        Agent::start("[filesystem]\ninterval = \"1s\"\n[[rule]]\nalert = \"WorkloadFilesystemFull\"\nfor = \"1s\"\n");
    let owner = [("workload", "docker/5a5a5a5a5a5a"), ("mountpoint", "/dev/shm")];
    let used = |page: &Exposition| page.values("headroom_workload_tmpfs_used_ratio", &owner);
    agent.scrape_until("it is read", |page| used(page) == [0.0]);
    // The kernel refuses what does not fit.
    assert!(std::fs::write(volume.0.join("full"), vec![7; 2 * MIB as usize]).is_err());
    let alert = [("alert", "WorkloadFilesystemFull"), owner[0], owner[1]];
    let page = agent.scrape_until("the alert fires", |page| page.has("headroom_alerts", &alert));
    assert_eq!(used(&page), [1.0]);
    agent.await_log(&["/dev/shm of docker/5a5a5a5a5a5a is 100% full", "Firing"]);
}
