//! oom: the kernel chose a victim and killed it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ring::{Header, Kind, Ring, Task};
use crate::{Hook, Probe, Record, Signal, cgroup};

/// A number of pages that this kernel could not tell.
pub const UNKNOWN: u64 = u64::MAX;

/// Whose memory was out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Scope {
    /// The kernel gave nothing to tell by.
    Unknown = 0,
    /// A memory cgroup's, at its limit.
    Memcg = 1,
    /// The host's.
    Host = 2,
}

/// One killed process. Sizes are in pages, or [`UNKNOWN`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Victim {
    /// What every record starts with; the time is that of the mark.
    pub header: Header,
    /// The memory cgroup of the victim: the one that is charged.
    pub cgroup: cgroup::Id,
    /// The memory cgroup of the task that asked for memory.
    pub trigger_cgroup: cgroup::Id,
    /// The memory cgroup whose limit was hit; zero where the kernel did not tell, or the host was out of memory.
    pub limited: cgroup::Id,
    /// Anonymous pages resident.
    pub anon: u64,
    /// File pages resident.
    pub file: u64,
    /// Shared memory pages resident.
    pub shmem: u64,
    /// Pages swapped out.
    pub swap: u64,
    /// The most pages that were ever resident.
    pub peak: u64,
    /// The victim.
    pub victim: Task,
    /// The task in whose context the kill happened.
    pub trigger: Task,
    /// The victim's user, in the initial user namespace.
    pub uid: u32,
    /// The victim's `oom_score_adj`.
    pub score_adj: i32,
    /// A [`Scope`].
    pub scope: u32,
    /// Set aside, zero.
    pub reserved: u32,
}

/// See the module.
pub const SIGNAL: Signal = Signal {
    name: "oom",
    summary: "OOM kills: the victim, what it held, who asked for the memory, and whose limit was hit.",
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
            gives: "the victim's facts where the mark carries its pid alone",
            instead_of: None,
        },
        Probe {
            program: "oom_kill_process",
            hook: Hook::Entry("oom_kill_process"),
            gives: "the memory cgroup whose limit caused an OOM kill",
            instead_of: None,
        },
        Probe {
            program: "oom_kill_process_kprobe",
            hook: Hook::Kprobe("oom_kill_process"),
            gives: "the memory cgroup whose limit caused an OOM kill",
            instead_of: Some("oom_kill_process"),
        },
    ],
    counters: &[],
    record: Some(Record { kind: Kind::OomKill, ring: Ring::Critical, size: size_of::<Victim>() }),
};
