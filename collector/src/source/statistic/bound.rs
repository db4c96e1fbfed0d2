//! Memory limits of a killed process's cgroup and of those above it, read just after the kill: at the next tick the cgroup may
//! be gone, and a limit inside a container is read at no other time.

use std::collections::HashMap;
use std::ffi::CStr;
use std::iter;
use std::os::fd::AsFd;

use collector_core::cgroup::Id;
use collector_core::signal::oom::Bound;
use collector_core::statistic::workload::{Statistic as S, Values};

use super::handle::Descriptors;
use super::tree::Tree;
use super::workload::above;

/// The processes of a cgroup, one a line.
const PROCESSES: &CStr = c"cgroup.procs";
/// At most this many cgroups above each other are read.
const LEVELS: usize = 32;
/// At most this many cgroups that are no workload's own are remembered, for each workload of the cap.
const PER_WORKLOAD: usize = 16;

/// Paths of memory cgroups inside workloads' own, whose files are otherwise not read.
#[derive(Debug, Default)]
pub struct Inner(HashMap<Id, Box<str>>);

impl Inner {
    pub fn born(&mut self, id: Id, path: &str, workloads: usize) {
        if self.0.len() < workloads.saturating_mul(PER_WORKLOAD) {
            self.0.insert(id, path.into());
        }
    }

    pub fn died(&mut self, id: Id) {
        self.0.remove(&id);
    }

    /// A walk finds all of them again.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn path(&self, id: Id) -> Option<&str> {
        self.0.get(&id).map(|path| &**path)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Id, &str)> {
        self.0.iter().map(|(id, path)| (*id, &**path))
    }
}

/// The limits of the cgroup at a path, if it is still this one, and of those above it; nearest first.
pub fn read(tree: &Tree, id: Id, path: &str, descriptors: &mut Descriptors) -> Vec<Bound> {
    let bounds = iter::once(path).chain(above(path)).take(LEVELS).filter_map(|at| {
        let directory = if at == path { tree.enter(&tree.location(at)?, id).ok() } else { tree.open_at(at) }?;
        let mut values = Values::new();
        let mut read = false;
        for file in tree.files() {
            let has_limit = file.format.is_of(S::MemoryLimit);
            if (has_limit || file.format.is_of(S::MemoryPeak))
                && let Ok(text) = descriptors.read_once(directory.as_fd(), file.name)
            {
                file.format.read(text, &mut values);
                read |= has_limit;
            }
        }
        let [limit_bytes, peak_bytes] = [S::MemoryLimit, S::MemoryPeak].map(|statistic| values.get(statistic));
        let empty = descriptors.read_once(directory.as_fd(), PROCESSES).is_ok_and(|processes| processes.is_empty());
        // Without the file there may be a limit.
        read.then(|| Bound { path: at.to_owned(), limit_bytes, peak_bytes, empty })
    });
    bounds.collect()
}
