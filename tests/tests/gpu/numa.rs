//! Where a GPU sits and where its workload's memory is: compared with the kernel's own files.

use std::fs;
use std::path::{Path, PathBuf};

use collector_tests::cgroup::Cgroup;
use collector_tests::nvml::host;
use collector_tests::process::Killed;
use collector_tests::require::is_root;
use collector_tests::{applies, needs, provoke};
use serde_json::json;

const A: (&str, &str) = ("uuid", "GPU-a");
const NODE: &str = "headroom_gpu_numa_node";
const HELD: &str = "headroom_workload_numa_memory_bytes";
/// What its process writes, in MiB.
const MIB: u64 = 64;

fn number(path: PathBuf) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Not of a device that belongs to no node: there it is negative.
fn node(device: &Path) -> Option<u64> {
    number(device.join("numa_node"))
}

fn lanes(device: &Path) -> Option<u64> {
    number(device.join("max_link_width")).filter(|lanes| (1..=32).contains(lanes))
}

#[test]
fn a_gpu_sits_where_the_kernel_says() {
    needs!(is_root(), "programs need root");
    let devices = fs::read_dir("/sys/bus/pci/devices").into_iter().flatten().flatten();
    // Of some the kernel says neither, as in a virtual machine.
    let said = |device: &PathBuf| usize::from(node(device).is_some()) + usize::from(lanes(device).is_some());
    let device = devices.map(|device| device.path()).max_by_key(said);
    applies!(device.is_some(), "this host has no PCI device");
    let device = device.unwrap();
    if said(&device) == 0 {
        eprintln!("the kernel says of no PCI device where it is or how wide its link: the agent must report neither");
    }
    let mut nvml = host(&["GPU-a"]);
    let bus_id = format!("0000{}", device.file_name().unwrap().to_str().unwrap().to_uppercase());
    nvml.scenario["gpus"][0]["bus_id"] = json!(bus_id);
    nvml.apply();
    let agent = nvml.agent();
    let seen = agent.scrape_until("the GPU", |it| it.has("headroom_gpu_info", &[A]));
    let values = |known: Option<u64>| known.into_iter().map(|number| number as f64).collect::<Vec<f64>>();
    assert_eq!(seen.values(NODE, &[A]), values(node(&device)), "{}", device.display());
    let card = seen.values("headroom_gpu_pcie_link_width", &[A, ("state", "card")]);
    assert_eq!(card, values(lanes(&device)), "{}", device.display());
}

#[test]
fn memory_is_told_by_node_where_there_are_several() {
    needs!(is_root(), "programs need root");
    let nodes = fs::read_to_string("/sys/devices/system/node/has_memory").unwrap_or_default();
    let several = nodes.trim().contains(['-', ',']);
    let cgroup = Cgroup::new("numa");
    let bind: &[&str] = if several { &["bind:1"] } else { &[] };
    let amount = format!("anon:{}:{}", MIB << 20, MIB << 20);
    let holder = Killed(provoke!(&cgroup, &[&["act"], bind, &[&amount, "stay"]].concat()));
    let mut nvml = host(&["GPU-a"]);
    nvml.scenario["gpus"][0]["processes"] = json!([{"pid": holder.0.id(), "bytes": 1 << 30}]);
    nvml.apply();
    let agent = nvml.agent_with("[models]\ninterval = \"500ms\"\n");
    let workload = [("workload", &*cgroup.path)];
    if several {
        let far = [workload[0], ("node", "1")];
        agent.scrape_until("its memory in node 1", |it| it.sum(HELD, &far) >= (MIB << 20) as f64);
    } else {
        let watched =
            |it: &collector_tests::exposition::Exposition| it.has("headroom_workload_gpu_memory_bytes", &workload);
        let seen = agent.scrape_until("the holder", watched);
        assert!(!seen.has(HELD, &[]), "one node has nothing to tell");
    }
}
