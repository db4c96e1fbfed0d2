//! oom: OOM kills.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ring::{Header, Kind, Ring, Task};
use crate::{Hook, Probe, Record, Signal, cgroup};

/// A number of pages that could not be read on this kernel.
pub const UNKNOWN: u64 = u64::MAX;

/// What ran out of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Scope {
    /// Nothing in the kernel shows which.
    Unknown = 0,
    /// A memory cgroup reached its limit.
    Memcg = 1,
    /// The host.
    Host = 2,
}

/// Which part of the host's memory the allocation could use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Constraint {
    /// Nothing in the kernel shows which.
    Unknown = 0,
    /// All of it.
    None = 1,
    /// The memory nodes of a cpuset.
    Cpuset = 2,
    /// The memory nodes of a memory policy.
    MemoryPolicy = 3,
    /// That of a memory cgroup.
    Memcg = 4,
}

/// An order of an allocation that the kernel does not show; -1 is its own for SysRq.
pub const NO_ORDER: i32 = i32::MIN;

/// A process that the kernel marked as a victim. Sizes are in pages, or [`UNKNOWN`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Victim {
    /// The time is that of `oom:mark_victim`.
    pub header: Header,
    /// Memory cgroup of the victim: the one that is charged.
    pub cgroup: cgroup::Id,
    /// Memory cgroup of the task that asked for memory.
    pub trigger_cgroup: cgroup::Id,
    /// Memory cgroup whose limit was reached; zero if unknown, or if the host was out of memory.
    pub limited: cgroup::Id,
    /// Resident anonymous pages.
    pub anon: u64,
    /// Resident file pages.
    pub file: u64,
    /// Resident pages of shared memory.
    pub shmem: u64,
    pub swap: u64,
    /// Peak of resident pages.
    pub peak: u64,
    /// Memory limit of `limited`.
    pub limit: u64,
    /// Limit of `limited` on swap (cgroup v1: on memory and swap together).
    pub swap_limit: u64,
    pub victim: Task,
    /// Task in whose context the kill happened.
    pub trigger: Task,
    /// Uid of the victim in the initial user namespace.
    pub uid: u32,
    pub score_adj: i32,
    /// A [`Scope`].
    pub scope: u32,
    /// A [`Constraint`].
    pub constraint: u32,
    /// Order of the allocation (2^order pages); or [`NO_ORDER`].
    pub order: i32,
    /// 1 if the OOM killer sent it SIGKILL, just before it marked it; 0 if that was not seen.
    pub killed: u32,
    /// 1 if whole cgroups are killed together here (`memory.oom.group`).
    pub group: u32,
    /// How the process ends, as in wait(2): what it passed to exit(2) in bits 8 to 15, or the signal in bits 0 to 6.
    pub status: u32,
}

pub const SIGNAL: Signal = Signal {
    name: "oom",
    summary: "OOM kills: the victim, the memory that it held, the task that asked for memory, and whose limit was reached.",
    probes: &[
        Probe {
            program: "oom_mark_victim",
            hook: Hook::RawTracepoint { category: "oom", name: "mark_victim" },
            gives: "OOM kills",
            instead_of: None,
        },
        Probe {
            program: "oom_process_exit",
            hook: Hook::RawTracepoint { category: "sched", name: "sched_process_exit" },
            gives: "the victim's memory and user, on kernels where `mark_victim` passes only a pid",
            instead_of: None,
        },
        Probe {
            program: "oom_kill_process",
            hook: Hook::Entry("oom_kill_process"),
            gives: "the memory cgroup whose limit caused the OOM kill",
            instead_of: None,
        },
        Probe {
            program: "oom_kill_process_kprobe",
            hook: Hook::Kprobe("oom_kill_process"),
            gives: "the memory cgroup whose limit caused the OOM kill",
            instead_of: Some("oom_kill_process"),
        },
    ],
    counters: &[],
    record: Some(Record { kind: Kind::OomKill, ring: Ring::Critical, size: size_of::<Victim>() }),
};
