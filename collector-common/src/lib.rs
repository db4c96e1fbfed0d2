//! What crosses from the eBPF programs to the collector, declared once for both: the records in the rings, the counters
//! in the maps, the kernel layout handed to the programs, and [`SIGNALS`], the catalogue of what can be seen.
//!
//! One file a signal. The same stem exists in `collector-ebpf` (how the signal is seen) and in `collector-core/src/signal`
//! (what it means). This crate knows nothing of aya, of maps as objects, or of the meaning of a number.

#![no_std]

pub mod block;
pub mod cgroup;
pub mod compaction;
pub mod dirty;
pub mod fault;
pub mod histogram;
pub mod kswapd;
pub mod layout;
pub mod lost;
pub mod oom;
pub mod reclaim;
pub mod ring;
pub mod settings;
pub mod transfer;

/// Every kind of kernel fact that Headroom can see, in the order in which the documentation lists them.
pub const SIGNALS: &[Signal] = &[
    oom::SIGNAL,
    reclaim::SIGNAL,
    kswapd::SIGNAL,
    compaction::SIGNAL,
    fault::SIGNAL,
    block::SIGNAL,
    cgroup::SIGNAL,
    dirty::SIGNAL,
    transfer::SIGNAL,
];

/// One kind of kernel fact: where it is seen, and what of it crosses to user space.
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    /// The stem of its three files; what `kernel.disable` names.
    pub name: &'static str,
    /// One sentence for the documentation.
    pub summary: &'static str,
    /// The eBPF programs that see it, in the order in which they are attached: an end before its begin, so that no
    /// begin goes unmatched.
    pub probes: &'static [Probe],
    /// The maps in which the kernel counts it.
    pub counters: &'static [Counters],
    /// The record it sends through a ring, where a single event is worth one.
    pub record: Option<Record>,
}

/// One eBPF program on one hook.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// The program's name in the ELF object.
    pub program: &'static str,
    /// What it is attached to.
    pub hook: Hook,
    /// What is seen with it, and so is missing without it.
    pub gives: &'static str,
    /// Attached only if the named program could not be: the next best way to see the same.
    pub instead_of: Option<&'static str>,
}

/// What a program is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A raw tracepoint: no tracefs needed, and the arguments as the kernel passes them.
    RawTracepoint {
        /// The tracepoint's subsystem, for the reader; raw tracepoints are found by their name alone.
        category: &'static str,
        /// The tracepoint's name.
        name: &'static str,
    },
    /// The same with arguments typed by the kernel's own BTF (tp_btf), so that the program may follow their pointers
    /// without a helper's call for each step: for what is hot.
    TypedTracepoint {
        /// As above.
        category: &'static str,
        /// As above.
        name: &'static str,
    },
    /// The entry of a kernel function, through a BPF trampoline (fentry).
    Entry(&'static str),
    /// The return of a kernel function, through a BPF trampoline (fexit).
    Exit(&'static str),
    /// The entry of a kernel function, through a kprobe.
    Kprobe(&'static str),
    /// The return of a kernel function, through a kretprobe.
    Kretprobe(&'static str),
    /// A software event of the perf subsystem, on every CPU.
    Software(SoftwareEvent),
    /// The entries of these functions of a library, through uprobes: in each file of the library that is found.
    LibraryEntry(&'static [&'static str]),
    /// The returns of the same, through uretprobes.
    LibraryReturn(&'static [&'static str]),
}

/// The perf software events in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftwareEvent {
    /// `PERF_COUNT_SW_PAGE_FAULTS`: every fault taken by a task.
    PageFaults,
    /// `PERF_COUNT_SW_PAGE_FAULTS_MAJ`: every fault that needed IO.
    MajorFaults,
}

/// A map in which the kernel counts: every value is a row of `words` 64-bit counters that only ever grow.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    /// The map's name in the ELF object.
    pub map: &'static str,
    /// How its rows are found.
    pub key: Key,
    /// 64-bit words a row.
    pub words: usize,
}

/// What a row of counters belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A cgroup, by its slot (see [`cgroup::Id`]).
    Slot,
    /// A small index whose meaning the signal gives.
    Index,
    /// Eight bytes whose meaning the signal gives.
    Hash,
}

/// A record that a signal sends through a ring.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Which kind: the first word of every record.
    pub kind: ring::Kind,
    /// Through which ring.
    pub ring: ring::Ring,
    /// Its size in bytes; for a record with a variable tail, the size of its fixed part.
    pub size: usize,
}

const _: () = {
    // The object's programs are found by name: no two may share one.
    let mut i = 0;
    while i < SIGNALS.len() {
        assert!(!SIGNALS[i].probes.is_empty());
        i += 1;
    }
};
