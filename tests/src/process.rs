//! Processes of the tests, and the kernel's view of a process: memory, descriptors, CPU time; and of the host.

use std::fs;
use std::process::Child;
use std::time::Duration;

/// A child process. When dropped, it is killed and waited for.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Open descriptors of a process: of files below a path; and all [`others`].
pub fn descriptors(pid: u32, below: &str) -> (usize, usize) {
    (open(pid).filter(|it| it.contains(below)).count(), others(pid).len())
}

/// What its open descriptors are, in order, except files of cgroups, connections, and the files of journal, history and reservations, of which the
/// first write opens another.
pub fn others(pid: u32) -> Vec<String> {
    let left_out = |it: &str| {
        let written =
            ["/journal/journal.db", "/journal/history.db", "/journal/lease.db"].iter().any(|file| it.contains(file));
        it.starts_with("/sys/fs/cgroup/") || it.starts_with("socket:") || written
    };
    let mut others: Vec<String> = open(pid).filter(|it| !left_out(it)).collect();
    others.sort();
    others
}

fn open(pid: u32) -> impl Iterator<Item = String> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    links.filter_map(|link| Some(fs::read_link(link.path()).ok()?.display().to_string()))
}

/// Resident anonymous memory of a process in bytes.
pub fn resident(pid: u32) -> u64 {
    memory(pid, "RssAnon:")
}

/// A number of /proc/PID/status, in bytes.
pub fn memory(pid: u32, figure: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// CPU time of a process so far, of all its threads (proc_pid_stat(5), fields 14 and 15, in ticks of 10 ms).
pub fn cpu(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name may contain blanks; only numbers follow it.
    let fields = text.rsplit_once(')').unwrap().1.split_whitespace();
    Duration::from_millis(fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>() * 10)
}

/// All open descriptors of a process.
pub fn all_descriptors(pid: u32) -> usize {
    open(pid).count()
}

/// Sum of the numbers in /proc/vmstat with this prefix; 0 if this kernel has none.
pub fn vmstat(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/vmstat").unwrap();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.filter(|(key, _)| key.starts_with(name)).map(|(_, value)| value.parse::<u64>().unwrap()).sum()
}

/// A number of /proc/meminfo, in bytes.
pub fn meminfo(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    value.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
