//! The places in the kernel that can drop something, each with a counter: no loss goes unseen.

use crate::{Counters, Key};

/// Where something was dropped on the kernel's side. The numbers index the map `LOST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stage {
    /// A record found the critical ring full.
    RingCritical = 0,
    /// A record found the bulk ring full.
    RingBulk = 1,
    /// A cgroup found no slot of its own, counted each time that a CPU looked for one; its counts went to the workload
    /// `other`.
    Slot = 2,
    /// A begin could not be noted, or an end came without its begin: that one stall is missing.
    Stopwatch = 3,
    /// An IO could not be noted at its issue, or completed without one: its times are missing.
    InFlight = 4,
    /// A device and operation found no row: its IO is missing from the device's figures.
    Device = 5,
    /// An OOM victim known by its pid alone could not be kept until its exit.
    Victim = 6,
    /// A memory node beyond [`crate::kswapd::NODES`].
    Node = 7,
    /// A cgroup's path was longer than a record holds.
    Path = 8,
    /// A call of the CUDA driver, or what it allocated, found no room: it is missing from the workload's transfers.
    Transfer = 9,
}

impl Stage {
    /// By number.
    pub const ALL: [Stage; STAGES] = [
        Stage::RingCritical,
        Stage::RingBulk,
        Stage::Slot,
        Stage::Stopwatch,
        Stage::InFlight,
        Stage::Device,
        Stage::Victim,
        Stage::Node,
        Stage::Path,
        Stage::Transfer,
    ];
}

/// How many stages there are.
pub const STAGES: usize = 10;

/// The map: one row, a word a stage.
pub const COUNTERS: Counters = Counters { map: "LOST", key: Key::Index, words: STAGES };
