//! A host with more cgroups than `workload.max`, most of which hold nothing.

use std::fmt::Write as _;

use collector_core::stage::Stage;

use super::*;

const UID: &str = "2b6e1f3c-98aa-4b1d-9d7e-0123456789";

/// Mounts and scopes that were left behind, and pods with a container each.
fn crowd(units: usize, pods: usize) -> Tree {
    let mut manifest = "/proc/1/cgroup\n    0::/\n\
                        /proc/1/mountinfo\n    33 23 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
        .to_owned();
    let mut add = |path: String, bytes: u64, populated: u8| {
        let events = format!("/sys/fs/cgroup{path}/cgroup.events\n    populated {populated}\n    frozen 0\n");
        writeln!(manifest, "/sys/fs/cgroup{path} like v2-6.18\n    memory.current {bytes}\n{events}").unwrap();
    };
    for unit in 0..units {
        // What a mount leaves behind is some slab.
        let (name, bytes) = if unit % 2 == 0 { ("rootfs.mount", 212_992) } else { ("x.scope", 0) };
        add(format!("/system.slice/run-{unit:03}-{name}"), bytes, 0);
    }
    for pod in 0..pods {
        let path = format!("/kubepods/burstable/pod{UID}{pod:02}");
        add(path.clone(), 200 << 20, 1);
        add(format!("{path}/{}", format!("{pod:02}").repeat(32)), 100 << 20, 1);
    }
    Tree::plant(&manifest, |kernel| read(&folder().join("kernel").join(kernel)))
}

fn series(host: &Host, of: impl Fn(&str) -> bool) -> usize {
    let text = host.exposition();
    text.lines().filter(|line| line.starts_with("headroom_workload_memory_current_bytes{") && of(line)).count()
}

#[test]
fn empty_units_crowd_out_nobody_and_have_no_series() {
    let mut host = Host::with(crowd(120, 20), 10_000, 50);
    host.walk();
    for round in 0..3 {
        assert_eq!(host.read(), None);
        assert_eq!(series(&host, |line| line.contains("workload=\"pod")), 40, "{round}");
        let text = host.exposition();
        let of_units = |line: &&str| line.contains("\"run-") && !line.starts_with("headroom_workload_info{");
        assert_eq!(text.lines().find(of_units), None);
        assert_eq!(host.engine.view().coverage.lost(Stage::Workload), 0);
    }
    // A process comes to two of the units: they get places while there are any.
    for unit in ["run-000-rootfs.mount", "run-119-x.scope"] {
        host.tree.write(&format!("/sys/fs/cgroup/system.slice/{unit}/cgroup.events"), "populated 1\nfrozen 0\n");
        host.tree.write(&format!("/sys/fs/cgroup/system.slice/{unit}/memory.current"), "4194304\n");
    }
    for _ in 0..2 {
        assert_eq!(host.read(), None);
    }
    assert_eq!(series(&host, |line| line.contains("run-")), 2);
    assert_eq!(series(&host, |line| line.contains("workload=\"pod")), 40);
}

#[test]
fn if_all_hold_something_those_without_a_place_are_counted() {
    let mut host = Host::with(crowd(0, 20), 10_000, 30);
    host.walk();
    for _ in 0..3 {
        assert_eq!(host.read(), None);
    }
    // The root and the two cgroups above the pods, of which no memory is known, have places too.
    assert_eq!(series(&host, |_| true), 27);
    assert_eq!(host.engine.view().coverage.lost(Stage::Workload), 13);
}
