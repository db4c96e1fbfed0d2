//! What `headroom doctor` says of isolation on a host of cgroup v2 that is made of files: one on which nothing acts as it looks, and the same
//! with all of it mended.

use std::fs;
use std::path::Path;

use collector_tests::agent::headroom;
use collector_tests::scratch::{Scratch, scratch};
use serde_json::Value;

const GIB: u64 = 1 << 30;
const CONTAINER: &str = "system.slice/docker-4f1c2a9b4f1c4f1c2a9b4f1c4f1c2a9b4f1c4f1c2a9b4f1c4f1c2a9b4f1c4f1c.scope";

struct Host(Scratch);

impl Host {
    /// 16 GiB of memory, and zram of 8 GiB.
    fn new() -> Host {
        let host = Host(scratch());
        host.write("proc/1/cgroup", "0::/\n");
        host.write("proc/1/mountinfo", "27 24 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        host.write("proc/meminfo", &meminfo());
        host.write("proc/stat", "cpu 1 2 3 4\n");
        host.write("proc/diskstats", "254 0 vda 1 2 3 4 5 6 7 8 0 10 11\n252 0 zram0 1 2 3 4 5 6 7 8 0 10 11\n");
        host.write("sys/block/vda/dev", "254:0\n");
        host.write("sys/block/zram0/initstate", "1\n");
        host.write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory hugetlb pids\n");
        host.cgroup("system.slice", &[]);
        host.cgroup("batch.slice", &[("memory.max", "1073741824\n"), ("memory.min", "536870912\n")]);
        host.cgroup(CONTAINER, &[]);
        host.cgroup("kubepods.slice", &[]);
        host
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// With 512 MiB of page cache, 512 MiB of anonymous memory, and these files in place of the usual ones.
    fn cgroup(&self, path: &str, files: &[(&str, &str)]) {
        let usual = [
            ("memory.current", "1073741824\n"),
            ("memory.max", "max\n"),
            ("memory.high", "max\n"),
            ("memory.low", "0\n"),
            ("memory.min", "0\n"),
            ("memory.oom.group", "0\n"),
            ("memory.swap.max", "max\n"),
            (
                "memory.stat",
                "anon 536870912\nfile 536870912\nshmem 0\ninactive_file 268435456\nactive_file 268435456\n",
            ),
            ("cgroup.events", "populated 1\n"),
            ("cpu.stat", "usage_usec 1\nuser_usec 1\nsystem_usec 0\nnr_periods 0\n"),
            ("io.stat", ""),
            ("io.weight", "default 100\n"),
        ];
        for (name, text) in usual.iter().chain(files) {
            self.write(&format!("sys/fs/cgroup/{path}/{name}"), text);
        }
    }

    fn doctor(&self, arguments: &[&str]) -> String {
        let folder: &Path = &self.0;
        let config = folder.join("headroom.toml");
        fs::write(&config, format!("rootfs = {folder:?}\n[gpu]\nenabled = \"off\"\n")).unwrap();
        let output = headroom("doctor").arg("--config").arg(&config).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The state of each check, and for whom it fails.
    fn states(&self) -> Vec<(String, String, Vec<String>)> {
        let all: Value = serde_json::from_str(&self.doctor(&["--json"])).unwrap();
        let name = |failure: &Value| match &failure["object"] {
            Value::String(host) => host.clone(),
            object => object["workload"].as_str().unwrap().to_owned(),
        };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let checks = all["isolation"].as_array().unwrap().iter().map(|check| {
            let fails = check["fails"].as_array().map(|fails| fails.iter().map(name).collect()).unwrap_or_default();
            (text(&check["check"]), text(&check["state"]), fails)
        });
        checks.collect()
    }
}

fn meminfo() -> String {
    let [total, available, swap] = [16 * GIB, 8 * GIB, 8 * GIB].map(|bytes| bytes / 1024);
    format!("MemTotal: {total} kB\nMemAvailable: {available} kB\nSwapTotal: {swap} kB\nSwapFree: {swap} kB\n")
}

#[test]
fn the_doctor_says_what_does_not_act_and_for_whom() {
    let host = Host::new();
    host.write("sys/fs/cgroup/cgroup.controllers", "cpu io memory pids\n");
    fs::remove_file(host.0.join("sys/fs/cgroup").join(CONTAINER).join("io.stat")).unwrap();
    host.cgroup("batch.slice/a.service", &[("memory.max", "2147483648\n"), ("memory.min", "1073741824\n")]);
    let held = "anon 1073741824\nfile 0\nshmem 0\ninactive_file 0\nactive_file 0\n";
    let hang = [("memory.high", "1073741824\n"), ("memory.swap.max", "0\n"), ("memory.stat", held)];
    host.cgroup("system.slice/hang.service", &hang);
    host.cgroup("system.slice/heavy.service", &[("io.weight", "default 500\n")]);
    host.write("sys/block/vda/queue/scheduler", "none [mq-deadline] bfq\n");
    host.write("sys/block/zram0/size", &format!("{}\n", 16 * GIB / 512));
    host.write("sys/block/zram0/mm_stat", "3000 1000 4096 0 4096 0 0 0 0\n");

    let of = |check: &str, state: &str, fails: &[&str]| {
        (check.to_owned(), state.to_owned(), fails.iter().map(|name| (*name).to_owned()).collect())
    };
    let expected = [
        of("controllers", "fails", &["host", "system.slice"]),
        of("limit_above_parent", "fails", &["a.service"]),
        of("protection_above_parent", "fails", &["batch.slice"]),
        of("memory_high", "fails", &["hang.service"]),
        of("io_weight", "fails", &["heavy.service"]),
        of("unified_gpu_memory", "unused", &[]),
        of("oom_group", "not_known", &[]),
        of("zram_size", "fails", &["host"]),
        of("kubelet_reserved", "fails", &["kubepods.slice"]),
    ];
    assert_eq!(host.states(), expected);

    let text = host.doctor(&[]);
    let part = text.split("\nisolation\n").nth(1).unwrap_or_else(|| panic!("{text}"));
    for sentence in [
        "  controllers              fails       The controller cpuset is missing: sets of CPUs (AllowedCPUs=) do nothing.",
        "io is not enabled below /system.slice",
        "memory.max of a.service is 2.00 GiB and never acts: batch.slice has 1.00 GiB, which acts first.",
        "memory.min below batch.slice is 1.00 GiB in all, and its own is 512 MiB",
        "it may not swap (memory.swap.max), so it waits there without end.",
        "— modprobe bfq && echo bfq > /sys/block/vda/queue/scheduler",
        "zram is without a limit (mem_limit) and 16.0 GiB large",
        "its data is 3.0 times smaller now",
        "kubepods.slice has no limit of memory: the kubelet enforces no Node Allocatable.",
    ] {
        assert!(part.contains(sentence), "{sentence}\n{part}");
    }
}

#[test]
fn what_was_mended_holds() {
    let host = Host::new();
    host.cgroup("batch.slice/a.service", &[("memory.max", "536870912\n"), ("memory.min", "536870912\n")]);
    host.cgroup("system.slice/calm.service", &[("memory.high", "1073741824\n"), ("memory.oom.group", "1\n")]);
    host.cgroup("system.slice/heavy.service", &[("io.weight", "default 500\n")]);
    host.write("sys/block/vda/queue/scheduler", "[none] mq-deadline\n");
    host.write("sys/fs/cgroup/io.cost.qos", "254:0 enable=1 ctrl=auto rpct=0.00\n");
    host.write("sys/block/zram0/size", &format!("{}\n", 8 * GIB / 512));
    host.write("sys/block/zram0/mm_stat", "3000 1000 4096 0 4096 0 0 0 0\n");
    host.write("sys/fs/cgroup/kubepods.slice/memory.max", &format!("{}\n", 14 * GIB));
    let states = host.states();
    for (check, state, _) in &states {
        let expected = match &**check {
            "unified_gpu_memory" => "unused",
            // What systemd would do after a kill in the others is not known.
            "oom_group" => "not_known",
            _ => "holds",
        };
        assert_eq!(state, expected, "{check}: {states:?}");
    }
}
