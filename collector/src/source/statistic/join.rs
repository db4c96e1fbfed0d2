//! Which cgroup of another hierarchy belongs to a workload: the one at the same path; where there is none, the one that
//! its processes are in, if no others are. What is not found is looked for again and again, and so nothing is allocated
//! before something is.

use std::ffi::{CStr, CString};
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context as _, Result};
use rustix::fs::{Mode, OFlags, open};

use super::handle::Descriptors;
use super::tree::Tree;
use crate::identity::Identity;
use crate::signal::cgroup::Id;
use crate::source::cgroup::path_in;
use crate::source::root::Root;
use crate::source::text::{lines, number};

/// Processes that are asked where they are. More of one cgroup would hardly say anything else.
const ASKED: usize = 64;

/// /proc, where processes say in which cgroups they are.
#[derive(Debug)]
pub struct Processes(OwnedFd);

impl Processes {
    /// Opens the host's /proc.
    pub fn open(root: &Root) -> Result<Processes> {
        let path = root.at("/proc");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Processes(open(&path, flags, Mode::empty()).with_context(|| format!("open {}", path.display()))?))
    }

    /// What `/proc/PID/cgroup` says; empty if the process is gone.
    fn cgroups<'a>(&self, pid: u64, descriptors: &'a mut Descriptors) -> &'a [u8] {
        // Room for the longest number, what follows it, and the zero at the end.
        let mut name = [0; 32];
        let written = write!(&mut name[..], "{pid}/cgroup");
        match CStr::from_bytes_until_nul(&name) {
            Ok(name) if written.is_ok() => descriptors.read_once(self.0.as_fd(), name).unwrap_or_default(),
            _ => &[],
        }
    }
}

/// The cgroup of `other` that belongs to the workload whose memory cgroup is at `path`.
pub fn find(
    [memory, other]: [&Tree; 2],
    (path, id, place): (&str, Id, &CStr),
    processes: &Processes,
    descriptors: &mut Descriptors,
) -> Option<(Id, CString)> {
    if let Some(found) = other.find(path) {
        return Some(found);
    }
    let mut pids = [0; ASKED];
    let pid = *members(&memory.enter(place, id).ok()?, descriptors, &mut pids).first()?;
    let elsewhere = path_in(processes.cgroups(pid, descriptors), other.hierarchy.id)?;
    if memory.has(elsewhere) {
        // It belongs to the workload at its own path, whoever else is in it.
        return None;
    }
    let directory = other.open_at(elsewhere)?;
    let members = members(&directory, descriptors, &mut pids);
    let agrees = |pid: &u64| {
        let cgroups = processes.cgroups(*pid, descriptors);
        // A process that has ended meanwhile contradicts nobody.
        cgroups.is_empty() || path_in(cgroups, memory.hierarchy.id).is_some_and(|other| belongs(other, path))
    };
    if members.is_empty() || !members.iter().all(agrees) {
        return None;
    }
    // Asked again: what the process said is overwritten by what the others did.
    other.find(path_in(processes.cgroups(pid, descriptors), other.hierarchy.id)?)
}

/// Whether a memory cgroup belongs to the workload whose own cgroup is at `top`.
fn belongs(path: &str, top: &str) -> bool {
    path == top || path.starts_with(top) && *Identity::of(path).top == *top
}

/// The first processes of a cgroup. Those of another pid namespace have no number here, and show as 0.
fn members<'a>(directory: &OwnedFd, descriptors: &mut Descriptors, pids: &'a mut [u64; ASKED]) -> &'a [u64] {
    let text = descriptors.read_once(directory.as_fd(), c"cgroup.procs").unwrap_or_default();
    let found = lines(text).filter_map(number).filter(|pid| *pid != 0);
    let count = pids.iter_mut().zip(found).map(|(place, pid)| *place = pid).count();
    &pids[..count]
}
