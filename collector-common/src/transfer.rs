//! transfer: copies between host and GPU, pinned host memory and device memory, as a process asks the CUDA driver for them.
//! Seen by uprobes on the driver's library, one by one as such files are found.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ring::{Header, Kind, Ring, Task};
use crate::{Counters, Hook, Key, Probe, Record, Signal, cgroup, histogram};

/// Where a copy goes. The numbers index the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Direction {
    /// From host memory to a GPU's.
    HostToDevice = 0,
    /// From a GPU's memory to the host's.
    DeviceToHost = 1,
    /// The call does not say, and of one end at least it is not known what it is.
    Unknown = 2,
}

/// How many directions there are.
pub const DIRECTIONS: usize = 3;

/// What is allocated. The numbers index the counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Memory {
    /// Host memory that the driver has pinned, allocated or registered.
    Pinned = 0,
    /// A GPU's memory.
    Device = 1,
}

/// How many sorts of memory there are.
pub const MEMORIES: usize = 2;

/// Words of a cgroup's row.
pub mod word {
    use super::{DIRECTIONS, MEMORIES};
    /// Copies that the driver took, by [`super::Direction`].
    pub const CALLS: usize = 0;
    /// Their bytes, by [`super::Direction`].
    pub const BYTES: usize = DIRECTIONS;
    /// Allocations that the driver refused, by [`super::Memory`].
    pub const FAILURES: usize = 2 * DIRECTIONS;
    /// Words a row.
    pub const COUNT: usize = FAILURES + MEMORIES;
}

/// What a process holds and who is charged for it: the value of the map [`PROCESSES`], by process id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Process {
    /// Bytes, by [`Memory`].
    pub bytes: [u64; MEMORIES],
    /// The memory cgroup in which it first allocated.
    pub cgroup: cgroup::Id,
}

/// The key of the map [`ALLOCATIONS`], whose values are bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Allocation {
    /// The process.
    pub pid: u32,
    /// A [`Memory`].
    pub memory: u32,
    /// Where it begins.
    pub address: u64,
}

/// The map of [`Process`]es.
pub const PROCESSES: &str = "TRANSFER_PROCESSES";
/// The map of [`Allocation`]s.
pub const ALLOCATIONS: &str = "TRANSFER_ALLOCATIONS";
/// The map of calls that are under way, by thread.
pub const CALLS: &str = "TRANSFER_CALLS";

/// The driver refused an allocation.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Refusal {
    /// What every record starts with.
    pub header: Header,
    /// The memory cgroup of the task that asked.
    pub cgroup: cgroup::Id,
    /// How many bytes it asked for.
    pub bytes: u64,
    /// Who asked.
    pub task: Task,
    /// A [`Memory`].
    pub memory: u32,
    /// The driver's answer (`CUresult`): 2 is out of memory.
    pub code: u32,
}

/// Where the driver's functions take the size of a copy for granted to be 64 bits: the `_v2` forms. With `_ptds` and
/// `_ptsz` the same are meant for programs whose threads have a default stream each.
const TO_DEVICE: &[&str] =
    &["cuMemcpyHtoD_v2", "cuMemcpyHtoD_v2_ptds", "cuMemcpyHtoDAsync_v2", "cuMemcpyHtoDAsync_v2_ptsz"];
const TO_HOST: &[&str] =
    &["cuMemcpyDtoH_v2", "cuMemcpyDtoH_v2_ptds", "cuMemcpyDtoHAsync_v2", "cuMemcpyDtoHAsync_v2_ptsz"];
const ANY: &[&str] = &["cuMemcpy", "cuMemcpy_ptds", "cuMemcpyAsync", "cuMemcpyAsync_ptsz"];
// From CUDA 12.8 on; the second form has one argument less, behind those that count.
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

const fn at(program: &'static str, functions: &'static [&'static str], gives: &'static str) -> Probe {
    Probe { program, hook: Hook::LibraryEntry(functions), gives, instead_of: None }
}

const fn after(program: &'static str, functions: &'static [&'static str], gives: &'static str) -> Probe {
    Probe { program, hook: Hook::LibraryReturn(functions), gives, instead_of: None }
}

/// See the module.
pub const SIGNAL: Signal = Signal {
    name: "transfer",
    summary: "Copies between host and GPU, pinned host memory and device memory, as processes ask the CUDA driver for \
              them: copies of one dimension, also in batches, and allocations but those through virtual address \
              ranges (`cuMemCreate`) and pitched or managed ones. Off unless `transfer.enabled` is set.",
    probes: &[
        after("transfer_copy_end", COPY, "copies"),
        at("transfer_to_device", TO_DEVICE, "copies from host to device"),
        at("transfer_to_host", TO_HOST, "copies from device to host"),
        at("transfer_copy", ANY, "copies whose direction follows from their addresses alone"),
        at("transfer_batch", BATCH, "copies in batches"),
        after("transfer_release_end", RELEASE, "releases of pinned host memory and of device memory"),
        at("transfer_unpin", UNPIN, "releases of pinned host memory"),
        at("transfer_free", FREE, "releases of device memory"),
        after("transfer_allocation_end", ALLOCATION, "pinned host memory and device memory"),
        at("transfer_pin", PIN, "pinned host memory that the driver allocates"),
        at("transfer_register", REGISTER, "host memory that is pinned where it is"),
        at("transfer_allocate", ALLOCATE, "device memory"),
    ],
    counters: &[
        Counters { map: "TRANSFER", key: Key::Slot, words: word::COUNT },
        Counters { map: "TRANSFER_TIME", key: Key::Index, words: histogram::WORDS },
    ],
    record: Some(Record { kind: Kind::AllocationRefused, ring: Ring::Bulk, size: size_of::<Refusal>() }),
};
