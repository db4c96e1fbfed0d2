//! Hosts on which one takes what others need, disks that fill, and alerts that nobody reads any more.

use serde_json::{Value, json};

use super::Row;
use crate::advice::{day, host_days};
use crate::made::{GIB, Host};

const HOST: u64 = 64 * GIB;

/// A server, and another that took something from it in so many incidents.
fn neighbours(other: &str, count: u64, incident: impl Fn(u64) -> Value) -> Host {
    let mut host = Host::new(HOST);
    host_days(&mut host, HOST, 0.5, (0.0, 0));
    host.workload("/system.slice/vllm.service", 4 * GIB, 3 * GIB);
    host.workload(&format!("/system.slice/{other}"), 2 * GIB, GIB);
    host.remembers(count, incident);
    host
}

/// A backup flooded the disk so many times, on which weights of IO act or not.
pub(super) fn flooded(count: u64, weighs: bool) -> Host {
    let incident = |_| {
        json!({
            "kind": "latency", "title": "", "labels": {},
            "cause": {
                "rule": "io_by_neighbour", "next": "",
                "sentence": "backup.service floods the disk that vllm.service needs: it reads and writes 477 MiB/s",
            },
            "evidence": {"slow": {
                "workload": "vllm.service", "disk": "vda",
                "neighbours": [{"workload": "backup.service", "io_bytes_per_second": 5e8}],
            }},
        })
    };
    let mut host = neighbours("backup.service", count, incident);
    host.disk("vda", weighs).run(60, 1);
    host
}

/// A filesystem of 100 GiB with so much in use on each day.
pub(super) fn var(used: &[f64]) -> Host {
    let mut host = Host::new(HOST);
    host_days(&mut host, HOST, 0.5, (0.0, 0));
    let free = 100.0 - used.last().unwrap();
    host.mounts("/var", 100, free as u64).filled("/var", 100, used).run(60, 1);
    host
}

/// An alert that fired so often on each day of a week, for so many seconds.
fn fired(times: u32, seconds: u32) -> Host {
    let mut host = Host::new(HOST);
    host_days(&mut host, HOST, 0.5, (0.0, 0));
    host.fired("HostMemoryHigh", times, seconds).run(60, 1);
    host
}

pub(super) const HOSTS: &[Row] = &[
    Row {
        name: "flooded disk",
        what: "A backup flooded the disk of a server three times in a week.",
        make: || flooded(3, true),
        sure: &["neighbour_io:backup.service"],
        unsure: &[],
    },
    Row {
        name: "IO weights without effect",
        what: "The same twice, on a disk whose scheduler knows no weights.",
        make: || flooded(2, false),
        sure: &["io_weight_inert:vda", "neighbour_io:backup.service"],
        unsure: &[],
    },
    Row {
        name: "neighbour on the CPUs",
        what: "A build used the CPUs that a server waited for, twice in a week.",
        make: || {
            let incident = |_| {
                json!({
                    "kind": "latency", "title": "", "labels": {},
                    "cause": {
                        "rule": "cpu_contended", "next": "",
                        "sentence": "vllm.service waits for CPUs that others use: build.service uses 12.00 CPUs",
                    },
                    "evidence": {"slow": {
                        "workload": "vllm.service", "neighbours": [{"workload": "build.service", "cpus": 12.0}],
                    }},
                })
            };
            let mut host = neighbours("build.service", 2, incident);
            host.run(60, 1);
            host
        },
        sure: &["neighbour_cpu:build.service"],
        unsure: &[],
    },
    Row {
        name: "neighbour in the memory",
        what: "The host ran out of memory because of a build, and a process of a server was killed.",
        make: || {
            let incident = |_| {
                json!({
                    "kind": "oom", "title": "", "labels": {"workload": "vllm.service"},
                    "cause": {
                        "rule": "host_exhausted_by_another", "next": "",
                        "sentence": "The host ran out of memory: build.service held 50.0 GiB of its 64.0 GiB",
                    },
                    "evidence": {
                        "consumers": [{"workload": "build.service", "memory_bytes": 50 * GIB}], "killed": 1,
                    },
                })
            };
            let mut host = neighbours("build.service", 1, incident);
            host.days(Some("build.service"), 8, |_| day(10 * GIB, 9 * GIB, None)).run(60, 1);
            host
        },
        sure: &["neighbour_memory:build.service"],
        unsure: &[],
    },
    Row {
        name: "disk that fills",
        what: "/var grew by 4 GiB on each of eight days, and 14 GiB are left.",
        make: || var(&[58.0, 62.0, 66.0, 70.0, 74.0, 78.0, 82.0, 86.0]),
        sure: &["disk_fills:/var"],
        unsure: &[],
    },
    Row {
        name: "alert that comes and goes",
        what: "HostMemoryHigh fired twelve times on each day of a week, for a minute.",
        make: || fired(12, 720),
        sure: &["alert_flaps:HostMemoryHigh"],
        unsure: &[],
    },
    Row {
        name: "alert that always fires",
        what: "HostMemoryHigh fired for most of a week; whether the host or the threshold is wrong is for people to say.",
        make: || fired(1, 80_000),
        sure: &[],
        unsure: &["alert_always:HostMemoryHigh"],
    },
];
