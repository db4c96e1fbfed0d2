//! block: IO of block devices, by device and by the cgroup that caused it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ring::{Header, Kind, Ring};
use crate::{Counters, Hook, Key, Probe, Record, Signal, cgroup};

/// What a request does. The numbers index the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Operation {
    /// Reads.
    Read = 0,
    /// Writes.
    Write = 1,
    /// Discards and secure erases.
    Discard = 2,
    /// Flushes of the device's cache.
    Flush = 3,
    /// Everything else: write zeroes, zone management, driver commands.
    Other = 4,
}

/// How many operations there are.
pub const OPERATIONS: usize = 5;

/// The map of requests that are under way, by address.
pub const IN_FLIGHT: &str = "IN_FLIGHT";
/// Its key, where no request is, since when every request is seen, in nanoseconds of the monotonic clock.
pub const ATTACHED: u64 = 0;

/// Words of a device's row.
pub mod device_word {
    use crate::histogram;
    /// A histogram of the time from the making of the request to its issue.
    pub const QUEUE: usize = 0;
    /// A histogram of the time from issue to completion.
    pub const SERVICE: usize = histogram::WORDS;
    /// Bytes completed.
    pub const BYTES: usize = 2 * histogram::WORDS;
    /// Requests that ended with an error.
    pub const ERRORS: usize = BYTES + 1;
    /// Words a row.
    pub const COUNT: usize = ERRORS + 1;
}

/// Words of one operation in a cgroup's row.
pub mod word {
    /// Requests completed.
    pub const IOS: usize = 0;
    /// Bytes completed.
    pub const BYTES: usize = 1;
    /// Nanoseconds from issue to completion, summed.
    pub const NS: usize = 2;
    /// Words an operation.
    pub const COUNT: usize = 3;
}

/// The key of a device's row: eight bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DeviceOperation {
    /// The kernel's `dev_t`: major << 20 | minor.
    pub device: u32,
    /// An [`Operation`].
    pub operation: u32,
}

/// Devices × operations that are counted; one beyond is counted as lost.
pub const ROWS: u32 = 512;

/// An IO that failed, or took at least the threshold.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Io {
    /// What every record starts with; the time is the completion.
    pub header: Header,
    /// The block cgroup that caused it (the bio's, so that writeback is charged to its owner); zero if none.
    pub cgroup: cgroup::Id,
    /// Nanoseconds from the making of the request to its issue; zero where the kernel does not keep its time.
    pub queue_ns: u64,
    /// Nanoseconds from issue to completion.
    pub service_ns: u64,
    /// Device and operation.
    pub device: DeviceOperation,
    /// Bytes completed.
    pub bytes: u32,
    /// The kernel's status: a `blk_status_t`, or a negative errno before 6.1; zero is success.
    pub status: i32,
}

const COMPLETE: &str = "block IO, its bytes, times and errors";

/// See the module.
pub const SIGNAL: Signal = Signal {
    name: "block",
    summary: "Block IO: queue and service time, bytes and errors, by device and by the cgroup that caused it.",
    probes: &[
        Probe {
            program: "block_rq_complete",
            hook: Hook::TypedTracepoint { category: "block", name: "block_rq_complete" },
            gives: COMPLETE,
            instead_of: None,
        },
        // For a kernel whose BTF comes from a file.
        Probe {
            program: "block_rq_complete_raw",
            hook: Hook::RawTracepoint { category: "block", name: "block_rq_complete" },
            gives: COMPLETE,
            instead_of: Some("block_rq_complete"),
        },
        Probe {
            program: "block_rq_issue",
            hook: Hook::RawTracepoint { category: "block", name: "block_rq_issue" },
            gives: "the queue and service time of block IO",
            instead_of: None,
        },
    ],
    counters: &[
        Counters { map: "BLOCK", key: Key::Hash, words: device_word::COUNT },
        Counters { map: "BLOCK_IO", key: Key::Slot, words: OPERATIONS * word::COUNT },
    ],
    record: Some(Record { kind: Kind::BlockIo, ring: Ring::Bulk, size: size_of::<Io>() }),
};
