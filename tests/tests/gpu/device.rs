//! GPUs: the built agent with a library that has NVML's C interface and no GPU. What it publishes is compared with the
//! library's answers. No hardware is tested here.

use std::fs;
use std::process::{Child, Command};

use collector_tests::agent::headroom;
use collector_tests::cgroup::Cgroup;
use collector_tests::exposition::Exposition;
use collector_tests::needs;
use collector_tests::nvml::{Nvml, host, up};
use collector_tests::require::is_root;
use serde_json::json;

const TO: (&str, &str) = ("direction", "host_to_device");
const FROM: (&str, &str) = ("direction", "device_to_host");
const BYTES: &str = "headroom_gpu_pcie_bytes_total";
const MEMORY: &str = "headroom_gpu_memory_bytes";
const HELD: &str = "headroom_workload_gpu_memory_bytes";
const A: (&str, &str) = ("uuid", "GPU-a");
const B: (&str, &str) = ("uuid", "GPU-b");

/// A process in a cgroup, which kills it when dropped.
fn sleeper(cgroup: &Cgroup) -> Child {
    cgroup.spawn(Command::new("sleep").arg("600"))
}

#[test]
fn every_number_is_the_librarys() {
    needs!(is_root(), "programs need root");
    let nvml = host(&["GPU-a"]);
    let agent = nvml.agent();
    let seen = agent.scrape_until("the link's use", |it| it.has("headroom_gpu_pcie_link_used_ratio", &[A]));
    let info = [A, ("gpu", "0"), ("model", "Stand-in H100"), ("driver", "555.42")];
    assert_eq!(seen.values("headroom_gpu_info", &info), [1.0]);
    for (name, label, value) in [
        (MEMORY, Some(("state", "total")), (80u64 << 30) as f64),
        (MEMORY, Some(("state", "used")), (10u64 << 30) as f64),
        (MEMORY, Some(("state", "reserved")), (1u64 << 30) as f64),
        (MEMORY, Some(("state", "free")), (69u64 << 30) as f64),
        ("headroom_gpu_utilization_ratio", None, 0.37),
        ("headroom_gpu_memory_utilization_ratio", None, 0.12),
        ("headroom_gpu_temperature_celsius", None, 61.0),
        ("headroom_gpu_power_watts", None, 312.5),
        ("headroom_gpu_power_limit_watts", None, 350.0),
        ("headroom_gpu_energy_joules_total", None, 5.0),
        ("headroom_gpu_clock_hertz", Some(("clock", "memory")), 1593e6),
        ("headroom_gpu_throttle", Some(("reason", "sw_power_cap")), 1.0),
        ("headroom_gpu_throttle", Some(("reason", "hw_slowdown")), 0.0),
        ("headroom_gpu_ecc_errors_total", Some(("kind", "corrected")), 3.0),
        ("headroom_gpu_ecc_errors_total", Some(("kind", "uncorrected")), 1.0),
        ("headroom_gpu_remapped_rows_total", Some(("kind", "correctable")), 2.0),
        ("headroom_gpu_row_remap_pending", None, 1.0),
        ("headroom_gpu_row_remap_failed", None, 0.0),
        ("headroom_gpu_pcie_link_generation", Some(("state", "current")), 4.0),
        ("headroom_gpu_pcie_link_width", Some(("state", "max")), 16.0),
        ("headroom_gpu_pcie_replays_total", None, 2.0),
        ("headroom_gpu_mig", None, 0.0),
    ] {
        let labels: Vec<_> = [A].into_iter().chain(label).collect();
        assert_eq!(seen.values(name, &labels), [value], "{name} {label:?}");
    }
    let link = seen.sum("headroom_gpu_pcie_link_bytes_per_second", &[A]);
    assert!((31.5e9..31.6e9).contains(&link), "{link}");
    assert_eq!(up(&seen), Some(1.0));
    assert!(!seen.has("headroom_gpu_xid_errors_total", &[]));
}

/// JSON of a verb that finds no agent and this library.
fn without_agent(nvml: &Nvml, verb: &str) -> serde_json::Value {
    let folder = collector_tests::scratch::scratch();
    let config = folder.join("headroom.toml");
    fs::write(&config, nvml.config()).unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (name, value) = nvml.environment();
    let mut command = headroom(verb);
    command.args(["--json", "--listen", &nobody]).arg("--config").arg(&config).env(name, value);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn without_an_agent_the_driver_is_asked_and_one_that_hangs_delays_nothing_else() {
    let mut nvml = host(&["GPU-a", "GPU-b"]);
    for verb in ["gpus", "status"] {
        let said = without_agent(&nvml, verb);
        let gpus = said["gpus"].as_array().unwrap();
        assert_eq!(gpus.iter().map(|gpu| &gpu["uuid"]).collect::<Vec<_>>(), ["GPU-a", "GPU-b"], "{verb}: {said}");
        for (field, value) in [
            ("memory_used_bytes", json!(10u64 << 30)),
            ("utilization_ratio", json!(0.37)),
            ("temperature_celsius", json!(61.0)),
            ("power_watts", json!(312.5)),
            ("pcie_width", json!(16)),
            ("compute_capability", json!("9.0")),
        ] {
            assert_eq!(gpus[0][field], value, "{verb}: {field}");
        }
    }
    nvml.change("/calls", json!({"nvmlDeviceGetCount_v2": {"hang": true}}));
    let said = without_agent(&nvml, "status");
    assert_eq!(said["gpus"], json!([]));
    assert!(said["memory"]["used_ratio"].is_number(), "{said}");
}

#[test]
fn bytes_are_counted_in_both_directions_and_across_a_wrap() {
    needs!(is_root(), "programs need root");
    for (bits, start) in [(64, 7u64 << 40), (32, (1 << 32) - 5_000), (33, (1 << 32) - 5_000)] {
        let mut nvml = host(&["GPU-a"]);
        nvml.scenario["gpus"][0]["pcie"]["bits"] = json!(bits);
        nvml.scenario["gpus"][0]["pcie"]["counters"] = json!([{"base": start}, {"base": start}]);
        nvml.apply();
        let agent = nvml.agent();
        agent.scrape_until("a counter", |it| it.has(BYTES, &[A]));
        // The GPU sends what goes from device to host.
        nvml.change("/gpus/0/pcie/counters", json!([{"base": start + 9_000}, {"base": start + 70_000}]));
        let seen = agent.scrape_until("bytes", |it| it.sum(BYTES, &[A, TO]) > 0.0 && it.sum(BYTES, &[A, FROM]) > 0.0);
        assert_eq!([TO, FROM].map(|way| seen.sum(BYTES, &[A, way])), [70_000.0, 9_000.0], "{bits} bits");
        assert_eq!(seen.lost("gpu_pcie"), 0.0, "{bits} bits");
    }
}

/// The two sources give different numbers, so the bytes show which one is used.
#[test]
fn counters_that_wrap_are_replaced_by_averages_while_there_are_any() {
    needs!(is_root(), "programs need root");
    let ratio = |it: &Exposition| it.sum(BYTES, &[A, TO]) / it.sum(BYTES, &[A, FROM]);
    for (bits, wanted) in [(32, 4.0), (33, 4.0), (64, 0.5)] {
        let mut nvml = host(&["GPU-a"]);
        let start = u64::from(u32::MAX) - 100_000;
        let counters =
            |sent: f64, received: f64| json!([{"base": start, "rate": sent}, {"base": start, "rate": received}]);
        nvml.scenario["gpus"][0]["pcie"]["bits"] = json!(bits);
        nvml.scenario["gpus"][0]["pcie"]["counters"] = counters(2e6, 1e6);
        // More than a 32-bit counter can count in a round.
        nvml.scenario["gpus"][0]["pcie"]["averaged"] = counters(5e9, 20e9);
        nvml.apply();
        let agent = nvml.agent();
        let most = if bits == 64 { 1e6 } else { 10e9 };
        let seen = agent.scrape_until("bytes", |it| it.sum(BYTES, &[A, FROM]) > most);
        assert!((ratio(&seen) / wanted - 1.0).abs() < 0.05, "{bits} bits: {}", ratio(&seen));
        assert_eq!(seen.lost("gpu_pcie"), 0.0, "{bits} bits");
        if bits != 64 {
            let share = seen.sum("headroom_gpu_pcie_link_used_ratio", &[A, TO]);
            assert!((0.5..0.8).contains(&share), "{share}");
            // From now on averages are refused.
            nvml.change("/calls", json!({"nvmlGpmSampleGet": {"error": 3}}));
            let seen = agent.settle();
            let later =
                agent.scrape_until("counters", |it| it.sum(BYTES, &[A, FROM]) > seen.sum(BYTES, &[A, FROM]) + 1e6);
            let grown = later.sum(BYTES, &[A]) - seen.sum(BYTES, &[A]);
            assert!(grown < 1e9, "{bits} bits: {grown} more");
            assert_eq!(up(&later), Some(1.0));
        }
    }
}

#[test]
fn more_bytes_than_the_link_can_carry_are_counted_as_doubtful_only() {
    needs!(is_root(), "programs need root");
    let mut nvml = host(&["GPU-a"]);
    let agent = nvml.agent();
    agent.scrape_until("a counter", |it| it.has(BYTES, &[A]));
    let lost = |it: &Exposition| it.lost("gpu_pcie");
    for counters in [json!([{"base": 1000}, {"base": 1u64 << 50}]), json!([{"base": 1000}, {"base": 1u64 << 40}])] {
        let before = lost(&agent.scrape());
        nvml.change("/gpus/0/pcie/counters", counters);
        let seen = agent.scrape_until("the doubt", |it| lost(it) > before);
        assert_eq!(seen.sum(BYTES, &[A]), 0.0);
    }
}

#[test]
fn without_counters_the_link_is_measured_and_impossible_values_are_left_out() {
    needs!(is_root(), "programs need root");
    let mut nvml = host(&["GPU-a"]);
    // 1 GB/s from the GPU; in the other direction a thousand times what the link can carry.
    nvml.scenario["gpus"][0]["pcie"]["counters"] = json!(null);
    nvml.scenario["gpus"][0]["pcie"]["throughput"] = json!([1_000_000, 3_000_000_000u32]);
    nvml.apply();
    let agent = nvml.agent();
    let seen = agent.scrape_until("bytes", |it| it.sum(BYTES, &[A, FROM]) > 1e8);
    assert_eq!(seen.values(BYTES, &[A, TO]), [0.0]);
    assert!(seen.lost("gpu_pcie") > 0.0);
    let share = seen.sum("headroom_gpu_pcie_link_used_ratio", &[A, FROM]);
    assert!(share <= 1.0, "{share}");
}

#[test]
fn memory_belongs_to_the_workload_of_the_process_that_holds_it() {
    needs!(is_root(), "programs need root");
    let cgroups = [Cgroup::new("gpu-one"), Cgroup::new("gpu-two")];
    let [one, two] = cgroups.each_ref().map(|cgroup| sleeper(cgroup).id());
    let mut nvml = host(&["GPU-a", "GPU-b"]);
    let gone = u32::MAX / 4;
    nvml.scenario["gpus"][0]["processes"] =
        json!([{"pid": one, "bytes": 5000}, {"pid": two, "bytes": 70}, {"pid": gone, "bytes": 3}]);
    // A process that computes and draws is in both lists.
    nvml.scenario["gpus"][0]["graphics"] = json!([{"pid": one, "bytes": 5000}]);
    nvml.scenario["gpus"][1]["processes"] = json!([{"pid": one, "bytes": 11}, {"pid": two}]);
    nvml.apply();
    let agent = nvml.agent();
    let workload = |cgroup: &Cgroup| ("workload".to_owned(), cgroup.path.clone());
    let [one_name, two_name] = cgroups.each_ref().map(workload);
    let [one_label, two_label] = [("workload", &*one_name.1), ("workload", &*two_name.1)];
    let seen = agent.scrape_until("the holders", |it| it.has(HELD, &[A, one_label]) && it.has(HELD, &[B, one_label]));
    assert_eq!(seen.values(HELD, &[A, one_label]), [5000.0]);
    assert_eq!(seen.values(HELD, &[A, two_label]), [70.0]);
    assert_eq!(seen.values(HELD, &[B, one_label]), [11.0]);
    assert!(!seen.has(HELD, &[B, two_label]), "absent if not available");
    assert_eq!(seen.values(HELD, &[A, ("workload", "other")]), [3.0], "of a process that is gone");
    nvml.change("/gpus/0/processes", json!([{"pid": two, "bytes": 71}]));
    nvml.change("/gpus/0/graphics", json!([]));
    agent.scrape_until("what is held now", |it| {
        !it.has(HELD, &[A, one_label]) && it.values(HELD, &[A, two_label]) == [71.0]
    });
}

#[test]
fn a_kill_shows_what_its_victim_held() {
    needs!(is_root(), "programs need root");
    let cgroup = Cgroup::new("gpu-kill");
    let holder = sleeper(&cgroup).id();
    let mut nvml = host(&["GPU-a"]);
    nvml.scenario["gpus"][0]["processes"] = json!([{"pid": holder, "bytes": 12345678}]);
    nvml.apply();
    let agent = nvml.agent();
    agent.scrape_until("the holder", |it| it.has(HELD, &[A, ("workload", &cgroup.path)]));
    cgroup.limit(8 << 20);
    let mut hog = cgroup.spawn(Command::new(env!("CARGO_BIN_EXE_provoke")).args(["hog", "anon=67108864"]));
    hog.wait().unwrap();
    agent.scrape_until("the kill", |it| it.sum("headroom_oom_kills_total", &[("workload", &cgroup.path)]) > 0.0);
    agent.settle();
    let log = agent.log();
    let line = log.lines().find(|line| line.contains("OOM kill of") && line.contains(&cgroup.path)).unwrap();
    assert!(line.contains("12345678 bytes of the workload"), "{line}");
}

#[test]
fn mig_devices_are_gpus_with_a_parent() {
    needs!(is_root(), "programs need root");
    let cgroup = Cgroup::new("gpu-mig");
    let process = sleeper(&cgroup).id();
    let mut nvml = host(&["GPU-a"]);
    let part = |uuid: &str, instance: u32| {
        json!({"uuid": uuid, "name": "Stand-in MIG", "instance": [instance, 0],
            "memory": {"total": 100, "used": 40, "reserved": 10}, "processes": []})
    };
    nvml.scenario["gpus"][0]["mig"] = json!([part("MIG-x", 1), part("MIG-y", 2)]);
    nvml.scenario["gpus"][0]["mig"][1]["processes"] = json!([{"pid": process, "bytes": 33}]);
    nvml.apply();
    let agent = nvml.agent();
    let seen = agent
        .scrape_until("the parts", |it| it.has(HELD, &[("uuid", "MIG-y")]) && it.has(MEMORY, &[("uuid", "MIG-x")]));
    assert_eq!(seen.values("headroom_gpu_info", &[("uuid", "MIG-y"), ("parent", "GPU-a"), ("gpu", "0:1")]), [1.0]);
    assert_eq!(seen.values(MEMORY, &[("uuid", "MIG-x"), ("state", "free")]), [50.0]);
    assert_eq!(seen.values(HELD, &[("uuid", "MIG-y"), ("workload", &cgroup.path)]), [33.0]);
    assert_eq!(seen.values(HELD, &[("workload", &cgroup.path)]), [33.0], "and it is counted once");
    assert_eq!(seen.values("headroom_gpu_mig", &[A]), [1.0]);
    assert!(!seen.has("headroom_gpu_utilization_ratio", &[("uuid", "MIG-x")]));
}

#[test]
fn errors_are_counted_by_code() {
    needs!(is_root(), "programs need root");
    let mut nvml = host(&["GPU-a", "GPU-b"]);
    let agent = nvml.agent();
    agent.scrape_until("the GPUs", |it| it.has(MEMORY, &[B]));
    nvml.change("/xids", json!([{"gpu": 1, "code": 79}, {"gpu": 0, "code": 31}, {"gpu": 1, "code": 79}]));
    let xids = "headroom_gpu_xid_errors_total";
    let seen = agent.scrape_until("the errors", |it| it.sum(xids, &[]) >= 3.0);
    assert_eq!(seen.values(xids, &[B, ("xid", "79")]), [2.0]);
    assert_eq!(seen.values(xids, &[A, ("xid", "31")]), [1.0]);
}

#[test]
fn a_lost_gpu_vanishes_and_comes_back_and_the_other_stays() {
    needs!(is_root(), "programs need root");
    let mut nvml = host(&["GPU-a", "GPU-b"]);
    let agent = nvml.agent();
    agent.scrape_until("both", |it| it.has(MEMORY, &[A]) && it.has(MEMORY, &[B]) && up(it) == Some(1.0));
    // Every call returns NVML_ERROR_GPU_IS_LOST.
    nvml.change("/gpus/0/calls", json!({"*": {"error": 15}}));
    let seen = agent.scrape_until("the loss", |it| !it.has(MEMORY, &[A]) && up(it) == Some(0.0));
    assert!(seen.has(MEMORY, &[B]), "{}", seen.text);
    nvml.change("/gpus/0/calls", json!({}));
    agent.scrape_until("both again", |it| it.has(MEMORY, &[A]) && it.has(MEMORY, &[B]) && up(it) == Some(1.0));
    assert!(agent.log().contains("GPU 0"), "{}", agent.log());
}

#[test]
fn a_reloaded_driver_is_used_again() {
    needs!(is_root(), "programs need root");
    let mut nvml = host(&["GPU-a"]);
    let agent = nvml.agent();
    agent.scrape_until("the GPU", |it| it.has(MEMORY, &[A]));
    // NVML_ERROR_DRIVER_NOT_LOADED while it is gone.
    nvml.scenario["load"] = json!(1);
    nvml.change("/calls", json!({"nvmlInit_v2": {"error": 9}}));
    agent.scrape_until("the end of the driver", |it| !it.has(MEMORY, &[A]) && up(it) == Some(0.0));
    nvml.scenario["driver"] = json!("560.00");
    nvml.change("/calls", json!({}));
    agent.scrape_until("the new driver", |it| {
        it.has("headroom_gpu_info", &[A, ("driver", "560.00")]) && up(it) == Some(1.0)
    });
}

#[test]
fn a_driver_that_hangs_removes_its_series_and_nothing_else() {
    needs!(is_root(), "programs need root");
    let mut nvml = host(&["GPU-a"]);
    let agent = nvml.agent();
    agent.scrape_until("the GPU", |it| it.has(MEMORY, &[A]));
    nvml.change("/calls", json!({"nvmlDeviceGetPowerUsage": {"hang": true}}));
    let seen = agent.scrape_until("the hang", |it| !it.has(MEMORY, &[A]) && up(it) == Some(0.0));
    assert_eq!(seen.values("headroom_source_up", &[("source", "kernel")]), [1.0]);
    // Rounds continue.
    agent.settle();
    assert!(agent.log().contains("NVML does not answer: power"), "{}", agent.log());
    let threads = || {
        let tasks = fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap();
        let names = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default());
        names.filter(|name| name.trim() == "headroom-gpu").count()
    };
    assert!(threads() <= 4, "{}", threads());
    nvml.change("/calls", json!({}));
    agent.scrape_until("the GPU again", |it| it.has(MEMORY, &[A]) && up(it) == Some(1.0));
}

#[test]
fn unsupported_values_are_absent_and_the_doctor_says_why() {
    needs!(is_root(), "programs need root");
    let mut nvml = host(&["GPU-a"]);
    nvml.scenario["gpus"][0] =
        json!({"uuid": "GPU-a", "name": "Plain", "memory": {"total": 100, "used": 40, "reserved": 10}});
    nvml.apply();
    // An old driver, which has only the first version of this call.
    nvml.without("nvmlDeviceGetMemoryInfo_v2");
    let agent = nvml.agent();
    let seen = agent.scrape_until("the GPU", |it| it.has(MEMORY, &[A]));
    assert_eq!(seen.values(MEMORY, &[A, ("state", "used")]), [50.0]);
    assert!(!seen.has(MEMORY, &[A, ("state", "reserved")]));
    for name in [BYTES, HELD, "headroom_gpu_power_watts", "headroom_gpu_ecc_errors_total", "headroom_gpu_throttle"] {
        assert!(!seen.has(name, &[]), "{name}");
    }
    assert_eq!(up(&seen), Some(1.0));
    let said = doctor(&nvml);
    assert!(said.contains("GPU 0: Plain, without") && said.contains("power (the requested operation"), "{said}");
}

/// The doctor's text on GPUs.
fn doctor(nvml: &Nvml) -> String {
    let (name, value) = nvml.environment();
    let config = nvml.library().with_file_name("headroom.toml");
    fs::write(&config, nvml.config()).unwrap();
    let output = headroom("doctor").arg("--config").arg(config).env(name, value).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find(|line| line.starts_with("gpu")).unwrap_or(&text).to_owned()
}

#[test]
fn an_unusable_library_is_reported_with_the_reason() {
    needs!(is_root(), "programs need root");
    type Spoil = fn(&mut Nvml);
    let cases: [(Spoil, &str); 5] = [
        (|nvml| fs::remove_file(nvml.library()).unwrap(), "does not exist"),
        (|nvml| nvml.change("/calls", json!({"nvmlInit_v2": {"error": 9}})), "the driver is not loaded"),
        (|nvml| nvml.change("/calls", json!({"nvmlInit_v2": {"error": 18}})), "does not match the driver"),
        (|nvml| nvml.without("nvmlInit_v2"), "nvmlInit_v2"),
        // The machine type in the ELF header does not exist.
        (
            |nvml| {
                let mut bytes = fs::read(nvml.library()).unwrap();
                bytes[18..20].copy_from_slice(&[0xf0, 0x0f]);
                fs::write(nvml.library(), bytes).unwrap();
            },
            "cannot be loaded",
        ),
    ];
    for (spoil, why) in cases {
        let mut nvml = host(&["GPU-a"]);
        nvml.change("/calls", json!({}));
        spoil(&mut nvml);
        let said = doctor(&nvml);
        assert!(said.contains("missing") && said.contains(why), "{why}: {said}");
        let agent = nvml.agent();
        let seen = agent.scrape_until(why, |it| up(it) == Some(0.0));
        assert!(!seen.has(MEMORY, &[]));
        assert!(agent.log().contains(why), "{}", agent.log());
    }
}
