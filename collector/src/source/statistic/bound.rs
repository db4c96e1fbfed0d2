//! Memory limits of a killed process's cgroup and of those above it, read just after the kill: at the next tick the cgroup may
//! be gone, and a limit inside a container is read at no other time.

use std::collections::HashMap;
use std::os::fd::AsFd;

use collector_core::cgroup::Id;
use collector_core::signal::oom::Bound;
use collector_core::statistic::workload::{Statistic as S, Values};
use rustix::fs::fstat;

use super::handle::{Descriptors, Handle};
use super::tree::Tree;

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

    /// A cgroup above was renamed.
    pub fn renamed(&mut self, old: &str, new: &str) {
        for path in self.0.values_mut() {
            let rest = path.strip_prefix(old).filter(|rest| rest.starts_with('/')).map(|rest| format!("{new}{rest}"));
            if let Some(moved) = rest {
                *path = moved.into();
            }
        }
    }

    pub fn path(&self, id: Id) -> Option<&str> {
        self.0.get(&id).map(|path| &**path)
    }
}

/// The limits of the cgroup at a path, if it is still this one, and of those above it; nearest first.
pub fn read(tree: &Tree, id: Id, path: &str, descriptors: &mut Descriptors) -> Vec<Bound> {
    let ends = path.rmatch_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
    let paths = std::iter::once(path).chain(ends.map(|at| &path[..at])).take(LEVELS);
    let bounds = paths.filter_map(|at| {
        let directory = tree.open_at(at)?;
        // Paths are reused, ids are not.
        if at == path && fstat(&directory).ok()?.st_ino != id.id {
            return None;
        }
        let mut values = Values::new();
        let mut read = false;
        for file in tree.read_for(&[S::MemoryLimit, S::MemoryPeak]) {
            if let Ok(text) = descriptors.read(directory.as_fd(), file.name, &mut Handle::Closed, false) {
                file.format.read(text, &mut values);
                read |= file.format.is_of(S::MemoryLimit);
            }
        }
        let [limit_bytes, peak_bytes] = [S::MemoryLimit, S::MemoryPeak].map(|statistic| values.get(statistic));
        // Without the file there may be a limit.
        read.then(|| Bound { path: at.to_owned(), limit_bytes, peak_bytes })
    });
    bounds.collect()
}
