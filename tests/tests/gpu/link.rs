//! What PCIe counters of 32 bits may cost: with a driver whose answers take CPU time, they are replaced by windows.

use std::fs;

use collector_tests::agent::headroom;
use collector_tests::exposition::Exposition;
use collector_tests::needs;
use collector_tests::nvml::{Nvml, host, up};
use collector_tests::require::is_root;
use serde_json::json;

const TO: (&str, &str) = ("direction", "host_to_device");
const FROM: (&str, &str) = ("direction", "device_to_host");
const BYTES: &str = "headroom_gpu_pcie_bytes_total";
const METHOD: &str = "headroom_gpu_pcie_method";
const COUNTERS: (&str, &str) = ("method", "counters");
const WINDOWS: (&str, &str) = ("method", "windows");

/// A GPU whose counters wrap, and tell of twice as many bytes to the GPU as from it; windows tell of four times as many.
fn narrow(spin_ms: u64) -> Nvml {
    let mut nvml = host(&["GPU-a"]);
    let pcie = &mut nvml.scenario["gpus"][0]["pcie"];
    pcie["bits"] = json!(32);
    pcie["counters"] = json!([{"base": 5, "rate": 1e6}, {"base": 5, "rate": 2e6}]);
    pcie["throughput"] = json!([1_000_000, 4_000_000]);
    nvml.scenario["gpus"][0]["calls"] = json!({"nvmlDeviceGetFieldValues": {"spin_ms": spin_ms}});
    nvml.apply();
    nvml
}

/// With rounds so far apart that counters must be read between them.
fn config(nvml: &Nvml, budget: &str) -> String {
    format!("[gpu]\nlibrary = {:?}\ninterval = \"1s\"\npcie_budget = {budget:?}\n", nvml.library())
}

fn ratio(seen: &Exposition) -> f64 {
    seen.sum(BYTES, &[TO]) / seen.sum(BYTES, &[FROM])
}

fn uses(method: (&'static str, &'static str)) -> impl Fn(&Exposition) -> bool {
    move |it| it.values(METHOD, &[method]) == [1.0] && it.sum(METHOD, &[]) == 1.0
}

#[test]
fn counters_that_cost_too_much_are_replaced_by_windows() {
    needs!(is_root(), "programs need root");
    let nvml = narrow(5);
    let agent = nvml.agent_of(&config(&nvml, "10ms"));
    let seen = agent.scrape_until("windows", uses(WINDOWS));
    let grown = |it: &Exposition, way| it.sum(BYTES, &[way]) - seen.sum(BYTES, &[way]);
    let later = agent.scrape_until("bytes of windows", |it| grown(it, FROM) > 1e9);
    let ratio = grown(&later, TO) / grown(&later, FROM);
    assert!((3.9..4.1).contains(&ratio), "{ratio}");
    assert_eq!(up(&later), Some(1.0));
    assert!(agent.log().contains("gpu.pcie_budget"), "{}", agent.log());
}

#[test]
fn counters_within_the_budget_stay() {
    needs!(is_root(), "programs need root");
    let nvml = narrow(5);
    let agent = nvml.agent_of(&config(&nvml, "500ms"));
    let seen = agent.scrape_until("bytes of counters", |it| it.sum(BYTES, &[FROM]) > 8e6);
    assert!((1.9..2.1).contains(&ratio(&seen)), "{}", ratio(&seen));
    assert!(uses(COUNTERS)(&seen), "{}", seen.text);
}

#[test]
fn where_there_are_no_windows_counters_stay_whatever_they_cost() {
    needs!(is_root(), "programs need root");
    let mut nvml = narrow(5);
    nvml.change("/gpus/0/pcie/throughput", json!(null));
    let agent = nvml.agent_of(&config(&nvml, "0s"));
    let seen = agent.scrape_until("bytes", |it| it.sum(BYTES, &[FROM]) > 8e6);
    assert!((1.9..2.1).contains(&ratio(&seen)), "{}", ratio(&seen));
    assert!(uses(COUNTERS)(&agent.scrape_until("the method", uses(COUNTERS))));
}

#[test]
fn the_doctor_says_what_counters_would_cost() {
    needs!(is_root(), "programs need root");
    for (spin_ms, budget, wanted) in [
        (5, "10ms", "PCIe bytes from windows of 20 ms instead of counters of 32 bits, which take"),
        (5, "1s", "PCIe bytes from counters of 32 bits, which take"),
    ] {
        let nvml = narrow(spin_ms);
        let (name, value) = nvml.environment();
        let file = nvml.library().with_file_name("headroom.toml");
        fs::write(&file, config(&nvml, budget)).unwrap();
        let output = headroom("doctor").arg("--config").arg(file).env(name, value).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.split_whitespace().collect::<Vec<_>>().join(" ").contains(wanted), "{said}");
    }
}
