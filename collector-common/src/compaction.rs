//! compaction: a task had to move pages about before it got a contiguous block.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ring::{Header, Kind, Ring, Task};
use crate::{Counters, Hook, Key, Probe, Record, Signal, cgroup, histogram};

/// Words of a cgroup's row.
pub mod word {
    /// Stalls of the cgroup's tasks.
    pub const STALLS: usize = 0;
    /// Their time in nanoseconds.
    pub const NS: usize = 1;
    /// Words a row.
    pub const COUNT: usize = 2;
}

/// A stall that lasted at least the threshold.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Stall {
    /// What every record starts with; the time is the stall's end.
    pub header: Header,
    /// The memory cgroup of the task that waited.
    pub cgroup: cgroup::Id,
    /// How long it waited.
    pub ns: u64,
    /// Who waited.
    pub task: Task,
}

const fn probe(program: &'static str, name: &'static str) -> Probe {
    let hook = Hook::RawTracepoint { category: "compaction", name };
    Probe { program, hook, gives: "compaction stalls", instead_of: None }
}

/// See the module.
pub const SIGNAL: Signal = Signal {
    name: "compaction",
    summary: "Stalls of tasks that had to compact memory; the kernel's own background threads do not stall anybody and are left out.",
    probes: &[probe("compaction_end", "mm_compaction_end"), probe("compaction_begin", "mm_compaction_begin")],
    counters: &[
        Counters { map: "COMPACTION", key: Key::Slot, words: word::COUNT },
        Counters { map: "COMPACTION_TIME", key: Key::Index, words: histogram::WORDS },
    ],
    record: Some(Record { kind: Kind::CompactionStall, ring: Ring::Bulk, size: size_of::<Stall>() }),
};
