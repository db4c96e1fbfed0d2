//! reclaim: a task had to free memory before its allocation could succeed, for the host (direct) or for a cgroup (memcg).

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

pub const KINDS: usize = 2;

/// Words of one kind in a cgroup's row.
pub mod word {
    /// Stalls of tasks in the cgroup.
    pub const STALLS: usize = 0;
    /// Sum of their time in nanoseconds.
    pub const NS: usize = 1;
    /// Pages that these tasks reclaimed meanwhile.
    pub const PAGES: usize = 2;
    /// Pages reclaimed *from* the cgroup and its descendants, whichever task stalled (kernel 7.1 and later).
    pub const TARGET_PAGES: usize = 3;
    /// Words per kind.
    pub const COUNT: usize = 4;
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
    /// Pages reclaimed meanwhile.
    pub pages: u64,
    /// The stalled task.
    pub task: Task,
    /// A [`Kind`].
    pub kind: u32,
    /// Order of the allocation that stalled (2^order pages).
    pub order: u32,
}

const fn probe(program: &'static str, name: &'static str, gives: &'static str) -> Probe {
    Probe { program, hook: Hook::RawTracepoint { category: "vmscan", name }, gives, instead_of: None }
}

pub const SIGNAL: Signal = Signal {
    name: "reclaim",
    summary: "Tasks stalled in reclaim: they had to free memory before their allocation could succeed.",
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
