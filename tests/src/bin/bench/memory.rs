//! What the built agent holds on an idle host in the long run, and what it does meanwhile: minutes, minute by minute.

use std::collections::BTreeMap;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::machine;
use crate::peer::PEERS;
use crate::report::Report;

/// Most that it may hold at the end, in bytes.
const RESIDENT: u64 = 20 << 20;
const MINUTE: Duration = Duration::from_secs(60);

/// Counts of a thread since its start.
#[derive(Clone, Copy, Debug, Default)]
struct Thread {
    run_ns: u64,
    /// Context switches: how often it was woken, more or less.
    switches: u64,
    /// Pages that it mapped without reading them from a disk.
    faults: u64,
}

pub fn measure(minutes: usize) -> Result<Report> {
    let agent = PEERS.iter().find(|peer| peer.name == "Headroom").context("no such peer")?.start()?;
    let pid = agent.pids().next().context("no process")?;
    let mut report = Report::new(&[
        "after",
        "resident, MiB",
        "of it anonymous",
        "CPU a second, µs",
        "wakes a second",
        "faults a second",
    ]);
    let begin = threads(pid)?;
    let (mut before, mut last, mut middle) = (begin.clone(), 0, None);
    let busy = machine::cpu_time()?;
    for minute in 1..=minutes {
        sleep(MINUTE);
        let now = threads(pid)?;
        let (resident, anonymous) = machine::resident(&pid.to_string())?;
        let total = growth(&before, &now).into_iter().fold(Thread::default(), |sum, (_, thread)| Thread {
            run_ns: sum.run_ns + thread.run_ns,
            switches: sum.switches + thread.switches,
            faults: sum.faults + thread.faults,
        });
        let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
        let a_second = |count: u64| count as f64 / MINUTE.as_secs_f64();
        report.row([
            format!("{minute} min"),
            mib(resident),
            mib(anonymous),
            format!("{:.0}", a_second(total.run_ns) / 1e3),
            format!("{:.1}", a_second(total.switches)),
            format!("{:.1}", a_second(total.faults)),
        ]);
        if minute == 2 {
            middle = Some(now.clone());
        }
        (before, last) = (now, resident);
    }
    // The first minutes have what is done once.
    let (from, length) = match middle {
        Some(middle) if minutes > 2 => (middle, minutes - 2),
        _ => (begin, minutes),
    };
    let seconds = MINUTE.as_secs_f64() * length as f64;
    let mut by_thread = growth(&from, &before);
    by_thread.sort_by_key(|(_, thread)| std::cmp::Reverse(thread.run_ns));
    let line = |(name, it): &(String, Thread)| {
        format!("`{name}` {:.0} µs, {:.2} wakes", it.run_ns as f64 / 1e3 / seconds, it.switches as f64 / seconds)
    };
    let lines: Vec<String> = by_thread.iter().filter(|(_, it)| it.switches > 0).map(line).collect();
    report.note(format!("A second, by thread, over the last {length} minutes: {}.", lines.join("; ")));
    let [used, all] = machine::cpu_time()?;
    report.note(format!(
        "Of the machine's CPU time {:.1} % was used meanwhile.",
        100.0 * (used - busy[0]) / (all - busy[1])
    ));
    report.aim(
        format!(
            "after {minutes} minutes it holds at most {} MiB: {:.1} MiB",
            RESIDENT >> 20,
            last as f64 / f64::from(1 << 20)
        ),
        last <= RESIDENT,
    );
    Ok(report)
}

/// The threads of a process, by id: their names, and their counts.
fn threads(pid: u32) -> Result<BTreeMap<u32, (String, Thread)>> {
    let mut threads = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).context("list the agent's threads")?.flatten() {
        let path = task.path();
        let read = |name: &str| fs::read_to_string(path.join(name)).unwrap_or_default();
        let (name, status, stat) = (read("comm"), read("status"), read("stat"));
        let field = |key: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
        };
        // After the name, which may have blanks (proc_pid_stat(5)): state is the first, minflt the eighth.
        let faults = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(7)?.parse().ok());
        let thread = Thread {
            // A thread that has just ended has none.
            run_ns: machine::run_ns(&path).unwrap_or(0),
            switches: field("voluntary_ctxt_switches:") + field("nonvoluntary_ctxt_switches:"),
            faults: faults.unwrap_or(0),
        };
        let id = task.file_name().to_string_lossy().parse().context("a thread without a number")?;
        threads.insert(id, (name.trim().to_owned(), thread));
    }
    Ok(threads)
}

/// What was counted meanwhile; threads of the same name are added up.
fn growth(before: &BTreeMap<u32, (String, Thread)>, now: &BTreeMap<u32, (String, Thread)>) -> Vec<(String, Thread)> {
    let mut sums: BTreeMap<&str, Thread> = BTreeMap::new();
    for (id, (name, thread)) in now {
        let start = before.get(id).map(|(_, thread)| *thread).unwrap_or_default();
        let sum = sums.entry(name).or_default();
        sum.run_ns += thread.run_ns.saturating_sub(start.run_ns);
        sum.switches += thread.switches.saturating_sub(start.switches);
        sum.faults += thread.faults.saturating_sub(start.faults);
    }
    sums.into_iter().map(|(name, thread)| (name.to_owned(), thread)).collect()
}
