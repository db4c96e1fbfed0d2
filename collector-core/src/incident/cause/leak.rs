//! Causes of leaks: what of the workload grew. Processes are known where the agent read them while memory rose.

use super::facts::Facts;
use super::{Finding, Rule};
use crate::amount::{bytes, percent, seconds};
use crate::incident::{Kind, Leak, LeakProcess};

const KINDS: &[Kind] = &[Kind::Leak];
/// One process leaks if it grew by this share of what all grew by.
const MOST: f64 = 0.5;
/// More processes are the cause from this factor, and this many.
const FACTOR: f64 = 1.3;
const MORE: u32 = 4;

pub(super) const PROCESSES: Rule = Rule {
    name: "more_processes",
    kinds: KINDS,
    when: "The workload has 30 % more processes than when its memory began to rise, at least 4, and no single one grew by half of what all grew by.",
    find: |facts| {
        let (leak, process) = leaking(facts)?;
        let [before, now] = process.processes?;
        let many = now >= before.saturating_add(MORE) && f64::from(now) >= FACTOR * f64::from(before);
        (many && process.share < MOST).then(|| Finding {
            sentence: format!(
                "{}; the number of its processes grew from {before} to {now}, and no single one by much",
                rises(leak)
            ),
            next: "Find out who starts them and does not wait for their end: workers that are never retired, or children of a supervisor.".to_owned(),
            numbers: numbers(leak, process),
        })
    },
};

pub(super) const PROCESS: Rule = Rule {
    name: "leaking_process",
    kinds: KINDS,
    when: "One process grew by half or more of what all processes of the workload grew by, since its memory began to rise.",
    find: |facts| {
        let (leak, process) = leaking(facts)?;
        (process.share >= MOST).then(|| {
            let name = match process.comm.as_str() {
                "" => format!("process {}", process.pid),
                comm => format!("{comm} ({})", process.pid),
            };
            let new = if process.new { ", in which it started" } else { "" };
            Finding {
                sentence: format!(
                    "{}; {name} grew from {} to {} in {}{new}, which is {} of what its processes grew by",
                    rises(leak),
                    bytes(process.before_bytes),
                    bytes(process.now_bytes),
                    seconds(process.seconds),
                    percent(process.share)
                ),
                next: next(leak, &name),
                numbers: numbers(leak, process),
            }
        })
    },
};

fn leaking<'a>(facts: &Facts<'a>) -> Option<(&'a Leak, &'a LeakProcess)> {
    let leak = facts.evidence.leak.as_ref()?;
    Some((leak, leak.process.as_ref()?))
}

fn rises(leak: &Leak) -> String {
    let kind = leak.kind_name();
    let (verb, full) = match leak.over {
        true => ("rose", String::new()),
        false => ("rises", leak.left().map_or(String::new(), |left| format!(" and is {left}"))),
    };
    // Where nobody counts its work, nothing is said of it.
    let work = match (leak.steady, leak.over) {
        (Some(true), true) => ", while it used no more CPU time,",
        (Some(true), false) => ", while it uses no more CPU time,",
        _ => "",
    };
    format!(
        "the minimum of its {kind} {verb} by {}{work} to {} of {}{full}",
        leak.pace(),
        bytes(leak.held_bytes),
        bytes(leak.of_bytes)
    )
}

fn next(leak: &Leak, who: &str) -> String {
    let look = match leak.memory.as_str() {
        "anon" => format!(
            "Look at the heap of {who} (a heap profiler, tracemalloc, jemalloc's statistics): what it keeps for each request."
        ),
        "shared" => format!("Look for files of {who} in /dev/shm and other tmpfs that nobody deletes."),
        "kernel" => format!("Count sockets, open files and threads of {who}: the kernel holds memory for each."),
        "pinned" => format!("Look for buffers that {who} pins for GPUs and does not free."),
        _ => {
            format!("Look at what {who} keeps on the GPU: torch.cuda.memory_summary(), unbounded caches, CUDA graphs.")
        }
    };
    if leak.over { look } else { look + " Until that is mended, restart it before it is full." }
}

fn numbers(leak: &Leak, process: &LeakProcess) -> Vec<(&'static str, Option<f64>)> {
    vec![
        ("leak_bytes_per_hour", Some(leak.bytes_per_hour)),
        ("exhausted_in_seconds", leak.exhausted_in_seconds),
        ("grown_bytes", Some(process.now_bytes.saturating_sub(process.before_bytes) as f64)),
        ("process_share_ratio", Some(process.share)),
    ]
}

pub(super) fn unknown(facts: &Facts<'_>) -> Finding {
    let Some(leak) = &facts.evidence.leak else {
        return Finding {
            sentence: "Nothing shows what grew".to_owned(),
            next: "Compare its processes over time: headroom workloads NAME.".to_owned(),
            numbers: Vec::new(),
        };
    };
    let why = match (leak.memory.as_str(), &leak.process) {
        ("kernel" | "pinned", _) => "which process it is for cannot be read",
        (_, Some(_)) => "no single process grew by half of it",
        _ => "which process grew was not read",
    };
    Finding {
        sentence: format!("{}; {why}", rises(leak)),
        next: next(leak, "its processes"),
        numbers: vec![
            ("leak_bytes_per_hour", Some(leak.bytes_per_hour)),
            ("exhausted_in_seconds", leak.exhausted_in_seconds),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_work_that_nobody_counts_nothing_is_said() {
        let said = |steady, over| rises(&Leak { memory: "vram".to_owned(), steady, over, ..Leak::default() });
        assert!(said(Some(true), false).contains("an hour, while it uses no more CPU time, to"));
        assert!(said(Some(true), true).contains("an hour, while it used no more CPU time, to"));
        for unknown in [None, Some(false)] {
            assert!(!said(unknown, false).contains("CPU time"), "{unknown:?}");
        }
    }
}
