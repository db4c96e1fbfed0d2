//! The interface between the eBPF programs and the collector, declared once for both: records in the rings, counters in
//! the maps, the kernel layout and the settings passed to the programs, and [`SIGNALS`], the catalogue of signals.
//!
//! One file per signal. A file of the same name is in `collector-ebpf` (its programs) and in `collector-core/src/signal`
//! (its meaning). This crate knows nothing of aya, of loaded maps, or of what the numbers mean.

#![no_std]

pub mod block;
pub mod cgroup;
pub mod compaction;
pub mod dirty;
pub mod fault;
pub mod histogram;
pub mod kill;
pub mod kswapd;
pub mod layout;
pub mod lost;
pub mod notice;
pub mod oom;
pub mod pass;
pub mod reclaim;
pub mod ring;
pub mod settings;
pub mod share;
pub mod slot;
pub mod transfer;

/// Every signal, in the order in which they are attached and documented.
pub const SIGNALS: &[Signal] = &[
    // First: then a cgroup that is counted for, and neither found on the first walk nor known from its creation, was there
    // before the agent.
    cgroup::SIGNAL,
    // Before `oom`: a mark is judged by the signal before it.
    kill::SIGNAL,
    oom::SIGNAL,
    reclaim::SIGNAL,
    kswapd::SIGNAL,
    compaction::SIGNAL,
    fault::SIGNAL,
    block::SIGNAL,
    dirty::SIGNAL,
    transfer::SIGNAL,
];

/// A kind of kernel event: the probes that see it, and what reaches user space.
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    /// Name of its three files, and in `kernel.disable`.
    pub name: &'static str,
    /// Text for the documentation.
    pub summary: &'static str,
    /// Its programs, in the order in which they are attached: the end of an operation before its begin, so that no begin
    /// stays without an end.
    pub probes: &'static [Probe],
    pub counters: &'static [Counters],
    /// Its record, if it reports single events.
    pub record: Option<Record>,
}

/// An eBPF program and its hook.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Name in the ELF object.
    pub program: &'static str,
    pub hook: Hook,
    /// What it reports, and so is missing without it. For the documentation and `headroom doctor`.
    pub gives: &'static str,
    /// Fallback for this program: attached only if that one could not be.
    pub instead_of: Option<&'static str>,
}

/// What a program is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Raw tracepoint: needs no tracefs, and gets the arguments as the kernel passes them.
    RawTracepoint {
        /// Subsystem, for the documentation only: raw tracepoints are found by name.
        category: &'static str,
        name: &'static str,
    },
    /// Raw tracepoint with arguments typed by the kernel's own BTF (tp_btf): the program can follow their pointers without a
    /// helper call per step. For hot paths.
    TypedTracepoint { category: &'static str, name: &'static str },
    /// Entry of a kernel function, through a BPF trampoline (fentry).
    Entry(&'static str),
    /// Return of a kernel function, through a BPF trampoline (fexit).
    Exit(&'static str),
    /// Entry of a kernel function, through a kprobe.
    Kprobe(&'static str),
    /// Return of a kernel function, through a kretprobe.
    Kretprobe(&'static str),
    /// Software event of perf, on every CPU.
    Software(SoftwareEvent),
    /// Entries of these library functions, through uprobes in each file of the library that is found.
    LibraryEntry(&'static [&'static str]),
    /// Returns of these library functions, through uretprobes.
    LibraryReturn(&'static [&'static str]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftwareEvent {
    /// `PERF_COUNT_SW_PAGE_FAULTS`: every page fault of a task.
    PageFaults,
    /// `PERF_COUNT_SW_PAGE_FAULTS_MAJ`: every page fault that needed IO.
    MajorFaults,
}

/// A map of counters. Each value is a row of `words` 64-bit counters.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    /// Name in the ELF object; for [`Key::Slot`], of this part of the cgroup's row (see [`slot`]).
    pub map: &'static str,
    pub key: Key,
    /// 64-bit words per row.
    pub words: usize,
}

/// What the rows of a map are keyed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Slot of a cgroup (see [`slot`]).
    Slot,
    /// Small index; the signal defines its meaning.
    Index,
    /// Number of a [`block::DeviceOperation`].
    Device,
}

/// A record that a signal sends through a ring.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// First word of every record.
    pub kind: ring::Kind,
    pub ring: ring::Ring,
    /// Size in bytes; for a record with a variable tail, of its fixed part.
    pub size: usize,
}

const _: () = {
    // A signal without a probe can report nothing.
    let mut i = 0;
    while i < SIGNALS.len() {
        assert!(!SIGNALS[i].probes.is_empty());
        i += 1;
    }
};
