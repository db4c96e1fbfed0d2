//! Finds the cgroup of another hierarchy that belongs to a workload: the one at the same path; if there is none, the
//! one its processes are in, provided that no other workload's processes are in it. The search repeats until something
//! is found, so it allocates only for a result.

use std::ffi::{CStr, CString};
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context as _, Result};
use collector_core::cgroup::Id;
use collector_core::identity::Identity;
use rustix::fs::{Mode, OFlags, open};

use super::handle::Descriptors;
use super::tree::Tree;
use crate::source::cgroup::path_in;
use crate::source::root::Root;
use crate::source::text::{lines, number};

/// Limit on the processes of a cgroup that are checked; more are unlikely to give another result.
const MAX_CHECKED: usize = 64;

/// The host's /proc, for the cgroups of processes.
#[derive(Debug)]
pub struct Processes(OwnedFd);

impl Processes {
    pub fn open(root: &Root) -> Result<Processes> {
        let path = root.at("/proc");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Processes(open(&path, flags, Mode::empty()).with_context(|| format!("open {}", path.display()))?))
    }

    /// Content of `/proc/PID/cgroup`; empty if the process is gone.
    fn cgroups<'a>(&self, pid: u64, descriptors: &'a mut Descriptors) -> &'a [u8] {
        // Room for the longest pid, the rest of the path and the terminating zero.
        let mut name = [0; 32];
        let written = write!(&mut name[..], "{pid}/cgroup");
        match CStr::from_bytes_until_nul(&name) {
            Ok(name) if written.is_ok() => descriptors.read_once(self.0.as_fd(), name).unwrap_or_default(),
            _ => &[],
        }
    }
}

/// In which hierarchies the first process of a memory cgroup is below the root, as bits: [`find`] finds nothing in the others.
pub fn hints(trees: &[Tree], id: Id, location: &CStr, processes: &Processes, descriptors: &mut Descriptors) -> u32 {
    let mut pids = [0; MAX_CHECKED];
    let Some(memory) = trees.first() else { return 0 };
    let Ok(directory) = memory.enter(location, id) else { return 0 };
    let Some(pid) = members(&directory, descriptors, &mut pids).first() else { return 0 };
    let cgroups = processes.cgroups(*pid, descriptors);
    let below = |tree: &Tree| path_in(cgroups, tree.hierarchy.id).is_some_and(|path| path != "/");
    trees.iter().enumerate().filter(|(_, tree)| below(tree)).fold(0, |hints, (at, _)| hints | 1 << at)
}

/// The cgroup in `other` that the processes of the workload whose memory cgroup is at `path` are in, if it belongs to that.
pub fn find(
    [memory, other]: [&Tree; 2],
    (path, id, location): (&str, Id, &CStr),
    processes: &Processes,
    descriptors: &mut Descriptors,
) -> Option<(Id, CString)> {
    let mut pids = [0; MAX_CHECKED];
    let pid = *members(&memory.enter(location, id).ok()?, descriptors, &mut pids).first()?;
    let other_path = path_in(processes.cgroups(pid, descriptors), other.hierarchy.id)?;
    if memory.has(&other_path) {
        // It belongs to the workload at that path, whichever processes are in it.
        return None;
    }
    let directory = other.open_at(&other_path)?;
    let members = members(&directory, descriptors, &mut pids);
    let agrees = |pid: &u64| {
        let cgroups = processes.cgroups(*pid, descriptors);
        // A process that has ended is no contradiction.
        cgroups.is_empty() || path_in(cgroups, memory.hierarchy.id).is_some_and(|other| belongs(&other, path))
    };
    if members.is_empty() || !members.iter().all(agrees) {
        return None;
    }
    // Read again: the buffer has been overwritten by the other processes' cgroups.
    other.find(&path_in(processes.cgroups(pid, descriptors), other.hierarchy.id)?)
}

/// Whether the memory cgroup at `path` belongs to the workload at `top`.
fn belongs(path: &str, top: &str) -> bool {
    path == top || path.starts_with(top) && *Identity::of(path).top == *top
}

/// The first processes of a cgroup. Processes of another pid namespace appear as 0 and are skipped.
fn members<'a>(directory: &OwnedFd, descriptors: &mut Descriptors, pids: &'a mut [u64; MAX_CHECKED]) -> &'a [u64] {
    let text = descriptors.read_once(directory.as_fd(), c"cgroup.procs").unwrap_or_default();
    let found = lines(text).filter_map(number).filter(|pid| *pid != 0);
    let count = pids.iter_mut().zip(found).map(|(slot, pid)| *slot = pid).count();
    &pids[..count]
}
