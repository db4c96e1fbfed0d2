//! Memory limits of a killed process's cgroup and of those above it, read just after the kill: at the next tick the cgroup may
//! be gone, and a limit inside a container is read at no other time. After a signal, use and limit if no program may read them, and
//! the page cache of a cgroup that is near its limit.

use std::collections::HashMap;
use std::ffi::CStr;
use std::iter;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use collector_core::cgroup::Id;
use collector_core::identity::Identity;
use collector_core::sample::Reading;
use collector_core::signal::kill;
use collector_core::signal::oom::{self, Bound};
use collector_core::statistic::workload::{Statistic as S, Values};

use super::handle::Descriptors;
use super::tree::Tree;
use super::workload::above;

/// The processes of a cgroup, one a line.
const PROCESSES: &CStr = c"cgroup.procs";
/// What is read after a signal.
const USAGE: [S; 4] = [S::MemoryCurrent, S::MemoryLimit, S::MemoryFile, S::MemoryShmem];
/// At most this many cgroups above each other are read.
const LEVELS: usize = 32;
/// At most this many bytes of cgroups that are no workload's own are remembered, for each workload of the cap.
const PER_WORKLOAD: usize = 4096;
/// The share of that of whoever makes them.
const SHARE: usize = 8;
/// What an entry takes in bytes beside its path.
const ENTRY: usize = 64;

/// Paths of memory cgroups inside workloads' own, whose files are otherwise not read.
#[derive(Debug, Default)]
pub struct Inner {
    paths: HashMap<Id, (Box<str>, Arc<str>)>,
    /// What each owner's entries take in bytes.
    held: HashMap<Arc<str>, usize>,
    bytes: usize,
}

impl Inner {
    /// `identity` is the path's: the cgroup is its owner's, or else its workload's.
    pub fn born(&mut self, id: Id, path: &str, identity: Identity, workloads: usize) {
        self.died(id);
        let most = workloads.saturating_mul(PER_WORKLOAD);
        let owner = identity.owner.unwrap_or(identity.top);
        let (bytes, held) = (path.len() + ENTRY, self.held.get(&owner).copied().unwrap_or(0));
        if self.bytes + bytes <= most && held + bytes <= most / SHARE {
            self.bytes += bytes;
            self.held.insert(owner.clone(), held + bytes);
            self.paths.insert(id, (path.into(), owner));
        }
    }

    pub fn died(&mut self, id: Id) {
        let Some((path, owner)) = self.paths.remove(&id) else { return };
        let bytes = path.len() + ENTRY;
        self.bytes -= bytes;
        if let Some(held) = self.held.get_mut(&owner) {
            *held -= bytes;
            if *held == 0 {
                self.held.remove(&owner);
            }
        }
    }

    /// A walk finds all of them again.
    pub fn clear(&mut self) {
        *self = Inner::default();
    }

    pub fn path(&self, id: Id) -> Option<&str> {
        self.paths.get(&id).map(|(path, _)| &**path)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Id, &str)> {
        self.paths.iter().map(|(id, (path, _))| (*id, &**path))
    }
}

/// The limits of the cgroup at a path, if it is still this one, and of those above it; nearest first.
fn read(tree: &Tree, id: Id, path: &str, descriptors: &mut Descriptors) -> Vec<Bound> {
    let bounds = iter::once(path).chain(above(path)).take(LEVELS).filter_map(|at| {
        let directory = if at == path { tree.enter(&tree.location(at)?, id).ok() } else { tree.open_at(at) }?;
        let (values, [read, _]) = numbers(tree, &directory, [S::MemoryLimit, S::MemoryPeak], descriptors);
        let [limit_bytes, peak_bytes] = [S::MemoryLimit, S::MemoryPeak].map(|statistic| values.get(statistic));
        let empty = descriptors.read_once(directory.as_fd(), PROCESSES).is_ok_and(|processes| processes.is_empty());
        // Without the file there may be a limit.
        read.then(|| Bound { path: at.to_owned(), limit_bytes, peak_bytes, empty })
    });
    bounds.collect()
}

/// The cgroup whose files complete a reading.
pub fn wanted(reading: &Reading) -> Option<Id> {
    match reading {
        Reading::Oom(oom::Reading::Kill(kill)) => kill.cgroup,
        // Far from a limit nothing more is asked: most signals end here.
        Reading::Kill(kill::Reading::Sent(sent)) if sent.memory_bytes.is_none() || sent.is_near_limit(0) => sent.cgroup,
        _ => None,
    }
}

/// Adds what the files of its cgroup, at this path, say just after it.
pub fn complete(reading: &mut Reading, tree: &Tree, id: Id, path: &str, descriptors: &mut Descriptors) {
    match reading {
        Reading::Oom(oom::Reading::Kill(kill)) => kill.limits = read(tree, id, path, descriptors),
        Reading::Kill(kill::Reading::Sent(sent)) => {
            let values = at(tree, id, path, USAGE, descriptors);
            if sent.memory_bytes.is_none() {
                (sent.memory_bytes, sent.limit_bytes) = (values.get(S::MemoryCurrent), values.get(S::MemoryLimit));
                sent.read_after = sent.memory_bytes.is_some();
            }
            let (file, shmem) = (values.get(S::MemoryFile), values.get(S::MemoryShmem));
            sent.page_cache_bytes = file.zip(shmem).map(|(file, shmem)| file.saturating_sub(shmem));
        }
        _ => {}
    }
}

/// These numbers of the cgroup at a path, if it is still this one.
fn at<const N: usize>(tree: &Tree, id: Id, path: &str, wanted: [S; N], descriptors: &mut Descriptors) -> Values {
    let directory = tree.location(path).and_then(|location| tree.enter(&location, id).ok());
    directory.map_or_else(Values::new, |directory| numbers(tree, &directory, wanted, descriptors).0)
}

/// Numbers of a cgroup, and whether the file of each could be read.
fn numbers<const N: usize>(
    tree: &Tree,
    directory: &OwnedFd,
    wanted: [S; N],
    descriptors: &mut Descriptors,
) -> (Values, [bool; N]) {
    let (mut values, mut read) = (Values::new(), [false; N]);
    for file in tree.files() {
        let has = wanted.map(|statistic| file.format.is_of(statistic));
        if has.contains(&true)
            && let Ok(text) = descriptors.read_once(directory.as_fd(), file.name)
        {
            file.format.read(text, &mut values);
            read.iter_mut().zip(has).for_each(|(read, has)| *read |= has);
        }
    }
    (values, read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn born(inner: &mut Inner, id: u64, path: &str) {
        inner.born(Id { hierarchy: 0, id }, path, Identity::of(path), 20);
    }

    #[test]
    fn nobodys_cgroups_leave_no_room_for_anothers() {
        let mut inner = Inner::default();
        let users = |uid: u32| format!("/user.slice/user-{uid}.slice/user@{uid}.service/app.slice");
        for id in 0..10_000 {
            born(&mut inner, id, &format!("{}/app{id}.service/{}", users(1000), "x/".repeat((id % 100) as usize)));
        }
        assert!((1..100).contains(&inner.paths.len()), "{}", inner.paths.len());
        let scope = format!("/system.slice/docker-{}.scope", "4f1c2a9b".repeat(8));
        born(&mut inner, 10_001, &format!("{scope}/app"));
        born(&mut inner, 10_002, &format!("{}/jupyter.service/kernel", users(1001)));
        for id in [10_001, 10_002] {
            assert!(inner.path(Id { hierarchy: 0, id }).is_some(), "{id}");
        }
        for id in 20_000..30_000 {
            born(&mut inner, id, &format!("/system.slice/docker-{id:064}.scope/app"));
        }
        assert!(inner.bytes <= 20 * PER_WORKLOAD);
        // Twice born counts once, and what is gone leaves room.
        born(&mut inner, 10_001, &format!("{scope}/app"));
        let ids: Vec<Id> = inner.iter().map(|(id, _)| id).collect();
        assert_eq!(inner.bytes, inner.iter().map(|(_, path)| path.len() + ENTRY).sum::<usize>());
        ids.into_iter().for_each(|id| inner.died(id));
        assert_eq!((inner.bytes, inner.held.len(), inner.paths.len()), (0, 0, 0));
    }
}
