//! dirty: the kernel makes a task that writes sleep, because too many dirty pages wait to be written (throttling).

use crate::{Counters, Hook, Key, Probe, Signal};

/// Words of a cgroup's row.
pub mod word {
    /// Times that a task in the cgroup was throttled.
    pub const WAITS: usize = 0;
    /// Sum of the sleeps in jiffies, the kernel's unit; the collector knows its length.
    pub const JIFFIES: usize = 1;
    /// Words per row.
    pub const COUNT: usize = 2;
}

pub const SIGNAL: Signal = Signal {
    name: "dirty",
    summary: "Time that writing tasks were made to sleep because too many dirty pages waited to be written.",
    probes: &[Probe {
        program: "dirty_wait",
        hook: Hook::RawTracepoint { category: "writeback", name: "balance_dirty_pages" },
        gives: "waits of writing tasks for dirty pages",
        instead_of: None,
    }],
    counters: &[Counters { map: "DIRTY", key: Key::Slot, words: word::COUNT }],
    record: None,
};
