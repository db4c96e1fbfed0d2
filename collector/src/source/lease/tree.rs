//! What an owner has: a process with all that it started, or a cgroup. Reads /proc and cgroupfs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use collector_core::lease::{Owner, Use};

use super::place::{Places, named, read};
use crate::source::text::{fields, lines, number};

/// Processes of one owner that are read; more are not counted.
const PROCESSES: usize = 512;
/// Threads of one process that are asked for what they started.
const THREADS: usize = 1024;

/// What became of an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Has(Use),
    /// There is no process in its cgroup.
    Empty(Use),
    Gone,
}

pub fn look(places: &Places, owner: &Owner) -> Found {
    match owner {
        Owner::Process { pid, started } => match places.life(*pid) {
            Some(life) if life.started == *started && !life.ended => Found::Has(tree(places, *pid)),
            _ => Found::Gone,
        },
        Owner::Cgroup { path } => match places.directory(path) {
            Some(directory) => cgroup(&directory),
            None => Found::Gone,
        },
    }
}

/// A process, and all below it. What several of them share is counted once: the largest counts.
fn tree(places: &Places, root: u32) -> Use {
    let mut found = Use::default();
    let (mut seen, mut next) = (BTreeSet::from([root]), vec![root]);
    let (mut shared, mut files, mut pinned) = (0, 0, 0_u64);
    while let Some(pid) = next.pop() {
        let directory = places.process(pid);
        let Some(status) = read(&directory.join("status")) else { continue };
        let bytes = |name: &[u8]| {
            let value = lines(&status).find_map(|line| line.strip_prefix(name));
            value.and_then(|value| number(fields(value).next()?)).unwrap_or(0).saturating_mul(1024)
        };
        found.pids.push(pid);
        let own = bytes(b"RssAnon:").saturating_add(bytes(b"VmSwap:"));
        found.hard = found.hard.saturating_add(own);
        shared = bytes(b"RssShmem:").max(shared);
        files = bytes(b"RssFile:").max(files);
        pinned = pinned.saturating_add(bytes(b"VmPin:"));
        for child in children(&directory) {
            if seen.len() < PROCESSES && seen.insert(child) {
                next.push(child);
            }
        }
    }
    found.hard = found.hard.saturating_add(shared);
    found.soft = files;
    found.pinned = Some(pinned);
    found
}

/// Each thread has children of its own.
fn children(process: &Path) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(process.join("task")) else { return Vec::new() };
    let lists = threads.flatten().take(THREADS).filter_map(|thread| read(&thread.path().join("children")));
    let numbers = |list: Vec<u8>| {
        let pids = fields(&list).filter_map(|pid| u32::try_from(number(pid)?).ok());
        pids.collect::<Vec<_>>()
    };
    lists.flat_map(numbers).collect()
}

fn cgroup(directory: &Path) -> Found {
    let events = read(&directory.join("cgroup.events"));
    let stat = match read(&directory.join("memory.stat")) {
        Some(stat) => stat,
        // It is there, but its memory is not counted apart (v2, where the controller is not switched on): it has used nothing of the lease.
        None if events.is_some() => Vec::new(),
        None => return Found::Gone,
    };
    let value = |name: &[u8]| named(&stat, name);
    // On v1 those of the cgroups below are in numbers of their own.
    let anon = value(b"total_rss").or_else(|| value(b"anon")).unwrap_or(0);
    let shared = value(b"total_shmem").or_else(|| value(b"shmem")).unwrap_or(0);
    let kernel = value(b"kernel").unwrap_or(0);
    let reclaimable = value(b"slab_reclaimable").unwrap_or(0);
    let file = value(b"total_mapped_file").or_else(|| value(b"file_mapped")).unwrap_or(0);
    let hard = anon.saturating_add(shared).saturating_add(kernel.saturating_sub(reclaimable));
    // `memory.peak` is there since Linux 5.19.
    let peak = ["memory.peak", "memory.max_usage_in_bytes"].into_iter().find_map(|name| read(&directory.join(name)));
    let peak = peak.and_then(|text| number(lines(&text).next()?));
    let found = Use { hard, soft: file, peak, ..Use::default() };
    let empty = match events {
        Some(events) => named(&events, b"populated") == Some(0),
        None => read(&directory.join("cgroup.procs")).is_some_and(|pids| pids.is_empty()) && !has_children(directory),
    };
    if empty { Found::Empty(found) } else { Found::Has(found) }
}

fn has_children(directory: &Path) -> bool {
    let is_directory = |entry: fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    fs::read_dir(directory).is_ok_and(|entries| entries.flatten().any(is_directory))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_cgroup_lives_although_its_memory_is_not_counted() {
        let folder = std::env::temp_dir().join(format!("headroom-owner-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(cgroup(&folder), Found::Gone);
        fs::write(folder.join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        assert_eq!(cgroup(&folder), Found::Has(Use::default()));
        fs::write(folder.join("cgroup.events"), "populated 0\nfrozen 0\n").unwrap();
        assert_eq!(cgroup(&folder), Found::Empty(Use::default()));
        fs::write(folder.join("memory.stat"), "anon 5\nshmem 1\nkernel 9\nslab_reclaimable 2\nfile_mapped 4\n")
            .unwrap();
        assert_eq!(cgroup(&folder), Found::Empty(Use { hard: 13, soft: 4, ..Use::default() }));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_process_is_known_with_what_it_started_until_it_ends() {
        let places = Places { proc: "/proc".into(), memory: None };
        let mut child = Command::new("sh");
        // The shell starts another, which waits for the end of its input, and then waits for it.
        let mut child = child
            .args(["-c", "sh -c 'echo; read _'; true"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut byte = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut byte).unwrap();
        let started = places.life(child.id()).unwrap().started;
        let owner = Owner::Process { pid: child.id(), started };
        let Found::Has(used) = look(&places, &owner) else { panic!("it lives") };
        assert_eq!((used.pids.len(), used.pids[0]), (2, child.id()), "{used:?}");
        assert!(used.hard > 0 && used.soft > 0, "{used:?}");
        let other = Owner::Process { pid: child.id(), started: started + 1 };
        assert_eq!(look(&places, &other), Found::Gone, "the pid is another process's");
        drop(child.stdin.take());
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while look(&places, &owner) != Found::Gone {
            assert!(std::time::Instant::now() < until, "nobody has waited for it, but it has ended");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.wait().unwrap();
        assert_eq!(look(&places, &owner), Found::Gone);
    }
}
