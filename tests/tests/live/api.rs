//! The API of a running agent: against its own description, and its numbers against the metrics.

use std::process::{Command, Stdio};
use std::time::Instant;

use collector_core::api::gpus::Gpus;
use collector_core::api::status::Status;
use collector_core::api::workloads::{Detail, Summary};
use collector_tests::agent::{Agent, PATIENCE, body, get};
use collector_tests::cgroup::Cgroup;
use collector_tests::exposition::Exposition;
use collector_tests::needs;
use collector_tests::nvml::host;
use collector_tests::process::Killed;
use collector_tests::require::{is_root, tools};

#[test]
fn schemathesis_finds_no_answer_that_differs_from_the_description() {
    needs!(is_root(), "loading eBPF programs needs root");
    needs!(tools().join("python/installed").is_file(), "schemathesis is not installed: cargo xtask setup");
    let agent = Agent::start_unrecorded("");
    let url = format!("http://{}/api/v1/openapi.json", agent.address);
    let output = Command::new(tools().join("python/venv/bin/schemathesis"))
        .args(["run", &url, "--checks", "all", "--phases", "examples,coverage,fuzzing", "--max-examples", "20"])
        // A busy machine may take its time for an answer: only one that never comes is an error.
        .args(["--request-timeout", "100"])
        .args(["--seed", "1", "--generation-database", "none", "--workers", "2", "--max-time", "25", "--no-color"])
        .current_dir(agent.directory())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // It says how many cases passed only if there were some.
    assert!(said.contains(" generated, "), "{said}");
    agent.stop();
}

#[test]
fn the_api_has_the_numbers_of_the_metrics_of_the_same_tick() {
    needs!(is_root(), "loading eBPF programs needs root");
    let nvml = host(&["GPU-a", "GPU-b"]);
    // On a host without any other.
    let cgroup = Cgroup::new("api");
    cgroup.limit(64 << 20);
    let _sleeps = Killed(cgroup.spawn(Command::new("sleep").arg("600")));
    let (name, scenario) = nvml.environment();
    let mut agent =
        Agent::spawn(&format!("tick = \"3s\"\n{}", nvml.config()), |command| _ = command.env(name, scenario));
    agent.await_ready();
    let deadline = Instant::now() + PATIENCE;
    let seen = loop {
        let seen = Seen::now(&agent);
        let known = seen.one("headroom_workload_memory_limit_bytes", &[("workload", &cgroup.path)]).is_some();
        if known && seen.gpus.gpus.len() == 2 && seen.gpus.gpus.iter().all(|gpu| gpu.power_watts.is_some()) {
            break seen;
        }
        assert!(Instant::now() < deadline, "no GPUs: {:?}", seen.gpus);
    };
    seen.compare_host();
    seen.compare_workloads();
    seen.compare_gpus();
    agent.stop();
}

#[test]
fn a_workload_has_its_processes() {
    needs!(is_root(), "loading eBPF programs needs root");
    let cgroup = Cgroup::new("members");
    let secret = "--api-key=secret";
    let script = ["-c", "printf 'a\\nb' >/proc/$$/comm; read _", secret];
    let piped = || {
        let mut command = Command::new("sh");
        command.args(script).stdin(Stdio::piped());
        command
    };
    let (one, other) = (Killed(cgroup.spawn(&mut piped())), Killed(cgroup.spawn(&mut piped())));
    let agent = Agent::start_unrecorded("");
    let deadline = Instant::now() + PATIENCE;
    let path = loop {
        let summary: Summary = serde_json::from_str(&body(&agent.address, "/api/v1/workloads", "")).unwrap();
        let found = summary.workloads.iter().find(|line| line.cgroup == cgroup.path);
        if let Some(line) = found {
            break format!("/api/v1/workloads/{}", line.workload.replace('/', "%2F"));
        }
        assert!(Instant::now() < deadline, "{summary:?}");
    };
    let processes = loop {
        let detail: Option<Detail> = serde_json::from_str(&get_body(&agent, &path)).ok();
        let processes = detail.and_then(|detail| detail.processes).unwrap_or_default();
        if processes.largest.iter().filter(|process| process.comm == "a\\x0ab").count() == 2 {
            break processes;
        }
        assert!(Instant::now() < deadline, "{processes:?}");
    };
    assert_eq!((processes.count, processes.missing.as_deref()), (Some(2), None), "{processes:?}");
    let mut pids: Vec<u32> = processes.largest.iter().map(|process| process.pid).collect();
    let mut expected = vec![one.0.id(), other.0.id()];
    pids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(pids, expected);
    for process in &processes.largest {
        // What the kernel itself says of it now.
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
        assert_eq!(process.resident_bytes, Some(resident * 1024), "{status}");
    }
    assert!(!get_body(&agent, &path).contains(secret), "command lines are nobody's business");
    drop((one, other));
    agent.stop();
}

#[test]
fn an_agent_that_is_always_late_answers() {
    needs!(is_root(), "loading eBPF programs needs root");
    let cgroup = Cgroup::new("many");
    let mut many = Vec::new();
    // The shortest tick that there is, and every cgroup has its turn at each.
    let agent = Agent::start_unrecorded("tick = \"10ms\"\n[workload]\nmax = 20000\nstat_interval = \"10ms\"\n");
    // Until a round takes longer than a tick: then the next one is always due.
    while !is_late(&agent) {
        assert!(many.len() < 15_000, "a round takes less than a tick: whether one that is late answers is not known");
        many.extend((many.len()..many.len() + 1500).map(|number| cgroup.child(&format!("c{number}"))));
    }
    agent.stop();
    drop(many);
}

/// Whether more than a tick of 10 ms is between the ticks of its answers: an answer comes within a few milliseconds, or after the round
/// that goes on.
fn is_late(agent: &Agent) -> bool {
    let time = || serde_json::from_str::<Status>(&body(&agent.address, "/api/v1/status", "")).unwrap().time;
    let times: Vec<u64> = (0..40).map(|_| time()).collect();
    let mut apart: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).filter(|apart| *apart > 0).collect();
    apart.sort_unstable();
    apart[apart.len() / 2] > 11_000_000
}

/// The body, whatever the status.
fn get_body(agent: &Agent, path: &str) -> String {
    get(&agent.address, path, "").split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned())
}

/// What the agent says within one snapshot.
struct Seen {
    status: Status,
    summary: Summary,
    gpus: Gpus,
    metrics: Exposition,
}

fn whole(number: Option<u64>) -> Option<f64> {
    number.map(|number| number as f64)
}

/// The same number: how this test parses JSON may change the last bit of a fraction.
fn same(one: Option<f64>, other: Option<f64>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() <= other.abs() * f64::EPSILON,
        (one, other) => one == other,
    }
}

impl Seen {
    /// An answer before and one after the others are the same.
    fn now(agent: &Agent) -> Seen {
        let address = &agent.address;
        loop {
            let before = body(address, "/api/v1/status", "");
            let (workloads, gpus) = (body(address, "/api/v1/workloads", ""), body(address, "/api/v1/gpus", ""));
            let metrics = body(address, "/metrics", "Accept: application/openmetrics-text; version=1.0.0\r\n");
            if body(address, "/api/v1/monitoring/status", "") == before {
                return Seen {
                    status: serde_json::from_str(&before).unwrap(),
                    summary: serde_json::from_str(&workloads).unwrap(),
                    gpus: serde_json::from_str(&gpus).unwrap(),
                    metrics: Exposition::parse(&metrics),
                };
            }
        }
    }

    fn one(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.metrics.values(name, labels).first().copied()
    }

    fn compare_host(&self) {
        let Status { memory, swap, gpus, .. } = &self.status;
        for (name, number) in [
            ("headroom_host_memory_total_bytes", whole(memory.total_bytes)),
            ("headroom_host_memory_available_bytes", whole(memory.available_bytes)),
            ("headroom_host_memory_free_bytes", whole(memory.free_bytes)),
            ("headroom_host_memory_cached_bytes", whole(memory.cached_bytes)),
            ("headroom_host_memory_anon_bytes", whole(memory.anon_bytes)),
            ("headroom_host_memory_used_ratio", memory.used_ratio),
            ("headroom_host_swap_free_bytes", whole(swap.free_bytes)),
            ("headroom_host_swap_used_ratio", swap.used_ratio),
        ] {
            let value = self.one(name, &[]);
            assert!(same(number, value), "{name}: {number:?}, {value:?}");
        }
        assert!(memory.total_bytes.is_some_and(|bytes| bytes > 0), "{memory:?}");
        assert_eq!(gpus, &self.gpus.gpus);
    }

    fn compare_workloads(&self) {
        let mut compared = 0;
        for line in &self.summary.workloads {
            for (name, number) in [
                ("headroom_workload_memory_current_bytes", whole(line.memory_bytes)),
                ("headroom_workload_memory_limit_bytes", whole(line.memory_limit_bytes)),
                ("headroom_workload_cpu_seconds_total", line.cpu_seconds),
            ] {
                // A workload that holds nothing has a line, but no series.
                if let Some(value) = self.one(name, &[("workload", &line.workload)]) {
                    assert!(same(number, Some(value)), "{name} of {}: {number:?}, {value}", line.workload);
                    compared += 1;
                }
            }
        }
        assert!(compared >= 2, "{compared}: {}", self.metrics.text);
    }

    fn compare_gpus(&self) {
        for gpu in &self.gpus.gpus {
            let uuid = ("uuid", gpu.uuid.as_str());
            for (name, label, number) in [
                ("headroom_gpu_memory_bytes", Some(("state", "used")), whole(gpu.memory_used_bytes)),
                ("headroom_gpu_memory_bytes", Some(("state", "total")), whole(gpu.memory_total_bytes)),
                ("headroom_gpu_memory_used_ratio", None, gpu.memory_used_ratio),
                ("headroom_gpu_utilization_ratio", None, gpu.utilization_ratio),
                ("headroom_gpu_temperature_celsius", None, gpu.temperature_celsius),
                ("headroom_gpu_power_watts", None, gpu.power_watts),
                ("headroom_gpu_pcie_link_bytes_per_second", None, whole(gpu.pcie_link_bytes_per_second)),
            ] {
                let labels: Vec<_> = [uuid].into_iter().chain(label).collect();
                let value = self.one(name, &labels);
                assert!(value.is_some() && same(number, value), "{name} {label:?}: {number:?}, {value:?}");
            }
        }
    }
}
