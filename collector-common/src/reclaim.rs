//! reclaim: a task had to free memory before it got any: direct reclaim for the host, memcg reclaim for a limit.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ring::{Header, Kind as RecordKind, Ring, Task};
use crate::{Counters, Hook, Key, Probe, Record, Signal, cgroup, histogram};

/// Why a task had to reclaim. The numbers index the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// The host was short of free pages.
    Direct = 0,
    /// A memory cgroup was at its limit.
    Memcg = 1,
}

/// How many kinds there are.
pub const KINDS: usize = 2;

/// Words of one kind in a cgroup's row.
pub mod word {
    /// Stalls of the cgroup's tasks.
    pub const STALLS: usize = 0;
    /// Their time in nanoseconds.
    pub const NS: usize = 1;
    /// Pages that the cgroup's tasks reclaimed in them.
    pub const PAGES: usize = 2;
    /// Pages reclaimed *from* the cgroup and what is below it, whoever waited (from kernel 7.1 on).
    pub const TARGET_PAGES: usize = 3;
    /// Words a kind.
    pub const COUNT: usize = 4;
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
    /// Pages that it reclaimed meanwhile.
    pub pages: u64,
    /// Who waited.
    pub task: Task,
    /// A [`Kind`].
    pub kind: u32,
    /// The order of the allocation that had to wait (2^order pages).
    pub order: u32,
}

const fn probe(program: &'static str, name: &'static str, gives: &'static str) -> Probe {
    Probe { program, hook: Hook::RawTracepoint { category: "vmscan", name }, gives, instead_of: None }
}

/// See the module.
pub const SIGNAL: Signal = Signal {
    name: "reclaim",
    summary: "Stalls of tasks that had to free memory before they got any.",
    probes: &[
        probe("reclaim_direct_end", "mm_vmscan_direct_reclaim_end", "direct reclaim stalls"),
        probe("reclaim_direct_begin", "mm_vmscan_direct_reclaim_begin", "direct reclaim stalls"),
        probe("reclaim_memcg_end", "mm_vmscan_memcg_reclaim_end", "memcg reclaim stalls"),
        probe("reclaim_memcg_begin", "mm_vmscan_memcg_reclaim_begin", "memcg reclaim stalls"),
    ],
    counters: &[
        Counters { map: "RECLAIM", key: Key::Slot, words: KINDS * word::COUNT },
        Counters { map: "RECLAIM_TIME", key: Key::Index, words: histogram::WORDS },
    ],
    record: Some(Record { kind: RecordKind::ReclaimStall, ring: Ring::Bulk, size: size_of::<Stall>() }),
};
