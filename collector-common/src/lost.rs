//! Places in the kernel where data can be dropped. Each has a counter, so that no loss goes unnoticed.

use crate::{Counters, Key};

/// Where data was dropped in the kernel. The numbers index the map `LOST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stage {
    /// The critical ring was full.
    RingCritical = 0,
    /// The bulk ring was full.
    RingBulk = 1,
    /// No slot for a cgroup, or a slot could not be given back; counted once per lookup by a CPU. Its counts went to the
    /// workload `other`.
    Slot = 2,
    /// The begin of a stall could not be stored: that stall is missing.
    Stopwatch = 3,
    /// The issue of an IO could not be stored, or an IO completed without one: its times are missing.
    InFlight = 4,
    /// No free row for a device and operation: this IO is missing from the device's counters.
    Device = 5,
    /// An OOM victim of which only the pid is known could not be stored until its exit.
    Victim = 6,
    /// A memory node at or above [`crate::kswapd::NODES`].
    Node = 7,
    /// The path of a cgroup that was created or renamed did not fit into the record.
    Path = 8,
    /// No room for a call of the CUDA driver or for its allocation: it is missing from the workload's transfers.
    Transfer = 9,
}

impl Stage {
    /// In the order of their numbers.
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

pub const STAGES: usize = 10;

/// The map `LOST`: one row, a word per stage.
pub const COUNTERS: Counters = Counters { map: "LOST", key: Key::Index, words: STAGES };
