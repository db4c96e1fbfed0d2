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

/// A killed process. Sizes are in pages, or [`UNKNOWN`].
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
    pub victim: Task,
    /// Task in whose context the kill happened.
    pub trigger: Task,
    /// Uid of the victim in the initial user namespace.
    pub uid: u32,
    pub score_adj: i32,
    /// A [`Scope`].
    pub scope: u32,
    /// Always zero.
    pub reserved: u32,
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
