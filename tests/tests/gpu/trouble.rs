//! Drivers and GPUs that are missing, old, broken, lost during a call, or that hang: the built agent with a stand-in that plays
//! each. Everything else that the agent reports must continue.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use collector_tests::agent::{Agent, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::exposition::Exposition;
use collector_tests::nvml::{host, up};
use collector_tests::process::Killed;
use collector_tests::require::is_root;
use collector_tests::{applies, needs};
use serde_json::json;

const MEMORY: &str = "headroom_gpu_memory_bytes";
const HELD: &str = "headroom_workload_gpu_memory_bytes";
const BYTES: &str = "headroom_gpu_pcie_bytes_total";
const A: (&str, &str) = ("uuid", "GPU-a");
const B: (&str, &str) = ("uuid", "GPU-b");
/// `NVML_ERROR_GPU_IS_LOST`
const LOST: u32 = 15;

fn kernel(exposition: &Exposition) -> f64 {
    exposition.sum("headroom_source_up", &[("source", "kernel")])
}

#[test]
fn without_a_library_nothing_is_read_or_logged_unless_gpus_are_required() {
    needs!(is_root(), "programs need root");
    let doctor = String::from_utf8(headroom("doctor").output().unwrap().stdout).unwrap();
    applies!(doctor.contains("libnvidia-ml.so.1 was not found"), "it has a driver's library");
    let agent = Agent::start("tick = \"100ms\"\n[gpu]\ninterval = \"50ms\"\n");
    let seen = agent.settle();
    assert_eq!((up(&seen), kernel(&seen)), (None, 1.0));
    assert!(!seen.text.contains("headroom_gpu_"), "{}", seen.text);
    assert!(!agent.log().contains("GPU"), "{}", agent.log());
    let agent = Agent::start("tick = \"100ms\"\n[gpu]\nenabled = \"on\"\n");
    let seen = agent.scrape_until("the lack", |it| up(it) == Some(0.0));
    assert_eq!(kernel(&seen), 1.0);
    assert!(agent.log().contains("libnvidia-ml.so.1 was not found"), "{}", agent.log());
}

/// A driver from before these functions.
#[test]
fn an_old_driver_gives_the_numbers_that_it_has() {
    needs!(is_root(), "programs need root");
    let nvml = host(&["GPU-a"]);
    for function in [
        "nvmlDeviceGetFieldValues",
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetGraphicsRunningProcesses_v3",
        "nvmlDeviceGetRemappedRows",
        "nvmlDeviceGetMigMode",
        "nvmlEventSetCreate",
        "nvmlDeviceGetTotalEnergyConsumption",
    ] {
        nvml.without(function);
    }
    let agent = nvml.agent();
    let seen = agent.scrape_until("the GPU", |it| it.has(MEMORY, &[A]));
    assert_eq!(up(&seen), Some(1.0), "{}", agent.log());
    assert_eq!(seen.values("headroom_gpu_power_watts", &[A]), [312.5]);
    for name in
        [BYTES, HELD, "headroom_gpu_remapped_rows_total", "headroom_gpu_mig", "headroom_gpu_energy_joules_total"]
    {
        assert!(!seen.has(name, &[]), "{name} is not unknown but {:?}", seen.values(name, &[]));
    }
}

/// Whichever call finds the GPU lost: none of its series stays, not even values that were read before, and the next GPU is
/// still read.
#[test]
fn a_gpu_lost_during_a_round_takes_all_of_its_series_and_nothing_else() {
    needs!(is_root(), "programs need root");
    let mut nvml = host(&["GPU-a", "GPU-b"]);
    let agent = nvml.agent();
    for function in [
        "nvmlDeviceGetTotalEnergyConsumption",
        "nvmlDeviceGetFieldValues",
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetMemoryInfo_v2",
    ] {
        let both = |it: &Exposition| it.has(MEMORY, &[A]) && it.has(MEMORY, &[B]) && up(it) == Some(1.0);
        agent.scrape_until("both", both);
        nvml.change("/gpus/0/calls", json!({function: {"error": LOST, "sleep_ms": 30}}));
        let seen = agent.scrape_until("the loss", |it| !it.has(MEMORY, &[A]) && up(it) == Some(0.0));
        let left = seen.text.lines().find(|line| line.contains("uuid=\"GPU-a\"") && line.starts_with("headroom_gpu_"));
        assert_eq!(left, None, "{function}");
        assert!(seen.has(MEMORY, &[B]) && kernel(&seen) == 1.0, "{function}: {}", seen.text);
        nvml.change("/gpus/0/calls", json!({}));
    }
}

/// Whichever call hangs, at the start or later: everything else continues, the agent reports the call, and exits when it is
/// stopped.
#[test]
fn whichever_call_hangs_the_agent_continues_and_stops_on_request() {
    needs!(is_root(), "programs need root");
    for (function, call) in [
        ("nvmlInit_v2", "start"),
        ("nvmlDeviceGetCount_v2", "count"),
        ("nvmlDeviceGetFieldValues", "PCIe counters"),
        ("nvmlGpmSampleGet", "PCIe averages"),
        ("nvmlDeviceGetComputeRunningProcesses_v3", "compute processes"),
        ("nvmlEventSetWait_v2", "events"),
    ] {
        let mut nvml = host(&["GPU-a"]);
        nvml.scenario["gpus"][0]["pcie"]["bits"] = json!(32);
        nvml.scenario["gpus"][0]["pcie"]["averaged"] = json!([{}, {}]);
        nvml.change("/calls", json!({function: {"hang": true}}));
        let agent = nvml.agent();
        let seen = agent.scrape_until(function, |it| up(it) == Some(0.0));
        assert_eq!(kernel(&seen), 1.0, "{function}");
        assert!(!seen.has(MEMORY, &[]), "{function}");
        assert!(agent.log().contains(&format!("NVML does not answer: {call}")), "{function}: {}", agent.log());
        agent.stop();
    }
}

/// A sleeping process in a cgroup.
fn sleeper(cgroup: &Cgroup) -> Killed {
    // It must not hold the test's output open: a reader would wait for its end.
    let [input, output, error] = [(); 3].map(|()| Stdio::null());
    Killed(cgroup.spawn(Command::new("sleep").arg("600").stdin(input).stdout(output).stderr(error)))
}

/// One with this pid.
fn numbered(cgroup: &Cgroup, pid: u32) -> Option<Killed> {
    (0..100).find_map(|_| {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).ok()?;
        Some(sleeper(cgroup)).filter(|sleeper| sleeper.0.id() == pid)
    })
}

#[test]
fn a_reused_pid_is_assigned_to_the_new_workload() {
    needs!(is_root(), "programs need root");
    applies!(Path::new("/proc/sys/kernel/ns_last_pid").exists(), "its kernel does not allow choosing a pid");
    let [one, two] = ["gpu-before", "gpu-after"].map(Cgroup::new);
    let first = sleeper(&one);
    let pid = first.0.id();
    let mut nvml = host(&["GPU-a"]);
    nvml.scenario["gpus"][0]["processes"] = json!([{"pid": pid, "bytes": 77}]);
    nvml.apply();
    let agent = nvml.agent();
    let held = |it: &Exposition, cgroup: &Cgroup| it.values(HELD, &[A, ("workload", &cgroup.path)]);
    agent.scrape_until("the first", |it| held(it, &one) == [77.0]);
    drop(first);
    let second = numbered(&two, pid);
    assert!(second.is_some(), "no process got the pid {pid}");
    // The first list after the reuse shows it, and each one after that.
    agent.scrape_until("the second", |it| held(it, &two) == [77.0]);
    for _ in 0..5 {
        let seen = agent.settle();
        assert_eq!((held(&seen, &one), held(&seen, &two)), (Vec::new(), vec![77.0]));
    }
    agent.stop();
}
