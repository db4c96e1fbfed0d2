//! Drivers and GPUs that are not there, old, broken, gone in the middle of a question or silent for ever: the unmodified
//! agent against a library that plays each. Everything else that the agent tells has to go on.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use collector_tests::agent::{Agent, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::exposition::Exposition;
use collector_tests::nvml::{host, up};
use collector_tests::require::is_root;
use collector_tests::{about, needs};
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
fn without_a_library_nothing_is_read_and_nothing_is_said_unless_it_is_asked_for() {
    needs!(is_root(), "programs need root");
    let doctor = String::from_utf8(headroom("doctor").output().unwrap().stdout).unwrap();
    about!(doctor.contains("libnvidia-ml.so.1 was not found"), "it has a driver's library");
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
fn an_old_driver_has_what_it_has() {
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

/// Whichever question it is that finds the GPU gone: nothing stays of it, not even what was answered before, and the next
/// GPU is asked all the same.
#[test]
fn a_gpu_that_falls_off_the_bus_in_the_middle_takes_all_of_its_own_along_and_nothing_else() {
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

/// Whichever call it is that never comes back, from the start or later: all else goes on, the agent says which it was, and
/// ends when it is told to.
#[test]
fn whatever_hangs_for_ever_the_agent_goes_on_and_ends_when_it_is_told_to() {
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

/// A process that sleeps in a cgroup; dropped, it ends.
struct Sleeper(Child);

impl Sleeper {
    fn new(cgroup: &Cgroup) -> Sleeper {
        // It must not hold on to what the test writes to: whoever waits for the end of that would wait for it.
        let [input, output, error] = [(); 3].map(|()| Stdio::null());
        Sleeper(cgroup.spawn(Command::new("sleep").arg("600").stdin(input).stdout(output).stderr(error)))
    }

    /// One of this very number.
    fn numbered(cgroup: &Cgroup, pid: u32) -> Option<Sleeper> {
        (0..100).find_map(|_| {
            fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).ok()?;
            Some(Sleeper::new(cgroup)).filter(|sleeper| sleeper.0.id() == pid)
        })
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_number_that_another_process_gets_is_not_the_old_ones() {
    needs!(is_root(), "programs need root");
    about!(Path::new("/proc/sys/kernel/ns_last_pid").exists(), "its kernel does not let a process's number be chosen");
    let [one, two] = ["gpu-before", "gpu-after"].map(Cgroup::new);
    let first = Sleeper::new(&one);
    let pid = first.0.id();
    let mut nvml = host(&["GPU-a"]);
    nvml.scenario["gpus"][0]["processes"] = json!([{"pid": pid, "bytes": 77}]);
    nvml.tell();
    let agent = nvml.agent();
    let held = |it: &Exposition, cgroup: &Cgroup| it.values(HELD, &[A, ("workload", &cgroup.path)]);
    agent.scrape_until("the first", |it| held(it, &one) == [77.0]);
    drop(first);
    let second = Sleeper::numbered(&two, pid);
    assert!(second.is_some(), "no process got the number {pid}");
    // The first list that was made since says it, and each after that.
    agent.scrape_until("the second", |it| held(it, &two) == [77.0]);
    for _ in 0..5 {
        let seen = agent.settle();
        assert_eq!((held(&seen, &one), held(&seen, &two)), (Vec::new(), vec![77.0]));
    }
    agent.stop();
}
