//! kswapd: how long the kernel's background reclaim was awake, per memory node.

use crate::{Counters, Hook, Key, Probe, Signal};

/// Memory nodes that can be counted; any more are counted as lost.
pub const NODES: u32 = 64;

/// Words of a node's row.
pub mod word {
    /// Nanoseconds awake, up to the last time that kswapd went to sleep or began another pass. Its naps between passes (up to
    /// 100 ms) count as awake.
    pub const AWAKE_NS: usize = 0;
    /// Times that it was woken from sleep.
    pub const WAKES: usize = 1;
    /// Words per row.
    pub const COUNT: usize = 2;
}

const fn probe(program: &'static str, name: &'static str) -> Probe {
    let hook = Hook::RawTracepoint { category: "vmscan", name };
    Probe { program, hook, gives: "time that kswapd was awake", instead_of: None }
}

pub const SIGNAL: Signal = Signal {
    name: "kswapd",
    summary: "Time that the kernel's background reclaim was awake, per memory node.",
    probes: &[probe("kswapd_sleep", "mm_vmscan_kswapd_sleep"), probe("kswapd_wake", "mm_vmscan_kswapd_wake")],
    counters: &[Counters { map: "KSWAPD", key: Key::Index, words: word::COUNT }],
    record: None,
};
