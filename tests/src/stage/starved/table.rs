//! The scenarios: a truth is what is true, whatever the agent tells today.

use super::scenario::{Scenario, Stage, read_limit, text};

/// Waits for a CPU that others have.
const RUN_QUEUE: &[&str] = &["cpu_contended"];
const THROTTLED: &[&str] = &["cpu_throttled"];
const NEIGHBOURS_IO: &[&str] = &["io_by_neighbour"];
const IO_LIMIT: &[&str] = &["own_io_limit"];
/// Files that were dropped from memory are read again.
const READ_AGAIN: &[&str] = &["read_again"];
const CACHE: &[&str] = &["cache_misses"];
const SWAP: &[&str] = &["swapped"];
const PCIE: &[&str] = &["pcie_degraded"];
const PAGEABLE: &[&str] = &["pageable_copies"];
const NOTHING: &[&str] = &[];

/// Quick ones, for every run of the tests.
pub const QUICK: [&str; 1] = ["starved_quota"];

/// What a job gets beside neighbours that want all.
fn humble(stage: &Stage) -> std::io::Result<()> {
    stage.job.try_weight(32)?;
    stage.noise.try_weight(1024)
}

pub fn all() -> Vec<Scenario> {
    [cpu(), disk(), memory(), gpu(), controls()].into_iter().flatten().collect()
}

fn cpu() -> Vec<Scenario> {
    vec![
        Scenario {
            prepare: humble,
            says: &["/noise"],
            ..Scenario::new(
                "starved_neighbours",
                "its workers wait for CPUs that a neighbour with a larger share uses",
                RUN_QUEUE,
                |it| {
                    it.neighbour("spin:8; stay");
                    Ok(())
                },
            )
        },
        Scenario {
            prepare: humble,
            says: &["/noise"],
            ..Scenario::new(
                "starved_agents",
                "sixteen small agents beside it wake up all the time, and leave it little of the CPUs",
                RUN_QUEUE,
                |it| {
                    it.neighbour("fork:16; burst:4000:1000");
                    Ok(())
                },
            )
        },
        Scenario::new("starved_quota", "its CPU quota is lowered below what its workers need", THROTTLED, |it| {
            it.job.try_quota(3.0).map_err(text)
        }),
        Scenario::new(
            "starved_shared_quota",
            "the CPU quota of the cgroup above it is lowered, and a neighbour uses most of that",
            THROTTLED,
            |it| {
                it.neighbour("spin:2; stay");
                it.root.try_quota(20.0).map_err(text)
            },
        ),
    ]
}

fn disk() -> Vec<Scenario> {
    vec![
        Scenario {
            batch: &[("direct", 1), ("read", 48)],
            says: &["/noise"],
            ..Scenario::new(
                "starved_flood",
                "a neighbour floods the disk with writes from which its workers read",
                NEIGHBOURS_IO,
                |it| {
                    it.neighbour("write:disk/flood:600:64");
                    Ok(())
                },
            )
        },
        Scenario {
            batch: &[("direct", 1), ("read", 24)],
            says: &["/noise"],
            ..Scenario::new("starved_scan", "a neighbour scans a large file on that disk", NEIGHBOURS_IO, |it| {
                it.make("large", 512)?;
                it.neighbour("scan:disk/large:600:32");
                Ok(())
            })
        },
        Scenario {
            batch: &[("direct", 1), ("read", 24)],
            ..Scenario::new(
                "starved_io_limit",
                "what it may read from the disk is limited to less than its workers need",
                IO_LIMIT,
                |it| read_limit(&it.job, 512 << 10).map_err(text),
            )
        },
    ]
}

fn memory() -> Vec<Scenario> {
    vec![
        Scenario {
            batch: &[("read", 2048)],
            data: 64,
            ..Scenario::new(
                "starved_evicted",
                "its data are dropped from the page cache again and again",
                CACHE,
                |it| {
                    it.neighbour("evict:disk/data:600");
                    Ok(())
                },
            )
        },
        Scenario {
            batch: &[("read", 2048)],
            data: 64,
            ..Scenario::new(
                "starved_limit",
                "its memory limit is lowered below the size of its data",
                READ_AGAIN,
                |it| it.job.try_limit(24 << 20).map_err(text),
            )
        },
        Scenario {
            batch: &[("read", 512)],
            data: 64,
            prepare: |it| it.root.try_limit(160 << 20),
            ..Scenario::new(
                "starved_shared_limit",
                "a neighbour below the same memory limit reads files, for which its data are dropped",
                READ_AGAIN,
                |it| {
                    it.make("large", 256)?;
                    it.neighbour("read:disk/large:600:4");
                    Ok(())
                },
            )
        },
        Scenario {
            batch: &[("touch", 6000)],
            swap: true,
            ..Scenario::new("starved_swap", "its memory limit is lowered, and its workers swap", SWAP, |it| {
                it.job.try_limit_before_swap(32 << 20).map_err(text)
            })
        },
    ]
}

fn gpu() -> Vec<Scenario> {
    vec![
        Scenario::new(
            "starved_link",
            "the PCIe link of its GPU falls to a sixteenth, and copies take longer",
            PCIE,
            |it| {
                it.gpu(|gpu| {
                    gpu["pcie"]["generation"] = 1.into();
                    gpu["pcie"]["width"] = 8.into();
                });
                it.set("copy", 50_000);
                Ok(())
            },
        ),
        Scenario {
            cuda: true,
            batch: &[("pinned", 64 << 20)],
            ..Scenario::new(
                "starved_pageable",
                "it no longer copies from pinned memory, and copies take longer",
                PAGEABLE,
                |it| {
                    it.set("pinned", 0);
                    it.set("copy", 50_000);
                    Ok(())
                },
            )
        },
    ]
}

/// The job itself does less.
fn controls() -> Vec<Scenario> {
    vec![
        Scenario::new("starved_not_evaluation", "it evaluates, and takes no batch", NOTHING, |it| {
            it.set("idle", 1);
            Ok(())
        }),
        Scenario {
            prepare: humble,
            ..Scenario::new(
                "starved_not_beside_noise",
                "the same, while neighbours use the CPUs and flood the disk",
                NOTHING,
                |it| {
                    it.set("idle", 1);
                    it.neighbour("spin:4; write:disk/flood:600:8");
                    Ok(())
                },
            )
        },
        Scenario::new(
            "starved_not_checkpoint",
            "it writes a checkpoint to the disk, and takes no batch",
            NOTHING,
            |it| {
                it.set("write", 256);
                it.set("idle", 1);
                Ok(())
            },
        ),
    ]
}
