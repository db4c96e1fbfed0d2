//! Advice on a real host, on which days of before were left: against the kernel's own files, by everything that shows it, and what became of it.

mod days;
mod followed;
mod outlook;
mod page;
mod shown;

use std::fs;

use collector::source::cgroup::Controller;
use collector_tests::cgroup::Cgroup;
use collector_tests::process::Killed;
use collector_tests::provocation::await_ready;
use collector_tests::provoke;

const MIB: u64 = 1 << 20;
/// The limit of a workload that never needs so much, and what is then advised for it: 864 MiB and what it holds for the kernel, 15 % more, and
/// up to a round number. Whatever the kernel takes for itself, that is the same.
const ROOMY: u64 = 2048 * MIB;
const ENOUGH: u64 = 1024 * MIB;

/// The kernel's memory limit of a cgroup.
fn limit(cgroup: &Cgroup) -> u64 {
    fs::read_to_string(limit_file(cgroup)).unwrap().trim().parse().unwrap()
}

fn limit_file(cgroup: &Cgroup) -> std::path::PathBuf {
    cgroup.memory().join(if cgroup.is_v2() { "memory.max" } else { "memory.limit_in_bytes" })
}

/// The kernel's CPU quota of a cgroup, in CPUs.
fn quota(cgroup: &Cgroup) -> f64 {
    let read = |name| fs::read_to_string(cgroup.file(Controller::Cpu, name)).unwrap();
    let text = match cgroup.is_v2() {
        true => read("cpu.max"),
        false => read("cpu.cfs_quota_us") + &read("cpu.cfs_period_us"),
    };
    let numbers: Vec<f64> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
    numbers[0] / numbers[1]
}

/// Words as they are read, however lines were broken.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A process that holds so much, and does nothing.
fn holds(cgroup: &Cgroup, bytes: u64) -> Killed {
    let mut held = Killed(provoke!(cgroup, &["sleeper", &format!("anon={bytes}")]));
    await_ready(&mut held.0);
    held
}
