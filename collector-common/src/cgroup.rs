//! cgroup: births, deaths, renames and moves of tasks; and how a cgroup is told from every other.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ring::{Header, Kind, Ring};
use crate::{Hook, Probe, Record, Signal};

/// A cgroup. The id alone is not enough: every hierarchy (each v1 controller's, and v2's) counts from one.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Id {
    /// `cgroup->kn->id`: the inode number of the cgroup's directory.
    pub id: u64,
    /// `cgroup->root->hierarchy_id`, the first column of `/proc/PID/cgroup`: 0 is v2.
    pub hierarchy: u64,
}

/// The longest path that a record carries, its NUL included.
pub const PATH: usize = 1024;

/// A cgroup was born, died, changed its name, or a task moved into it. Sent without the unused rest of its path.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Change {
    /// What every record starts with.
    pub header: Header,
    /// Which cgroup.
    pub cgroup: Id,
    /// An [`Event`].
    pub event: u32,
    /// For [`Event::Attach`], the process that moved in; else zero.
    pub pid: u32,
    /// How deep in its hierarchy: the root is 0.
    pub level: u32,
    /// Bytes of `path` in use.
    pub path_len: u32,
    /// Where it is, from the root of its hierarchy: `/a/b`.
    pub path: [u8; PATH],
}

/// Bytes of a [`Change`] before its path.
pub const CHANGE_HEAD: usize = size_of::<Change>() - PATH;

/// What happened to a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Event {
    /// It was made.
    Mkdir = 1,
    /// It was removed.
    Rmdir = 2,
    /// It has a new name (v1 only).
    Rename = 3,
    /// A process moved into it.
    Attach = 4,
}

const fn probe(program: &'static str, name: &'static str, gives: &'static str) -> Probe {
    Probe { program, hook: Hook::RawTracepoint { category: "cgroup", name }, gives, instead_of: None }
}

/// See the module.
pub const SIGNAL: Signal = Signal {
    name: "cgroup",
    summary: "Births, deaths, renames of cgroups and moves of processes between them.",
    probes: &[
        probe("cgroup_mkdir", "cgroup_mkdir", "the names of cgroups born after the start"),
        probe("cgroup_rmdir", "cgroup_rmdir", "the end of a dead cgroup's series"),
        probe("cgroup_rename", "cgroup_rename", "the new name of a renamed cgroup (v1)"),
        probe("cgroup_attach_task", "cgroup_attach_task", "moves of processes between cgroups"),
    ],
    counters: &[],
    record: Some(Record { kind: Kind::CgroupChange, ring: Ring::Critical, size: CHANGE_HEAD }),
};
