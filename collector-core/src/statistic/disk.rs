//! Statistics of a disk as a whole: the kernel's count of its IO.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

super::statistics! {
    /// Times of operations are summed over IOs, from submission to completion.
    {
        /// Reads completed.
        Reads: Counter = "reads",
        /// Reads merged into another before they were issued.
        ReadsMerged: Counter = "reads_merged",
        /// Bytes read.
        ReadBytes: Counter = "read_bytes",
        /// Time for reads, in nanoseconds.
        ReadTime: Counter = "read_time",
        /// Writes completed.
        Writes: Counter = "writes",
        /// Writes merged into another.
        WritesMerged: Counter = "writes_merged",
        /// Bytes written.
        WriteBytes: Counter = "write_bytes",
        /// Time for writes, in nanoseconds.
        WriteTime: Counter = "write_time",
        /// IOs in flight.
        InFlight: Gauge = "in_flight",
        /// Time in which any IO was in flight, in nanoseconds.
        Busy: Counter = "busy",
        /// That time weighted by the number of IOs in flight, in nanoseconds.
        Waiting: Counter = "waiting",
        /// Discards completed.
        Discards: Counter = "discards",
        /// Discards merged into another.
        DiscardsMerged: Counter = "discards_merged",
        /// Bytes discarded.
        DiscardBytes: Counter = "discard_bytes",
        /// Time for discards, in nanoseconds.
        DiscardTime: Counter = "discard_time",
        /// Cache flushes completed.
        Flushes: Counter = "flushes",
        /// Time for flushes, in nanoseconds.
        FlushTime: Counter = "flush_time",
        /// What heeds weights of IO on it, as a sum: [`BFQ`], [`COST`]; 0 if nothing does.
        Weighs: Gauge = "weighs",
    }
}

/// Its scheduler is BFQ, which heeds `io.bfq.weight`.
pub const BFQ: u64 = 1;
/// The kernel's cost model is on for it, which heeds `io.weight`.
pub const COST: u64 = 2;

/// What heeds weights of IO on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    pub bfq: bool,
    pub cost: bool,
}

impl Weights {
    /// `None` if it is not known.
    pub fn of(values: &Values) -> Option<Weights> {
        values.get(Statistic::Weighs).map(|sum| Weights { bfq: sum & BFQ > 0, cost: sum & COST > 0 })
    }

    pub fn acts(self) -> bool {
        self.bfq || self.cost
    }
}

/// A reading of one disk, in absolute numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    pub device: Arc<str>,
    /// Absent if the disk is gone or cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Values>,
}
