//! How many series a workload of this host has at the usual level of detail: one that sleeps, and one that works.

use std::collections::BTreeSet;
use std::process::Command;

use collector_tests::agent::{Agent, DETAIL};
use collector_tests::cgroup::Cgroup;
use collector_tests::exposition::Exposition;
use collector_tests::needs;
use collector_tests::process::Killed;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;

const CPU: &str = "headroom_workload_cpu_seconds_total";
const MIB: u64 = 1 << 20;

/// The series of a workload.
fn series(seen: &Exposition, workload: &str) -> BTreeSet<String> {
    let mine = seen.samples.iter().filter(|(_, labels, _)| labels.get("workload").is_some_and(|it| it == workload));
    mine.map(|(name, labels, _)| format!("{name}{labels:?}")).collect()
}

#[test]
fn an_idle_workload_has_few_series_and_a_busy_one_not_too_many() {
    needs!(is_root(), "programs need root");
    let [idle, busy] = ["level-idle", "level-busy"].map(Cgroup::everywhere);
    idle.limit(64 * MIB);
    let folder = scratch();
    let _sleeps = Killed(idle.spawn(Command::new("sleep").arg("600")));
    let agent = |level: &str| {
        let level = level.to_owned();
        let mut agent = Agent::spawn("tick = \"200ms\"\n[workload]\nstat_interval = \"1s\"\n", move |command| {
            match level.as_str() {
                "" => command.env_remove(DETAIL),
                level => command.env(DETAIL, level),
            };
        });
        agent.await_ready();
        agent
    };
    let usual = agent("");
    // From now on it writes, forks and faults.
    let script = format!("while :; do dd if=/dev/zero of={}/file bs=1M count=8 conv=fsync; done", folder.display());
    let _works = Killed(busy.spawn(Command::new("sh").args(["-c", &script]).stderr(std::process::Stdio::null())));
    let of_busy = ("workload", &*busy.path);
    let seen = usual.scrape_until("work", |it| {
        it.has(CPU, &[of_busy]) && it.sum("headroom_workload_page_faults_total", &[of_busy]) > 0.0
    });
    let (few, more) = (series(&seen, &idle.path), series(&seen, &busy.path));
    assert!(few.len() <= 12, "{few:#?}");
    assert!((15..=40).contains(&more.len()), "{more:#?}");
    for name in
        ["headroom_workload_info", "headroom_workload_memory_current_bytes", "headroom_workload_memory_limit_bytes"]
    {
        assert!(seen.has(name, &[("workload", &idle.path)]), "{name}: {few:#?}");
    }
    assert_eq!(seen.values("headroom_oom_kills_total", &[("workload", &idle.path)]), [0.0, 0.0]);
    assert!(!seen.samples.iter().any(|(name, ..)| name.ends_with("_created")));
    let states = seen.values("headroom_probe_state", &[]);
    assert!(states.len() > 30 && states.iter().all(|state| *state == 1.0), "{states:?}");
    // What was shown stays.
    let later = usual.settle();
    for (before, path) in [(&few, &idle.path), (&more, &busy.path)] {
        let now = series(&later, path);
        let gone: Vec<_> = before.difference(&now).filter(|series| !series.contains("_ratio{")).collect();
        assert!(gone.is_empty(), "{gone:?}");
    }
    drop(usual);
    let full = agent("full");
    let seen = full.scrape_until("everything", |it| it.has(CPU, &[("workload", &idle.path)]));
    assert!(series(&seen, &idle.path).len() > 2 * few.len(), "{:#?}", series(&seen, &idle.path));
    assert_eq!(seen.values("headroom_probe_state", &[]).len(), 6 * states.len());
}
