//! block: block device IO, per device and per cgroup that caused it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ring::{Header, Kind, Ring};
use crate::{Counters, Hook, Key, Probe, Record, Signal, cgroup};

/// Type of a request. The numbers index the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Operation {
    Read = 0,
    Write = 1,
    /// Discards and secure erases.
    Discard = 2,
    /// Flushes of the device's write cache.
    Flush = 3,
    /// Everything else: write zeroes, zone management, driver commands.
    Other = 4,
}

pub const OPERATIONS: usize = 5;

/// The program that sees the issue of requests. The kernel itself stores that time in most requests, so it is attached only
/// while some device completes others.
pub const ISSUE: &str = "block_rq_issue";

/// Words of a device's row.
pub mod device_word {
    use crate::histogram;
    /// Histogram of the time from creation of the request to its issue.
    pub const QUEUE: usize = 0;
    /// Histogram of the time from issue to completion.
    pub const SERVICE: usize = histogram::WORDS;
    pub const BYTES: usize = 2 * histogram::WORDS;
    /// Requests that completed with an error.
    pub const ERRORS: usize = BYTES + 1;
    /// Requests that completed and whose time of issue is not known: they are in neither histogram.
    pub const UNTIMED: usize = ERRORS + 1;
    /// Requests that completed without a time of issue stored by the kernel, which it does for others of their kind.
    pub const UNSTARTED: usize = UNTIMED + 1;
    /// Words per row.
    pub const COUNT: usize = UNSTARTED + 1;
}

/// Words of one operation in a cgroup's row.
pub mod word {
    pub const IOS: usize = 0;
    pub const BYTES: usize = 1;
    /// Sum of the time from issue to completion, in nanoseconds.
    pub const NS: usize = 2;
    /// Words per operation.
    pub const COUNT: usize = 3;
}

/// Key of a device's row: eight bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DeviceOperation {
    /// The kernel's `dev_t`: major << 20 | minor.
    pub device: u32,
    /// An [`Operation`].
    pub operation: u32,
}

/// Map of the kernel's names of disks: `dev_t` → [`DiskName`].
pub const DISK_NAMES: &str = "DISK_NAMES";
/// `gendisk.disk_name` (DISK_NAME_LEN), ended by a zero.
pub type DiskName = [u8; 32];

/// Map of rows. The index is shard × [`ROWS`] + the pair's number.
pub const DEVICES: &str = "BLOCK";
/// Map of the numbers of pairs of device and operation. A pair keeps its number.
pub const NUMBERS: &str = "BLOCK_NUMBERS";
/// Numbers that no pair has yet.
pub const FREE: &str = "BLOCK_FREE";
/// Pairs of device and operation that can be counted. Any more are counted as lost.
pub const ROWS: u32 = 512;
/// Maximum number of shards, a power of two. A request completes on few CPUs at once, so that these are enough.
pub const SHARDS: u32 = 16;

/// Words in which a CPU remembers the numbers of pairs that it counted for.
pub const REMEMBERED: u32 = 64;

impl DeviceOperation {
    /// Which of those words is for this pair: operations of a disk have different ones, and so have eight disks whose minors are
    /// 1 or 16 apart.
    #[inline(always)]
    pub const fn place(self) -> u32 {
        ((self.device ^ self.device >> 4) & 7) << 3 | self.operation & 7
    }
}

/// An IO that failed, or took at least `Settings::slow_io_ns`.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Io {
    /// The time is the completion's.
    pub header: Header,
    /// The block cgroup that caused it, taken from the bio, so that writeback is charged to its owner; zero if there is none.
    pub cgroup: cgroup::Id,
    /// Nanoseconds from creation to issue; zero where the kernel does not record the creation.
    pub queue_ns: u64,
    /// Nanoseconds from issue to completion, with retries after a timeout; zero if it failed before it was issued, or the issue is not
    /// known.
    pub service_ns: u64,
    pub device: DeviceOperation,
    pub bytes: u32,
    /// Kernel status: a `blk_status_t`, or before 6.1 a negative errno. Zero is success.
    pub status: i32,
}

const COMPLETE: &str = "block IO: bytes, latency and errors";

pub const SIGNAL: Signal = Signal {
    name: "block",
    summary: "Block device IO: queue time, service time, bytes and errors, per device and per cgroup that caused it. \
              Requests store when they were issued, wherever something on the device needs it (writeback throttling does). \
              While those of some device do not, `block_rq_issue` is attached, from the tick after the first such request \
              until there was none for a minute or longer. IOs until it is attached are counted without times, in \
              `headroom_block_io_untimed_total`; commands of a driver (operation `other`) may stay without.",
    probes: &[
        Probe {
            program: "block_rq_complete",
            hook: Hook::TypedTracepoint { category: "block", name: "block_rq_complete" },
            gives: COMPLETE,
            instead_of: None,
        },
        // For kernels whose BTF comes from a file: typed tracepoints need the kernel's own.
        Probe {
            program: "block_rq_complete_raw",
            hook: Hook::RawTracepoint { category: "block", name: "block_rq_complete" },
            gives: COMPLETE,
            instead_of: Some("block_rq_complete"),
        },
        Probe {
            program: "block_rq_requeue",
            hook: Hook::RawTracepoint { category: "block", name: "block_rq_requeue" },
            gives: "service time of block IO that is repeated after a timeout",
            instead_of: None,
        },
        Probe {
            program: ISSUE,
            hook: Hook::RawTracepoint { category: "block", name: "block_rq_issue" },
            gives: "queue time and service time of block IO, where requests do not store when they were issued",
            instead_of: None,
        },
    ],
    counters: &[
        Counters { map: DEVICES, key: Key::Device, words: device_word::COUNT },
        Counters { map: "BLOCK_IO", key: Key::Slot, words: OPERATIONS * word::COUNT },
    ],
    record: Some(Record { kind: Kind::BlockIo, ring: Ring::Bulk, size: size_of::<Io>() }),
};
