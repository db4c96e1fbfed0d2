//! compaction: a task had to move pages to get a contiguous block of memory.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ring::{Header, Kind, Ring, Task};
use crate::{Counters, Hook, Key, Probe, Record, Signal, cgroup, histogram};

/// Words of a cgroup's row.
pub mod word {
    /// Stalls of tasks in the cgroup.
    pub const STALLS: usize = 0;
    /// Sum of their time in nanoseconds.
    pub const NS: usize = 1;
    /// Words per row.
    pub const COUNT: usize = 2;
}

/// A stall that took at least `Settings::stall_ns`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Stall {
    /// The time is the end of the stall.
    pub header: Header,
    /// Memory cgroup of the stalled task.
    pub cgroup: cgroup::Id,
    /// Duration in nanoseconds.
    pub ns: u64,
    /// The stalled task.
    pub task: Task,
}

const fn probe(program: &'static str, name: &'static str) -> Probe {
    let hook = Hook::RawTracepoint { category: "compaction", name };
    Probe { program, hook, gives: "compaction stalls", instead_of: None }
}

pub const SIGNAL: Signal = Signal {
    name: "compaction",
    summary: "Tasks stalled in memory compaction. The kernel's background threads stall nobody and are left out.",
    probes: &[probe("compaction_end", "mm_compaction_end"), probe("compaction_begin", "mm_compaction_begin")],
    counters: &[
        Counters { map: "COMPACTION", key: Key::Slot, words: word::COUNT },
        Counters { map: "COMPACTION_TIME", key: Key::Index, words: histogram::WORDS },
    ],
    record: Some(Record { kind: Kind::CompactionStall, ring: Ring::Bulk, size: size_of::<Stall>() }),
};
