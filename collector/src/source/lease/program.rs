//! Which programs the processes of an owner run: their executables, as far as this process may look at them, and their names. Follows the
//! kernel's own link to an executable and opens nothing.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use collector_core::learn::File;
use collector_core::lease::{Owner, Use};

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
    let executable = |pid: &u32| file(&process(pid).join("exe"));
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
    let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    // Before 1970 it is a large number: another one all the same.
    let modified = found.mtime().wrapping_mul(1_000_000_000).wrapping_add(found.mtime_nsec());
    Some(File { device: found.dev(), inode: found.ino(), size: found.size(), modified: modified as u64 })
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
    }
}
