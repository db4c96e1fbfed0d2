//! What the kernel says of a process, its memory, its descriptors, its CPU time; and of the host.

use std::fs;
use std::time::Duration;

/// Descriptors that a process has open: of files below a path, and of what is neither a cgroup's nor a connection nor of the
/// journal, of which another is opened with the first thing that is written.
pub fn descriptors(pid: u32, below: &str) -> (usize, usize) {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let targets: Vec<String> =
        links.filter_map(|link| fs::read_link(link.path()).ok()).map(|it| it.display().to_string()).collect();
    let left_out =
        |it: &str| it.starts_with("/sys/fs/cgroup/") || it.starts_with("socket:") || it.contains("/journal/journal.db");
    let others = targets.iter().filter(|it| !left_out(it));
    (targets.iter().filter(|it| it.contains(below)).count(), others.count())
}

/// Resident memory of a process that no file is behind, in bytes.
pub fn resident(pid: u32) -> u64 {
    memory(pid, "RssAnon:")
}

/// One of the figures of /proc/PID/status, in bytes.
pub fn memory(pid: u32, figure: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// CPU time of a process so far, all its threads together (proc_pid_stat(5), fields 14 and 15, in ticks of 10 ms).
pub fn cpu(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Its name may have blanks in it; behind it come numbers alone.
    let fields = text.rsplit_once(')').unwrap().1.split_whitespace();
    Duration::from_millis(fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>() * 10)
}

/// All descriptors that a process has open.
pub fn all_descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The sum of all numbers in /proc/vmstat whose names start so; 0 where this kernel has none.
pub fn vmstat(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/vmstat").unwrap();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.filter(|(key, _)| key.starts_with(name)).map(|(_, value)| value.parse::<u64>().unwrap()).sum()
}

/// A number of bytes in /proc/meminfo.
pub fn meminfo(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    value.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
