//! What is read of a disk as a whole: the kernel's own count of its IO.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

super::statistics! {
    /// One statistic of a disk. Times of operations are sums over the IOs, from submission to completion.
    {
        /// Reads completed.
        Reads: Counter = "reads",
        /// Reads that became part of another before they were issued.
        ReadsMerged: Counter = "reads_merged",
        /// Bytes read.
        ReadBytes: Counter = "read_bytes",
        /// Time for reads, in nanoseconds.
        ReadTime: Counter = "read_time",
        /// Writes completed.
        Writes: Counter = "writes",
        /// Writes that became part of another.
        WritesMerged: Counter = "writes_merged",
        /// Bytes written.
        WriteBytes: Counter = "write_bytes",
        /// Time for writes, in nanoseconds.
        WriteTime: Counter = "write_time",
        /// IOs under way.
        InFlight: Gauge = "in_flight",
        /// Time in which any IO was under way, in nanoseconds.
        Busy: Counter = "busy",
        /// That time multiplied by the number of IOs that were, in nanoseconds.
        Waiting: Counter = "waiting",
        /// Discards completed.
        Discards: Counter = "discards",
        /// Discards that became part of another.
        DiscardsMerged: Counter = "discards_merged",
        /// Bytes discarded.
        DiscardBytes: Counter = "discard_bytes",
        /// Time for discards, in nanoseconds.
        DiscardTime: Counter = "discard_time",
        /// Flushes of the disk's cache completed.
        Flushes: Counter = "flushes",
        /// Time for flushes, in nanoseconds.
        FlushTime: Counter = "flush_time",
    }
}

/// What the kernel says of one disk, in absolute numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// Its name.
    pub device: Arc<str>,
    /// The numbers; absent once it is gone, or cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Values>,
}
