//! kill: signals that end a process, sent by a process of another cgroup.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::ring::{Header, Kind, Ring, Task};
use crate::{Hook, Probe, Record, Signal, cgroup};

/// One signal. Sizes are in pages, or [`crate::oom::UNKNOWN`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Sent {
    pub header: Header,
    /// Memory cgroup of the process that it was sent to.
    pub cgroup: cgroup::Id,
    /// Memory cgroup of the sender.
    pub sender_cgroup: cgroup::Id,
    /// Memory charged to `cgroup`.
    pub usage: u64,
    /// Memory limit of `cgroup`.
    pub limit: u64,
    /// The process that it was sent to.
    pub target: Task,
    pub sender: Task,
    /// `SIGKILL` or `SIGTERM`.
    pub signal: u32,
    /// 1 if the process ends of it; 0 if it handles, blocks or ignores it.
    pub fatal: u32,
}

pub const SIGNAL: Signal = Signal {
    name: "kill",
    summary: "SIGKILL and SIGTERM from another cgroup: who sent it, and to whom. Also tells a process that the OOM killer kills from one that was dying already.",
    probes: &[Probe {
        program: "kill_signal",
        hook: Hook::RawTracepoint { category: "signal", name: "signal_generate" },
        gives: "who killed a process that the OOM killer did not kill",
        instead_of: None,
    }],
    counters: &[],
    record: Some(Record { kind: Kind::SignalSent, ring: Ring::Bulk, size: size_of::<Sent>() }),
};
