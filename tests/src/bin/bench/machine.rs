//! The machine that the benchmarks run on: its description, and pinning to a CPU.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// The machine in one line.
pub fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unnamed CPU");
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    // Not the CPUs that this thread may use, since it may be pinned.
    let cpus = aya::util::online_cpus().map_or(1, |cpus| cpus.len());
    format!("Linux {kernel}, {cpus} × {}", model.trim_start_matches([':', ' ', '\t']))
}

/// Keeps the calling thread on one CPU while it exists: the last one, since interrupts mostly go to the first.
pub struct Pinned(CpuSet);

impl Pinned {
    pub fn new() -> Result<Pinned> {
        let before = sched_getaffinity(None).context("ask for this thread's CPUs")?;
        let online = aya::util::online_cpus().map_err(|(what, error)| anyhow::anyhow!("{what}: {error}"))?;
        let mut last = CpuSet::new();
        last.set(*online.last().context("no CPU is online")? as usize);
        sched_setaffinity(None, &last).context("pin to a CPU")?;
        Ok(Pinned(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = sched_setaffinity(None, &self.0);
    }
}

/// Resident memory of a process (`self` or a number) in bytes: all, and the anonymous part.
pub fn resident(process: &str) -> Result<(u64, u64)> {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let field = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<u64>().ok()? * 1024)
    };
    Ok((field("VmRSS").context("no VmRSS")?, field("RssAnon").context("no RssAnon")?))
}

/// CPU time of the calling thread in nanoseconds.
pub fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Nanoseconds that a thread has run, from its folder in /proc (`schedstat`, Documentation/scheduler/sched-stats.rst).
pub fn run_ns(task: &Path) -> Result<u64> {
    let path = task.join("schedstat");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let first = text.split_whitespace().next().and_then(|ns| ns.parse().ok());
    first.with_context(|| format!("read {}", path.display()))
}

/// Time of all CPUs since the start of the machine: busy, and all of it, in one unit (proc_stat(5)).
pub fn cpu_time() -> Result<[f64; 2]> {
    let text = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    let first = text.lines().next().context("/proc/stat is empty")?;
    let times: Vec<f64> = first.split_whitespace().skip(1).take(8).map_while(|time| time.parse().ok()).collect();
    let [.., idle, iowait, _, _, _] = times[..] else { anyhow::bail!("/proc/stat begins with {first:?}") };
    let all: f64 = times.iter().sum();
    Ok([all - idle - iowait, all])
}
