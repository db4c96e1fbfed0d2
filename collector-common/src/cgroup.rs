//! cgroup: cgroups created, removed and renamed, and processes moved between them; and how a cgroup is identified.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ring::{Header, Kind, Ring};
use crate::{Hook, Probe, Record, Signal};

/// Identifies a cgroup. The id alone is not unique: each hierarchy (one per v1 controller, and v2's) counts from one.
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

/// Longest path that fits in a record, including the NUL.
pub const PATH: usize = 1024;

/// A cgroup was created, removed or renamed, or a process moved into it. Sent without the unused end of `path`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Change {
    pub header: Header,
    pub cgroup: Id,
    /// An [`Event`].
    pub event: u32,
    /// For [`Event::Attach`], the process that moved; otherwise zero.
    pub pid: u32,
    /// Depth in the hierarchy: the root is 0.
    pub level: u32,
    /// Bytes used in `path`.
    pub path_len: u32,
    /// Path from the root of its hierarchy: `/a/b`.
    pub path: [u8; PATH],
}

/// Bytes of a [`Change`] before its path.
pub const CHANGE_HEAD: usize = size_of::<Change>() - PATH;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Event {
    Mkdir = 1,
    Rmdir = 2,
    /// v1 only.
    Rename = 3,
    Attach = 4,
}

const fn probe(program: &'static str, name: &'static str, gives: &'static str) -> Probe {
    Probe { program, hook: Hook::RawTracepoint { category: "cgroup", name }, gives, instead_of: None }
}

pub const SIGNAL: Signal = Signal {
    name: "cgroup",
    summary: "Cgroups created, removed and renamed, and processes moved between them.",
    probes: &[
        probe("cgroup_mkdir", "cgroup_mkdir", "names of cgroups created after the agent started"),
        probe("cgroup_rmdir", "cgroup_rmdir", "the end of the series of a removed cgroup"),
        probe("cgroup_rename", "cgroup_rename", "new names of renamed cgroups (v1)"),
        probe("cgroup_attach_task", "cgroup_attach_task", "processes moved between cgroups"),
    ],
    counters: &[],
    record: Some(Record { kind: Kind::CgroupChange, ring: Ring::Critical, size: CHANGE_HEAD }),
};
