//! Cgroups that root gave to users, whose names say nothing of it. A user makes what is below them, and names it.

use std::collections::BTreeMap;

use super::{Identity, Kind};

/// Limit on the cgroups. Only root makes them.
const MAX: usize = 4096;

/// The part of a path that is a cgroup which root gave to a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Length of the part in bytes.
    pub bytes: usize,
    pub uid: u32,
}

/// The cgroups that root gave to users, with their uids.
#[derive(Clone, Debug, Default)]
pub struct Grants(BTreeMap<Box<str>, u32>);

impl Grants {
    /// Root gave the cgroup at this path to a user, or took it back: `uid` 0.
    pub fn set(&mut self, path: &str, uid: u32) {
        if uid == 0 {
            self.0.remove(path);
        } else if is_open(path) && (self.0.len() < MAX || self.0.contains_key(path)) {
            self.0.insert(path.into(), uid);
        }
    }

    /// The outermost that the path is below.
    pub fn above(&self, path: &str) -> Option<Grant> {
        if self.0.is_empty() {
            return None;
        }
        let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
        ends.map(|bytes| (bytes, self.0.get(&path[..bytes]))).find_map(|(bytes, uid)| Some(Grant { bytes, uid: *uid? }))
    }

    /// The workload of a path.
    pub fn identity(&self, path: &str) -> Identity {
        Identity::within(path, self.above(path))
    }
}

/// Whether what is below a cgroup is named by what it looks like. All else belongs to the workload or to the user that the
/// cgroup's own name tells: a container in a user namespace has its cgroup, too, and is root's engine's.
pub fn is_open(path: &str) -> bool {
    let identity = Identity::of(path);
    matches!(identity.kind, Kind::Slice | Kind::Cgroup) && identity.owner.is_none()
}
