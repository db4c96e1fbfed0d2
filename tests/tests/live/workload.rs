//! `headroom workloads`, with an agent and without one, compared with the kernel's files and what the test does.

use std::fs;
use std::process::Command;

use collector_tests::agent::{Agent, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::process::Killed;
use collector_tests::provocation::await_ready;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use collector_tests::{needs, provoke};
use serde_json::Value;

const MIB: u64 = 1 << 20;
const HELD: u64 = 48 * MIB;
const LIMIT: u64 = 64 * MIB;

/// A process that holds memory until it is dropped.
fn holder(cgroup: &Cgroup) -> Killed {
    let mut child = provoke!(cgroup, &["sleeper", &format!("anon={HELD}")]);
    await_ready(&mut child);
    Killed(child)
}

/// Output with an agent that listens on this address.
fn workloads(listen: &str, arguments: &[&str]) -> String {
    let empty = scratch();
    fs::write(empty.join("empty.toml"), "").unwrap();
    let mut command = headroom("workloads");
    command.arg("--config").arg(empty.join("empty.toml")).args(["--listen", listen]).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The same as JSON, and this cgroup's workload in it.
fn json(listen: &str, cgroup: &Cgroup) -> (Value, Value) {
    let report: Value = serde_json::from_str(&workloads(listen, &["--json"])).unwrap();
    let found = report["workloads"].as_array().unwrap().iter().find(|row| row["cgroup"] == cgroup.path.as_str());
    let found = found.unwrap_or_else(|| panic!("{} is not in {report}", cgroup.path)).clone();
    (report, found)
}

fn assert_holds(row: &Value, cgroup: &Cgroup) {
    let name = if cgroup.is_v2() { "memory.current" } else { "memory.usage_in_bytes" };
    let reference: u64 = fs::read_to_string(cgroup.memory().join(name)).unwrap().trim().parse().unwrap();
    let memory = row["memory_bytes"].as_u64().unwrap();
    eprintln!("memory {memory}, reference {reference}, held {HELD}");
    assert!(memory.abs_diff(reference) <= reference / 50 && memory.abs_diff(HELD) <= HELD / 20, "{memory} {reference}");
    assert_eq!(row["memory_limit_bytes"], LIMIT);
    let used = row["memory_limit_used_ratio"].as_f64().unwrap();
    assert!((used - memory as f64 / LIMIT as f64).abs() < 1e-9);
}

#[test]
fn without_an_agent_the_cgroups_are_read() {
    needs!(is_root(), "making cgroups needs root");
    let cgroup = Cgroup::new("direct");
    cgroup.limit(LIMIT);
    let _holder = holder(&cgroup);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (report, row) = json(&nobody, &cgroup);
    assert_eq!(report["source"], "cgroups");
    assert_holds(&row, &cgroup);
    assert_eq!((&row["oom_kills"], row.get("reclaim_stalls")), (&0.into(), None));
    // It sleeps; on v1 it is in no CPU cgroup of its own, and then its CPU time is unknown.
    assert!(row["cpu_cores"].as_f64().is_none_or(|cores| cores < 0.5), "{row}");

    let table = workloads(&nobody, &["--sort", "used"]);
    let line = table.lines().find(|line| line.contains(&cgroup.path)).unwrap_or_else(|| panic!("{table}"));
    assert!(line.contains("64.0 MiB") && line.contains('–') && !line.contains('\x1b'), "{table}");
}

#[test]
fn a_running_agent_is_asked_and_knows_kills_and_stalls() {
    needs!(is_root(), "loading eBPF programs needs root");
    let cgroup = Cgroup::new("asked");
    cgroup.limit(LIMIT);
    let agent = Agent::start("tick = \"100ms\"\n");
    let mut hog = Command::new(env!("CARGO_BIN_EXE_provoke"));
    let _ = cgroup.spawn(hog.args(["hog", &format!("anon={}", 2 * LIMIT)])).wait();
    let _holder = holder(&cgroup);
    agent.settle();
    let (report, row) = json(&agent.address, &cgroup);
    assert_eq!(report["source"], "agent");
    assert_holds(&row, &cgroup);
    assert_eq!(row["oom_kills"], cgroup.kills());
    assert_eq!(cgroup.kills(), 1);
    assert!(row["reclaim_stalls"].as_u64().unwrap() >= 1, "{row}");
    assert_eq!(row.get("agent"), None);
    // The test and its agent are in the same cgroup.
    let own: Vec<&Value> = report["workloads"].as_array().unwrap().iter().filter(|row| row["agent"] == true).collect();
    let [own] = own.as_slice() else { panic!("{own:?}") };
    let mine = fs::read_to_string("/proc/self/cgroup").unwrap();
    let path = own["cgroup"].as_str().unwrap();
    assert!(
        mine.lines().any(|line| line.split(':').nth(2).is_some_and(|mine| mine.starts_with(path))),
        "{path}\n{mine}"
    );
}
