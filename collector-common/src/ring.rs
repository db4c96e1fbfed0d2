//! The two rings and the header that every record in them starts with.
//!
//! OOM kills and the births and deaths of cgroups have a ring of their own, so that a storm of slow IO cannot push them
//! out.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Which of the two rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    /// OOM kills and cgroup lifecycle: the reader is woken for each.
    Critical,
    /// Stalls, slow and failed IO: the reader is woken once enough has gathered, and comes by every tick anyway.
    Bulk,
}

impl Ring {
    /// The map's name in the ELF object.
    pub const fn map(self) -> &'static str {
        match self {
            Ring::Critical => "CRITICAL",
            Ring::Bulk => "BULK",
        }
    }
}

/// What a record is. Zero is no kind, so that a zeroed record is never taken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// [`crate::oom::Victim`]
    OomKill = 1,
    /// [`crate::cgroup::Change`]
    CgroupChange = 2,
    /// [`crate::reclaim::Stall`]
    ReclaimStall = 3,
    /// [`crate::compaction::Stall`]
    CompactionStall = 4,
    /// [`crate::block::Io`]
    BlockIo = 5,
    /// [`crate::transfer::Refusal`]
    AllocationRefused = 6,
}

impl Kind {
    /// The kind with this number, if there is one.
    pub const fn from_u32(kind: u32) -> Option<Kind> {
        Some(match kind {
            1 => Kind::OomKill,
            2 => Kind::CgroupChange,
            3 => Kind::ReclaimStall,
            4 => Kind::CompactionStall,
            5 => Kind::BlockIo,
            6 => Kind::AllocationRefused,
            _ => return None,
        })
    }
}

/// The first sixteen bytes of every record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// A [`Kind`].
    pub kind: u32,
    /// Set aside, zero.
    pub reserved: u32,
    /// When it happened: CLOCK_MONOTONIC in nanoseconds.
    pub time_ns: u64,
}

impl Header {
    /// The header of a record of this kind at this time.
    #[inline(always)]
    pub const fn new(kind: Kind, time_ns: u64) -> Header {
        Header { kind: kind as u32, reserved: 0, time_ns }
    }
}

/// The name of a task, NUL-padded (`TASK_COMM_LEN`).
pub type Comm = [u8; 16];

/// A task as a record names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Task {
    /// The process (thread group) id in the host's pid namespace.
    pub pid: u32,
    /// The thread's id.
    pub tid: u32,
    /// Its name.
    pub comm: Comm,
}
