//! Finds the CUDA driver libraries that processes have mapped, and schedules which process to inspect when. Reading a
//! process's maps costs the kernel and, briefly, the process: a new process is inspected at once, and then at doubling
//! intervals, because it may load the library at any time.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Longest interval between inspections of a process, in nanoseconds.
const MAX_INTERVAL_NS: u64 = 60_000_000_000;
/// Limit on the bytes read of one process's maps.
const MAX_BYTES: u64 = 64 << 20;
/// Limit on the libraries of one process; one is usual.
const MAX_MAPPED: usize = 16;

/// A file that a process has mapped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mapped {
    /// Device and inode as in `/proc/PID/maps`.
    pub id: String,
    pub inode: u64,
    /// Path when it was mapped, in the process's root.
    pub path: PathBuf,
    /// The file was removed or replaced since.
    pub deleted: bool,
}

/// When each process is inspected next.
#[derive(Debug, Default)]
pub struct Schedule {
    due: HashMap<u32, (u64, u64)>,
}

impl Schedule {
    /// Those of the current processes that are due for inspection.
    pub fn due(&mut self, pids: &[u32], now: u64, pause: u64) -> Vec<u32> {
        let mut due = Vec::new();
        let before = std::mem::take(&mut self.due);
        for &pid in pids {
            let (mut at, mut interval) = before.get(&pid).copied().unwrap_or((now, pause));
            if at <= now {
                due.push(pid);
                at = now.saturating_add(interval);
                interval = interval.saturating_mul(2).min(MAX_INTERVAL_NS.max(pause));
            }
            self.due.insert(pid, (at, interval));
        }
        due
    }
}

pub fn processes(proc: &Path) -> io::Result<Vec<u32>> {
    let names = fs::read_dir(proc)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(names.collect())
}

/// The user as whom a process runs. Of the folder itself, the kernel says so whether or not the process may be traced
/// (`task_dump_owner`, fs/proc/base.c).
pub fn user(proc: &Path, pid: u32) -> io::Result<u32> {
    Ok(fs::metadata(proc.join(pid.to_string()))?.uid())
}

/// The CUDA driver libraries that a process has mapped. May block, as long as the process holds the lock of its memory.
pub fn mapped(proc: &Path, pid: u32) -> io::Result<Vec<Mapped>> {
    let maps = File::open(proc.join(pid.to_string()).join("maps"))?;
    parse(BufReader::with_capacity(64 * 1024, maps.take(MAX_BYTES)))
}

/// Parses lines of `START-END PERM OFFSET DEVICE INODE  PATH` (proc_pid_maps(5)).
fn parse(mut maps: impl BufRead) -> io::Result<Vec<Mapped>> {
    let mut found: Vec<Mapped> = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if maps.read_until(b'\n', &mut line)? == 0 {
            return Ok(found);
        }
        // A path may contain any character but is the last field.
        let Ok(line) = std::str::from_utf8(&line) else { continue };
        let Some(start) = line.find('/') else { continue };
        let (head, path) = line.split_at(start);
        let path = path.trim_end_matches('\n');
        let (path, deleted) = path.strip_suffix(" (deleted)").map_or((path, false), |path| (path, true));
        if !path.rsplit('/').next().is_some_and(is_driver) {
            continue;
        }
        let mut fields = head.split_whitespace().skip(3);
        let (Some(device), Some(Ok(inode))) = (fields.next(), fields.next().map(str::parse)) else { continue };
        let id = format!("{device} {inode}");
        if found.len() < MAX_MAPPED && !found.iter().any(|mapped| mapped.id == id) {
            found.push(Mapped { id, inode, path: path.into(), deleted });
        }
    }
}

/// Matches `libcuda.so.1` and `libcuda.so.570.124.06`, but not the runtime's `libcudart.so.12`.
fn is_driver(name: &str) -> bool {
    name.strip_prefix("libcuda.so").is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
5566-5567 r--p 00000000 fe:01 77                         /usr/bin/python3.11
7f00-7f01 r-xp 00001000 fe:01 1234                       /usr/lib/x86_64-linux-gnu/libcuda.so.570.124.06
7f01-7f02 r--p 00002000 fe:01 1234                       /usr/lib/x86_64-linux-gnu/libcuda.so.570.124.06
7f02-7f03 rw-p 00000000 00:00 0 \n\
7f03-7f04 r-xp 00000000 fe:01 9                          /opt/a b/libcudart.so.12
7f04-7f05 r-xp 00000000 00:2a 5                          /opt/a b/libcuda.so.1 (deleted)
7f05-7f06 r-xp 00000000 00:2a x                          /opt/libcuda.so.1
7ffe-7fff r-xp 00000000 00:00 0                          [vdso]
";

    #[test]
    fn each_driver_library_in_maps_is_found_once() {
        let found = parse(MAPS.as_bytes()).unwrap();
        let expected = [
            ("fe:01 1234", 1234, "/usr/lib/x86_64-linux-gnu/libcuda.so.570.124.06", false),
            ("00:2a 5", 5, "/opt/a b/libcuda.so.1", true),
        ];
        let expected =
            expected.map(|(id, inode, path, deleted)| Mapped { id: id.into(), inode, path: path.into(), deleted });
        assert_eq!(found, expected);
    }

    #[test]
    fn of_a_process_that_maps_thousands_few_are_kept() {
        let line = |inode: usize| format!("7f00-7f01 r-xp 00001000 fe:01 {inode} /opt/a/libcuda.so.1\n");
        let maps: String = (1..2000).map(line).collect();
        assert_eq!(parse(maps.as_bytes()).unwrap().len(), MAX_MAPPED);
    }

    #[test]
    fn a_process_is_inspected_at_doubling_intervals() {
        const S: u64 = 1_000_000_000;
        let mut schedule = Schedule::default();
        let mut inspected = Vec::new();
        for second in 0..400 {
            if schedule.due(&[7], second * S, S) == [7] {
                inspected.push(second);
            }
        }
        assert_eq!(inspected, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303, 363]);
        assert_eq!(schedule.due(&[8, 7], 364 * S, S), [8], "a new process");
        assert!(schedule.due(&[], 365 * S, S).is_empty());
        assert!(schedule.due.is_empty(), "ended processes are forgotten");
        assert_eq!(schedule.due(&[7], 366 * S, S), [7], "a process with a reused pid is new");
    }

    #[test]
    fn an_ended_process_is_an_error() {
        let proc = Path::new("/proc");
        assert_eq!(mapped(proc, u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(mapped(proc, std::process::id()).unwrap(), []);
        assert!(processes(proc).unwrap().contains(&std::process::id()));
    }
}
