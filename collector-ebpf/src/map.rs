//! Maps, under the names by which the collector finds them. Sizes that depend on the host are set by the loader. A map that
//! one signal alone uses may stand in that signal's file.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf, Stack};
use collector_common::{block, cgroup, compaction, fault, histogram, kswapd, lost, oom, reclaim, transfer};

/// A histogram.
pub type Histogram = [u64; histogram::WORDS];

/// What a thread began, see [`crate::stopwatch`].
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Started {
    pub ns: u64,
    /// Whatever the begin knows and the end wants.
    pub note: u64,
}

/// Why a thread is about to kill, see [`crate::oom`].
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Cause {
    pub ns: u64,
    /// A [`oom::Scope`].
    pub scope: u64,
    /// The memory cgroup at its limit, or zero.
    pub limited: cgroup::Id,
}

/// What a thread asked the CUDA driver for, see [`crate::transfer`].
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Call {
    /// Where its stack was.
    pub stack: u64,
    pub ns: u64,
    pub bytes: u64,
    /// Of copies, how many they are; else what is allocated or released, or where the driver will write that.
    pub address: u64,
    /// A [`transfer::Direction`] or [`transfer::Memory`].
    pub kind: u32,
    /// Whether `address` is where the driver writes.
    pub indirect: u32,
}

#[map]
pub static CRITICAL: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);
#[map]
pub static BULK: RingBuf = RingBuf::with_byte_size(1024 * 1024, 0);
#[map]
pub static LOST: PerCpuArray<[u64; lost::STAGES]> = PerCpuArray::with_max_entries(1, 0);

/// cgroup → slot, the row that is its own in the maps below.
#[map]
pub static SLOTS: HashMap<cgroup::Id, u32> = HashMap::with_max_entries(2048, 0);
/// Slots that are free.
#[map]
pub static FREE: Stack<u32> = Stack::with_max_entries(2048, 0);
/// The last cgroup looked up on this CPU, see [`crate::slot`]; memory, io.
#[map]
pub static CACHE: PerCpuArray<u64> = PerCpuArray::with_max_entries(2, 0);

#[map]
pub static FAULT: PerCpuArray<[u64; fault::word::COUNT]> = PerCpuArray::with_max_entries(2048, 0);
#[map]
pub static RECLAIM: PerCpuArray<[u64; reclaim::KINDS * reclaim::word::COUNT]> = PerCpuArray::with_max_entries(2048, 0);
#[map]
pub static COMPACTION: PerCpuArray<[u64; compaction::word::COUNT]> = PerCpuArray::with_max_entries(2048, 0);
#[map]
pub static BLOCK_IO: PerCpuArray<[u64; block::OPERATIONS * block::word::COUNT]> =
    PerCpuArray::with_max_entries(2048, 0);

#[map]
pub static RECLAIM_TIME: PerCpuArray<Histogram> = PerCpuArray::with_max_entries(reclaim::KINDS as u32, 0);
#[map]
pub static COMPACTION_TIME: PerCpuArray<Histogram> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub static MAJOR_FAULT_TIME: PerCpuArray<Histogram> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub static KSWAPD: PerCpuArray<[u64; kswapd::word::COUNT]> = PerCpuArray::with_max_entries(kswapd::NODES, 0);
/// Since when a node's kswapd is awake; zero while it sleeps. Not counted per CPU: the thread may move.
#[map]
pub static KSWAPD_SINCE: Array<u64> = Array::with_max_entries(kswapd::NODES, 0);
#[map]
pub static BLOCK: PerCpuHashMap<block::DeviceOperation, [u64; block::device_word::COUNT]> =
    PerCpuHashMap::with_max_entries(block::ROWS, 0);

#[map]
pub static TRANSFER: PerCpuArray<[u64; transfer::word::COUNT]> = PerCpuArray::with_max_entries(2048, 0);
#[map]
pub static TRANSFER_TIME: PerCpuArray<Histogram> = PerCpuArray::with_max_entries(transfer::DIRECTIONS as u32, 0);
/// The driver's call that a thread is in, see [`crate::transfer`].
#[map]
pub static TRANSFER_CALLS: HashMap<u32, Call> = HashMap::with_max_entries(16384, 0);
/// What is allocated, and its bytes.
#[map]
pub static TRANSFER_ALLOCATIONS: HashMap<transfer::Allocation, u64> = HashMap::with_max_entries(65536, 0);
/// What each process holds.
#[map]
pub static TRANSFER_PROCESSES: HashMap<u32, transfer::Process> = HashMap::with_max_entries(4096, 0);

/// What a thread began and has not ended, see [`crate::stopwatch`].
#[map]
pub static STOPWATCH: HashMap<u64, Started> = HashMap::with_max_entries(16384, 0);
/// When a request was issued, by its address; zero once it has arrived. The kernel uses the memory of its requests again and
/// again, and so the entries stay: making and removing one for each IO would cost more than everything else about it. Those
/// that were not used for long make room. At [`collector_common::block::ATTACHED`] is none.
#[map]
pub static IN_FLIGHT: LruHashMap<u64, u64> = LruHashMap::with_max_entries(16384, 0);
/// The latest reclaim of a thread: the cause of the OOM kill that may follow.
#[map]
pub static LAST_RECLAIM: LruHashMap<u32, Cause> = LruHashMap::with_max_entries(4096, 0);
/// The OOM kill that a thread is about to do.
#[map]
pub static OOM_CAUSE: LruHashMap<u32, Cause> = LruHashMap::with_max_entries(256, 0);
/// Victims known by their pid alone, until they exit.
#[map]
pub static PENDING: HashMap<u32, oom::Victim> = HashMap::with_max_entries(1024, 0);
/// Where an OOM record is put together.
#[map]
pub static VICTIM: PerCpuArray<oom::Victim> = PerCpuArray::with_max_entries(1, 0);
/// Where a cgroup record is put together: it is larger than a program's stack.
#[map]
pub static CHANGE: PerCpuArray<cgroup::Change> = PerCpuArray::with_max_entries(1, 0);
