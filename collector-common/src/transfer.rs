//! transfer: copies between host and GPU, pinned host memory and device memory, as processes request them from the CUDA
//! driver. Seen by uprobes in each file of the driver's library, attached when the agent finds the file.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ring::{Header, Kind, Ring, Task};
use crate::{Counters, Hook, Key, Probe, Record, Signal, cgroup, histogram};

/// Direction of a copy. The numbers index the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Direction {
    HostToDevice = 0,
    DeviceToHost = 1,
    /// The call does not say, and at least one of the two addresses is of unknown memory.
    Unknown = 2,
}

pub const DIRECTIONS: usize = 3;

/// Type of memory. The numbers index the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Memory {
    /// Host memory that the driver pinned: allocated or registered.
    Pinned = 0,
    /// GPU memory.
    Device = 1,
}

pub const MEMORIES: usize = 2;

/// Words of a cgroup's row.
pub mod word {
    use super::{DIRECTIONS, MEMORIES};
    /// Successful copies, by [`super::Direction`].
    pub const CALLS: usize = 0;
    /// Bytes of these copies, by [`super::Direction`].
    pub const BYTES: usize = DIRECTIONS;
    /// Allocations that the driver refused, by [`super::Memory`].
    pub const FAILURES: usize = 2 * DIRECTIONS;
    /// Words per row.
    pub const COUNT: usize = FAILURES + MEMORIES;
}

/// What a process holds and which cgroup is charged: the value in the map [`PROCESSES`], whose key is the process id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Process {
    /// Bytes held, by [`Memory`].
    pub bytes: [u64; MEMORIES],
    /// Memory cgroup in which the process first allocated.
    pub cgroup: cgroup::Id,
    /// The user as whom it first allocated.
    pub uid: u32,
    pub reserved: u32,
}

/// Key in the map [`ALLOCATIONS`], whose values are sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Allocation {
    pub pid: u32,
    /// A [`Memory`].
    pub memory: u32,
    pub address: u64,
}

/// Map of [`Process`]es.
pub const PROCESSES: &str = "TRANSFER_PROCESSES";
/// Map of [`Allocation`]s.
pub const ALLOCATIONS: &str = "TRANSFER_ALLOCATIONS";
/// Map of calls in progress, by thread id.
pub const CALLS: &str = "TRANSFER_CALLS";

/// A call in progress: the value in the map [`CALLS`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Call {
    /// First, as in every map of operations in progress: the collector removes entries that are old.
    pub ns: u64,
    /// Stack pointer at entry.
    pub stack: u64,
    pub bytes: u64,
    /// For copies, their number; otherwise the address allocated or released, or where the driver will write it.
    pub address: u64,
    /// A [`Direction`] or [`Memory`].
    pub kind: u32,
    /// 1 if `address` is where the driver will write the address.
    pub indirect: u32,
    /// The thread's process: another's thread may get the id of one that ended inside a call.
    pub pid: u32,
    /// The user whose share the entry is taken from.
    pub uid: u32,
}

/// An allocation that the driver refused.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Refusal {
    pub header: Header,
    /// Memory cgroup of the task.
    pub cgroup: cgroup::Id,
    /// Bytes requested.
    pub bytes: u64,
    pub task: Task,
    /// A [`Memory`].
    pub memory: u32,
    /// Result of the driver (`CUresult`): 2 is out of memory.
    pub code: u32,
}

/// The `_v2` forms pass the size of a copy in 64 bits. The `_ptds` and `_ptsz` forms are the same for programs built with
/// a default stream per thread.
const TO_DEVICE: &[&str] =
    &["cuMemcpyHtoD_v2", "cuMemcpyHtoD_v2_ptds", "cuMemcpyHtoDAsync_v2", "cuMemcpyHtoDAsync_v2_ptsz"];
const TO_HOST: &[&str] =
    &["cuMemcpyDtoH_v2", "cuMemcpyDtoH_v2_ptds", "cuMemcpyDtoHAsync_v2", "cuMemcpyDtoHAsync_v2_ptsz"];
const ANY: &[&str] = &["cuMemcpy", "cuMemcpy_ptds", "cuMemcpyAsync", "cuMemcpyAsync_ptsz"];
// From CUDA 12.8 on. The second form has one argument less, after those that are read here.
const BATCH: &[&str] =
    &["cuMemcpyBatchAsync", "cuMemcpyBatchAsync_ptsz", "cuMemcpyBatchAsync_v2", "cuMemcpyBatchAsync_v2_ptsz"];
const COPY: &[&str] = &[
    TO_DEVICE[0],
    TO_DEVICE[1],
    TO_DEVICE[2],
    TO_DEVICE[3],
    TO_HOST[0],
    TO_HOST[1],
    TO_HOST[2],
    TO_HOST[3],
    ANY[0],
    ANY[1],
    ANY[2],
    ANY[3],
    BATCH[0],
    BATCH[1],
    BATCH[2],
    BATCH[3],
];
const PIN: &[&str] = &["cuMemHostAlloc", "cuMemAllocHost_v2"];
const REGISTER: &[&str] = &["cuMemHostRegister_v2"];
const ALLOCATE: &[&str] = &[
    "cuMemAlloc_v2",
    "cuMemAllocAsync",
    "cuMemAllocAsync_ptsz",
    "cuMemAllocFromPoolAsync",
    "cuMemAllocFromPoolAsync_ptsz",
];
const ALLOCATION: &[&str] =
    &[PIN[0], PIN[1], REGISTER[0], ALLOCATE[0], ALLOCATE[1], ALLOCATE[2], ALLOCATE[3], ALLOCATE[4]];
const UNPIN: &[&str] = &["cuMemFreeHost", "cuMemHostUnregister"];
const FREE: &[&str] = &["cuMemFree_v2", "cuMemFreeAsync", "cuMemFreeAsync_ptsz"];
const RELEASE: &[&str] = &[UNPIN[0], UNPIN[1], FREE[0], FREE[1], FREE[2]];

const fn entry(program: &'static str, functions: &'static [&'static str], gives: &'static str) -> Probe {
    Probe { program, hook: Hook::LibraryEntry(functions), gives, instead_of: None }
}

const fn exit(program: &'static str, functions: &'static [&'static str], gives: &'static str) -> Probe {
    Probe { program, hook: Hook::LibraryReturn(functions), gives, instead_of: None }
}

pub const SIGNAL: Signal = Signal {
    name: "transfer",
    summary: "Copies between host and GPU, pinned host memory and device memory, as processes request them from the \
              CUDA driver: copies of one dimension, single and in batches, and all allocations except virtual address \
              ranges (`cuMemCreate`), pitched memory and managed memory. Off unless `transfer.enabled` is set.",
    probes: &[
        exit("transfer_copy_end", COPY, "copies"),
        entry("transfer_to_device", TO_DEVICE, "copies from host to device"),
        entry("transfer_to_host", TO_HOST, "copies from device to host"),
        entry("transfer_copy", ANY, "copies whose direction only their addresses show"),
        entry("transfer_batch", BATCH, "batches of copies"),
        exit("transfer_release_end", RELEASE, "releases of pinned host memory and of device memory"),
        entry("transfer_unpin", UNPIN, "releases of pinned host memory"),
        entry("transfer_free", FREE, "releases of device memory"),
        exit("transfer_allocation_end", ALLOCATION, "pinned host memory and device memory"),
        entry("transfer_pin", PIN, "pinned host memory that the driver allocates"),
        entry("transfer_register", REGISTER, "existing host memory that the driver pins"),
        entry("transfer_allocate", ALLOCATE, "device memory"),
    ],
    counters: &[
        Counters { map: "TRANSFER", key: Key::Slot, words: word::COUNT },
        Counters { map: "TRANSFER_TIME", key: Key::Index, words: histogram::WORDS },
    ],
    record: Some(Record { kind: Kind::AllocationRefused, ring: Ring::Bulk, size: size_of::<Refusal>() }),
};
