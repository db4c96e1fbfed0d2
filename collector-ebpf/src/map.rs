//! Maps, under the names by which the collector finds them. The loader sets sizes that depend on the host. A map of one signal
//! may be in the file of that signal.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf, Stack};
use collector_common::{block, cgroup, histogram, kswapd, lost, notice, oom, reclaim, share, slot, transfer};

pub type Histogram = [u64; histogram::WORDS];

/// Begin of an operation of a thread, see [`crate::stopwatch`]. The time is first: the collector removes entries that are old.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Started {
    pub ns: u64,
    /// Data from the begin that the end needs.
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
    /// Address of its `struct mem_cgroup`, or zero.
    pub memcg: u64,
    /// An [`oom::Constraint`].
    pub constraint: u32,
    /// Order of the allocation, or [`oom::NO_ORDER`].
    pub order: i32,
    pub limits: Limits,
}

/// What programs that cannot go by `memcg` later must read of it at once.
#[cfg(feature = "typed")]
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Limits {
    /// In pages, or [`oom::UNKNOWN`].
    pub memory: u64,
    /// As above.
    pub swap: u64,
    /// 1 if the cgroup is killed as a whole (`memory.oom.group`).
    pub group: u64,
}

#[cfg(not(feature = "typed"))]
#[derive(Clone, Copy)]
pub struct Limits;

#[map]
pub static CRITICAL: RingBuf = RingBuf::with_byte_size(256 * 1024, 0);
#[map]
pub static BULK: RingBuf = RingBuf::with_byte_size(1024 * 1024, 0);
/// See [`notice::word`].
#[map]
pub static NOTICE: Array<[u64; notice::word::COUNT]> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static LOST: Array<[u64; lost::STAGES]> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// cgroup → slot.
#[map]
pub static SLOTS: HashMap<cgroup::Id, u32> = HashMap::with_max_entries(2048, 0);
/// Free slots.
#[map]
pub static FREE: Stack<u32> = Stack::with_max_entries(2048, 0);
/// See [`slot::cache`].
#[map]
pub static CACHE: PerCpuArray<[u64; slot::cache::COUNT]> = PerCpuArray::with_max_entries(1, 0);
/// See [`slot::ROWS`].
#[map]
pub static ROWS: Array<[u64; slot::WORDS]> = Array::with_max_entries(2048, BPF_F_MMAPABLE);
/// See [`slot::MARKS`].
#[map]
pub static MARKS: Array<[u8; slot::SHARDS]> = Array::with_max_entries(2048, BPF_F_MMAPABLE);

// These are mapped into the collector's memory: asking for six maps at each tick would cost it more than everything else on an idle
// host. All CPUs share a row, because what is counted takes microseconds at least.
#[map]
pub static RECLAIM_TIME: Array<Histogram> = Array::with_max_entries(reclaim::KINDS as u32, BPF_F_MMAPABLE);
#[map]
pub static COMPACTION_TIME: Array<Histogram> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static MAJOR_FAULT_TIME: Array<Histogram> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static KSWAPD: Array<[u64; kswapd::word::COUNT]> = Array::with_max_entries(kswapd::NODES, BPF_F_MMAPABLE);
/// Since when the node's kswapd is awake; zero while it sleeps. Not per CPU, because the thread may migrate.
#[map]
pub static KSWAPD_SINCE: Array<u64> = Array::with_max_entries(kswapd::NODES, 0);
/// See [`block::DEVICES`].
#[map]
pub static BLOCK: Array<[u64; block::device_word::COUNT]> =
    Array::with_max_entries(block::ROWS * block::SHARDS, BPF_F_MMAPABLE);
/// See [`block::NUMBERS`].
#[map]
pub static BLOCK_NUMBERS: HashMap<block::DeviceOperation, u32> = HashMap::with_max_entries(block::ROWS, 0);
/// The pairs that each CPU counted for, at [`block::DeviceOperation::place`]: device << 32 | operation << 16 | number + 1.
#[map]
pub static BLOCK_REMEMBERED: PerCpuArray<u64> = PerCpuArray::with_max_entries(block::REMEMBERED, 0);
/// See [`block::FREE`].
#[map]
pub static BLOCK_FREE: Stack<u32> = Stack::with_max_entries(block::ROWS, 0);
/// The kernel's name of each disk with a row in [`BLOCK`].
#[map]
pub static DISK_NAMES: HashMap<u32, block::DiskName> = HashMap::with_max_entries(block::ROWS, 0);

#[map]
pub static TRANSFER_TIME: Array<Histogram> = Array::with_max_entries(transfer::DIRECTIONS as u32, BPF_F_MMAPABLE);
/// Calls of the CUDA driver in progress, by thread id.
#[map]
pub static TRANSFER_CALLS: HashMap<u32, transfer::Call> =
    HashMap::with_max_entries(share::ENTRIES[share::word::CALLS] as u32, 0);
/// Sizes of allocations in bytes.
#[map]
pub static TRANSFER_ALLOCATIONS: HashMap<transfer::Allocation, u64> =
    HashMap::with_max_entries(share::ENTRIES[share::word::ALLOCATIONS] as u32, 0);
#[map]
pub static TRANSFER_PROCESSES: HashMap<u32, transfer::Process> =
    HashMap::with_max_entries(share::ENTRIES[share::word::PROCESSES] as u32, 0);

/// See [`share::USERS`].
#[map]
pub static USERS: Array<[u64; share::word::COUNT]> = Array::with_max_entries(share::ALL + 1, BPF_F_MMAPABLE);

/// Operations that began and have not ended, by thread and kind, see [`crate::stopwatch`].
#[map]
pub static STOPWATCH: HashMap<u64, Started> = HashMap::with_max_entries(16384, 0);
/// Time of issue, by address of the request; zero once it has completed. Of a request that stores that time itself, only where it
/// was issued again after a timeout. The kernel reuses the memory of requests, so entries stay: adding and deleting one per IO
/// would cost more than the rest of the program. Entries that were not used for long are evicted.
#[map]
pub static IN_FLIGHT: LruHashMap<u64, u64> = LruHashMap::with_max_entries(16384, 0);
/// The last reclaim of a thread: the cause of an OOM kill that may follow.
#[map]
pub static LAST_RECLAIM: LruHashMap<u32, Cause> = LruHashMap::with_max_entries(4096, 0);
/// The OOM kill that a thread is about to perform.
#[map]
pub static OOM_CAUSE: LruHashMap<u32, Cause> = LruHashMap::with_max_entries(256, 0);
/// Victims of which only the pid is known, until they exit.
#[map]
pub static PENDING: HashMap<u32, oom::Victim> = HashMap::with_max_entries(1024, 0);
/// Buffer for an OOM record.
#[map]
pub static VICTIM: PerCpuArray<oom::Victim> = PerCpuArray::with_max_entries(1, 0);
/// Buffer for a cgroup record, which is larger than a program's stack.
#[map]
pub static CHANGE: PerCpuArray<cgroup::Change> = PerCpuArray::with_max_entries(1, 0);
