//! Which processes have a CUDA driver's library mapped, and which of them are looked at when. Reading what a process has
//! mapped costs the kernel and, for a moment, the process: a new process is looked at at once, and again after twice the
//! time each, for it may load the library at any time.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// A process that is older than this is looked at this often, in nanoseconds.
const SLOWEST: u64 = 60_000_000_000;
/// Bytes of one process's maps that are read.
const LONGEST: u64 = 64 << 20;

/// A file that a process has mapped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mapped {
    /// Device and inode, as the kernel writes them.
    pub id: String,
    /// Its inode.
    pub inode: u64,
    /// Where it was when it was mapped, in the process's own root.
    pub path: PathBuf,
    /// It was removed since, or another one is in its place.
    pub deleted: bool,
}

/// Who is due.
#[derive(Debug, Default)]
pub struct Schedule {
    due: HashMap<u32, (u64, u64)>,
}

impl Schedule {
    /// Of the processes that there are now, those that are to be looked at.
    pub fn due(&mut self, pids: &[u32], now: u64, pause: u64) -> Vec<u32> {
        let mut due = Vec::new();
        let before = std::mem::take(&mut self.due);
        for &pid in pids {
            let (mut at, mut wait) = before.get(&pid).copied().unwrap_or((now, pause));
            if at <= now {
                due.push(pid);
                at = now.saturating_add(wait);
                wait = wait.saturating_mul(2).min(SLOWEST.max(pause));
            }
            self.due.insert(pid, (at, wait));
        }
        due
    }
}

/// Every process.
pub fn processes(proc: &Path) -> io::Result<Vec<u32>> {
    let names = fs::read_dir(proc)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(names.collect())
}

/// The libraries of the CUDA driver that a process has mapped.
pub fn mapped(proc: &Path, pid: u32) -> io::Result<Vec<Mapped>> {
    let maps = File::open(proc.join(pid.to_string()).join("maps"))?;
    parse(BufReader::with_capacity(64 * 1024, maps.take(LONGEST)))
}

/// Lines of `START-END PERM OFFSET DEVICE INODE  PATH` (proc_pid_maps(5)).
fn parse(mut maps: impl BufRead) -> io::Result<Vec<Mapped>> {
    let mut found: Vec<Mapped> = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if maps.read_until(b'\n', &mut line)? == 0 {
            return Ok(found);
        }
        // A path may have anything in it but is the last of the line.
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
        if !found.iter().any(|mapped| mapped.id == id) {
            found.push(Mapped { id, inode, path: path.into(), deleted });
        }
    }
}

/// `libcuda.so.1`, `libcuda.so.570.124.06`; and not the runtime's `libcudart.so.12`.
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
    fn the_drivers_libraries_are_found_in_maps_once_each() {
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
    fn a_process_is_looked_at_at_once_and_then_ever_less_often() {
        const S: u64 = 1_000_000_000;
        let mut schedule = Schedule::default();
        let mut looks = Vec::new();
        for second in 0..400 {
            if schedule.due(&[7], second * S, S) == [7] {
                looks.push(second);
            }
        }
        assert_eq!(looks, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303, 363]);
        assert_eq!(schedule.due(&[8, 7], 364 * S, S), [8], "a new one");
        assert!(schedule.due(&[], 365 * S, S).is_empty());
        assert!(schedule.due.is_empty(), "the dead are forgotten");
        assert_eq!(schedule.due(&[7], 366 * S, S), [7], "its number is another's now");
    }

    #[test]
    fn a_process_that_is_gone_is_an_error_and_this_one_has_no_driver() {
        let proc = Path::new("/proc");
        assert_eq!(mapped(proc, u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(mapped(proc, std::process::id()).unwrap(), []);
        assert!(processes(proc).unwrap().contains(&std::process::id()));
    }
}
