//! One process as /proc has it: its name, who started it, whose it is, its command line, and the namespace and cgroup that it is in.
//! All but the command line can be read without waiting.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::source::text::{fields, lines, number};

/// Bytes that are read of a command line.
const COMMAND: u64 = 64 << 10;
const STAT: u64 = 4 << 10;
/// `PF_KTHREAD` of include/linux/sched.h: it runs no program, ever.
const KERNEL: u64 = 0x0020_0000;

/// From `/proc/PID/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    pub comm: Vec<u8>,
    pub parent: u32,
    /// A thread of the kernel.
    pub kernel: bool,
    /// When it started, in clock ticks since the host did: with the pid it identifies the process.
    pub started: u64,
}

pub fn folder(proc: &Path, pid: u32) -> PathBuf {
    proc.join(pid.to_string())
}

/// `None` if there is no such process.
pub fn stat(proc: &Path, pid: u32) -> Option<Stat> {
    let mut text = Vec::new();
    File::open(folder(proc, pid).join("stat")).ok()?.take(STAT).read_to_end(&mut text).ok()?;
    parse(&text)
}

/// `pid (comm) state ppid pgrp session tty tpgid flags … starttime …`, where the name may have any bytes (proc_pid_stat(5)).
fn parse(text: &[u8]) -> Option<Stat> {
    let (open, close) = (text.iter().position(|byte| *byte == b'(')?, text.iter().rposition(|byte| *byte == b')')?);
    let comm = text.get(open + 1..close)?.to_vec();
    let mut rest = fields(&text[close + 1..]).skip(1).map(number);
    let parent = u32::try_from(rest.next()??).ok()?;
    let flags = rest.nth(4)??;
    let started = rest.nth(12)??;
    Some(Stat { comm, parent, kernel: flags & KERNEL != 0, started })
}

/// Whether this number is that of a process, and not of one of its threads.
pub fn leads(proc: &Path, pid: u32) -> bool {
    let status = fs::read(folder(proc, pid).join("status")).unwrap_or_default();
    let leader = lines(&status).find_map(|line| line.strip_prefix(b"Tgid:\t")).and_then(number);
    leader == Some(u64::from(pid))
}

/// The user as whom it runs. Of the folder itself, the kernel says so whether or not the process may be traced
/// (`task_dump_owner`, fs/proc/base.c).
pub fn user(proc: &Path, pid: u32) -> Option<u32> {
    Some(fs::metadata(folder(proc, pid)).ok()?.uid())
}

/// Its arguments, each with a zero behind it. The process decides where they are, so reading them may take for ever.
pub fn command(proc: &Path, pid: u32) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(folder(proc, pid).join("cmdline"))?.take(COMMAND).read_to_end(&mut text)?;
    Ok(text)
}

/// The number of its network namespace: that of a file in the namespace's own table (`proc_tgid_net_lookup`, fs/proc/proc_net.c), which
/// needs no right to look into the process.
pub fn namespace(process: &Path) -> Option<u64> {
    Some(fs::metadata(process.join("net/dev")).ok()?.ino())
}

pub fn cgroups(proc: &Path, pid: u32) -> Vec<u8> {
    fs::read(folder(proc, pid).join("cgroup")).unwrap_or_default()
}

/// All processes.
pub fn all(proc: &Path) -> io::Result<Vec<u32>> {
    Ok(fs::read_dir(proc)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::parent_id;

    #[test]
    fn this_process_is_as_it_knows_itself() {
        let (proc, pid) = (Path::new("/proc"), std::process::id());
        let own = stat(proc, pid).unwrap();
        assert_eq!((own.parent, own.kernel), (parent_id(), false));
        assert!(own.started > 0 && leads(proc, pid) && all(proc).unwrap().contains(&pid));
        assert_eq!(user(proc, pid), Some(rustix::process::geteuid().as_raw()));
        let arguments = command(proc, pid).unwrap();
        assert_eq!(arguments.split(|byte| *byte == 0).next().unwrap(), std::env::args().next().unwrap().as_bytes());
        assert_eq!(namespace(&folder(proc, pid)), namespace(Path::new("/proc/self")));
        // A thread has a number, and is no process.
        std::thread::spawn(move || {
            let thread = rustix::thread::gettid().as_raw_pid() as u32;
            assert!(stat(proc, thread).is_some() && !leads(proc, thread));
        })
        .join()
        .unwrap();
        assert!(stat(proc, u32::MAX).is_none() && user(proc, u32::MAX).is_none());
    }

    #[test]
    fn a_name_may_have_any_bytes() {
        let tail = "S 7 1 1 0 -1 2097152 1 0 0 0 1 2 0 0 20 0 1 0 4242 9 9";
        for name in ["a", ") S 1 (", "(\n)", ""] {
            let found = parse(format!("12 ({name}) {tail}").as_bytes()).unwrap();
            assert_eq!((found.comm.as_slice(), found.parent, found.started), (name.as_bytes(), 7, 4242));
            assert!(found.kernel);
        }
        for text in ["", "12", "12 (a", "12 )a(", "12 (a) S", "12 (a) S x 1 1 0 -1 0 1 0 0 0 1 2 0 0 20 0 1 0 4242"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
