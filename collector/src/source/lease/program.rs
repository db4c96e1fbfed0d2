//! Which programs the processes of an owner run: their executables, as far as this process may look at them, and their names. Follows the
//! kernel's own link to an executable and opens nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use collector_core::learn::File;
use collector_core::lease::{Owner, Use};
use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, makedev, statx};

use super::place::{Places, read};
use crate::source::text::{fields, lines, number};

/// Processes of one owner that are looked at, and cgroups below the owner's.
const PROCESSES: usize = 64;
const CGROUPS: usize = 64;

/// Programs that run at one moment, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Programs {
    pub executables: Vec<File>,
    pub names: Vec<String>,
}

/// Those of an owner that has this now.
pub fn look(places: &Places, owner: &Owner, used: &Use) -> Programs {
    let pids = match owner {
        Owner::Process { .. } => used.pids.iter().copied().take(PROCESSES).collect(),
        Owner::Cgroup { path } => places.directory(path).map(|directory| members(&directory)).unwrap_or_default(),
    };
    let process = |pid: &u32| places.process(*pid);
    // Whoever is confined, as the agent usually is, may not follow the link.
    let executable = |pid: &u32| known(&process(pid).join("exe"));
    let name = |pid: &u32| {
        let text = read(&process(pid).join("comm"))?;
        Some(String::from_utf8_lossy(lines(&text).next()?).into_owned()).filter(|name| !name.is_empty())
    };
    Programs {
        executables: pids.iter().filter_map(executable).collect::<BTreeSet<_>>().into_iter().collect(),
        names: pids.iter().filter_map(name).collect::<BTreeSet<_>>().into_iter().collect(),
    }
}

/// A regular file as its filesystem knows it, wherever links lead.
pub fn file(path: &Path) -> Option<File> {
    told(path, AtFlags::empty())
}

/// The same as last known on this host: a filesystem of a user's, or of a server that is gone, is not asked, so it holds up nobody.
fn known(path: &Path) -> Option<File> {
    told(path, AtFlags::STATX_DONT_SYNC)
}

fn told(path: &Path, flags: AtFlags) -> Option<File> {
    let found = statx(CWD, path, flags, StatxFlags::BASIC_STATS).ok()?;
    let regular = FileType::from_raw_mode(found.stx_mode.into()) == FileType::RegularFile;
    // Before 1970 it is a large number: another one all the same.
    let seconds = found.stx_mtime.tv_sec.wrapping_mul(1_000_000_000);
    let modified = seconds.wrapping_add(found.stx_mtime.tv_nsec.into()) as u64;
    let device = makedev(found.stx_dev_major, found.stx_dev_minor);
    regular.then_some(File { device, inode: found.stx_ino, size: found.stx_size, modified })
}

/// Processes of a cgroup and of those below it.
fn members(directory: &Path) -> Vec<u32> {
    let (mut pids, mut next, mut left) = (Vec::new(), vec![directory.to_owned()], CGROUPS);
    while let Some(directory) = next.pop().filter(|_| pids.len() < PROCESSES && left > 0) {
        left -= 1;
        let own = read(&directory.join("cgroup.procs")).unwrap_or_default();
        pids.extend(fields(&own).filter_map(|pid| u32::try_from(number(pid)?).ok()));
        let below = fs::read_dir(&directory).into_iter().flatten().flatten();
        let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        next.extend(below.take(left).map(|entry| entry.path()));
    }
    pids.truncate(PROCESSES);
    pids
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_process_has_the_executable_and_the_name_that_it_was_started_with() {
        let places = Places { proc: "/proc".into(), memory: None };
        let pid = std::process::id();
        let used = Use { pids: vec![pid, u32::MAX], ..Use::default() };
        let found = look(&places, &Owner::Process { pid, started: 0 }, &used);
        assert_eq!(found.executables, [file(&std::env::current_exe().unwrap()).unwrap()]);
        // The first thread has the name of the file; it is cut after 15 bytes.
        let own = std::env::current_exe().unwrap();
        let own = own.file_name().unwrap().to_str().unwrap();
        assert_eq!(found.names, [&own[..own.len().min(15)]]);
        assert_eq!(file(Path::new("/proc/self")), None, "a folder is no executable");
        let (exe, path) = (std::fs::metadata(std::env::current_exe().unwrap()).unwrap(), found.executables[0]);
        assert_eq!((path.device, path.inode, path.size), (exe.dev(), exe.ino(), exe.len()));
        assert_eq!(path.modified, exe.mtime() as u64 * 1_000_000_000 + exe.mtime_nsec() as u64);
    }
}
