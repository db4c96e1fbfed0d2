//! dirty: a task that writes was told to sleep, because too many dirty pages waited to be written.

use crate::{Counters, Hook, Key, Probe, Signal};

/// Words of a cgroup's row.
pub mod word {
    /// How often a task of the cgroup was told to sleep.
    pub const WAITS: usize = 0;
    /// For how many jiffies in all: the kernel's own unit, whose length the collector knows.
    pub const JIFFIES: usize = 1;
    /// Words a row.
    pub const COUNT: usize = 2;
}

/// See the module.
pub const SIGNAL: Signal = Signal {
    name: "dirty",
    summary: "Time that tasks that write were told to sleep because too many dirty pages waited to be written.",
    probes: &[Probe {
        program: "dirty_wait",
        hook: Hook::RawTracepoint { category: "writeback", name: "balance_dirty_pages" },
        gives: "waits for dirty pages",
        instead_of: None,
    }],
    counters: &[Counters { map: "DIRTY", key: Key::Slot, words: word::COUNT }],
    record: None,
};
