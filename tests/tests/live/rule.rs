//! Rules with the live kernel: a cgroup that comes close to its limit and recovers, in the log and in the metrics.

use std::time::{Duration, Instant};

use collector_tests::agent::{Agent, PATIENCE};
use collector_tests::cgroup::Cgroup;
use collector_tests::process::Killed;
use collector_tests::provocation::await_ready;
use collector_tests::require::is_root;
use collector_tests::{needs, provoke};
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
    await_log(&agent, &sentence, "Firing");

    drop(holder);
    agent.scrape_until("the alert is over", |page| !page.has("headroom_alerts", &labels));
    await_log(&agent, &sentence, "Resolved");

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

/// Waits for a line of the log with the sentence and the state.
fn await_log(agent: &Agent, sentence: &str, state: &str) {
    let deadline = Instant::now() + PATIENCE;
    let there = |log: String| log.lines().any(|line| line.contains(sentence) && line.contains(state));
    while !there(agent.log()) {
        assert!(Instant::now() < deadline, "{sentence}{state} is not in\n{}", agent.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}
