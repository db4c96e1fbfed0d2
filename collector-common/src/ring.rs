//! The two ring buffers, and the header of every record.
//!
//! OOM kills and cgroup changes have a ring of their own, so that a storm of slow IO cannot push them out.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    /// OOM kills and cgroup changes: the reader is woken for each.
    Critical,
    /// Stalls, slow IO, failed IO and signals: the reader is woken once enough has gathered, and reads every tick anyway.
    Bulk,
}

impl Ring {
    /// Name of the map in the ELF object.
    pub const fn map(self) -> &'static str {
        match self {
            Ring::Critical => "CRITICAL",
            Ring::Bulk => "BULK",
        }
    }
}

/// Type of a record. Zero is no kind, so that a zeroed record is never taken for a valid one.
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
    /// [`crate::kill::Sent`]
    SignalSent = 7,
}

impl Kind {
    pub const fn from_u32(kind: u32) -> Option<Kind> {
        Some(match kind {
            1 => Kind::OomKill,
            2 => Kind::CgroupChange,
            3 => Kind::ReclaimStall,
            4 => Kind::CompactionStall,
            5 => Kind::BlockIo,
            6 => Kind::AllocationRefused,
            7 => Kind::SignalSent,
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
    /// Always zero.
    pub reserved: u32,
    /// When it happened: CLOCK_MONOTONIC in nanoseconds.
    pub time_ns: u64,
}

impl Header {
    #[inline(always)]
    pub const fn new(kind: Kind, time_ns: u64) -> Header {
        Header { kind: kind as u32, reserved: 0, time_ns }
    }
}

/// Name of a task, NUL-padded (`TASK_COMM_LEN`).
pub type Comm = [u8; 16];

/// A task in a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Task {
    /// Process id (thread group id) in the host's pid namespace.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    pub comm: Comm,
}
