//! kswapd: how long the kernel's background reclaim of each memory node was awake.

use crate::{Counters, Hook, Key, Probe, Signal};

/// Memory nodes that are counted; a node beyond is counted as lost.
pub const NODES: u32 = 64;

/// Words of a node's row.
pub mod word {
    /// Nanoseconds awake, up to the latest time it went to sleep or began another pass. The naps of at most a tenth of
    /// a second between passes count as awake.
    pub const AWAKE_NS: usize = 0;
    /// How often it was woken from sleep.
    pub const WAKES: usize = 1;
    /// Words a node.
    pub const COUNT: usize = 2;
}

const fn probe(program: &'static str, name: &'static str) -> Probe {
    let hook = Hook::RawTracepoint { category: "vmscan", name };
    Probe { program, hook, gives: "the time kswapd is awake", instead_of: None }
}

/// See the module.
pub const SIGNAL: Signal = Signal {
    name: "kswapd",
    summary: "Time in which the kernel's background reclaim was awake, per memory node.",
    probes: &[probe("kswapd_sleep", "mm_vmscan_kswapd_sleep"), probe("kswapd_wake", "mm_vmscan_kswapd_wake")],
    counters: &[Counters { map: "KSWAPD", key: Key::Index, words: word::COUNT }],
    record: None,
};
