//! fault: page faults by mode and access, and the time of major faults.

use crate::{Counters, Hook, Key, Probe, Signal, SoftwareEvent, histogram};

/// Words of a cgroup's row.
pub mod word {
    /// Faults in user mode: three words, indexed by [`Access`].
    pub const USER: usize = 0;
    /// Faults in kernel mode, likewise.
    pub const KERNEL: usize = 3;
    /// Faults whose mode and access are unknown, because there is no tracepoint.
    pub const ANY: usize = 6;
    /// Major faults: those that needed IO.
    pub const MAJOR: usize = 7;
    /// Words per row.
    pub const COUNT: usize = 8;
}

/// Type of the access that faulted; an offset from [`word::USER`] or [`word::KERNEL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Access {
    Read = 0,
    Write = 1,
    /// Instruction fetch.
    Execute = 2,
}

/// The programs that run at every page fault. Left off by `fault.access`.
pub const AT_EVERY: [&str; 3] = ["fault_user", "fault_kernel", "fault_any"];

const fn tracepoint(program: &'static str, name: &'static str, gives: &'static str) -> Probe {
    Probe { program, hook: Hook::RawTracepoint { category: "exceptions", name }, gives, instead_of: None }
}

const fn latency(program: &'static str, hook: Hook, instead_of: Option<&'static str>) -> Probe {
    Probe { program, hook, gives: "time of major faults", instead_of }
}

pub const SIGNAL: Signal = Signal {
    name: "fault",
    summary: "Page faults by mode and access; number and time of major faults. With `fault.access = false` nothing runs at a \
              page fault, and their number is the kernel's own (`memory.stat`).",
    probes: &[
        tracepoint("fault_user", "page_fault_user", "page faults in user mode, by access"),
        tracepoint("fault_kernel", "page_fault_kernel", "page faults in kernel mode, by access"),
        Probe {
            program: "fault_any",
            hook: Hook::Software(SoftwareEvent::PageFaults),
            gives: "page faults without mode and access, where there is no tracepoint (arm64)",
            instead_of: Some("fault_user"),
        },
        Probe {
            program: "fault_major",
            hook: Hook::Software(SoftwareEvent::MajorFaults),
            gives: "number of major faults",
            instead_of: None,
        },
        latency("fault_file_exit", Hook::Exit("filemap_fault"), None),
        latency("fault_file_entry", Hook::Entry("filemap_fault"), None),
        latency("fault_swap_exit", Hook::Exit("do_swap_page"), None),
        latency("fault_swap_entry", Hook::Entry("do_swap_page"), None),
        latency("fault_file_kretprobe", Hook::Kretprobe("filemap_fault"), Some("fault_file_exit")),
        latency("fault_file_kprobe", Hook::Kprobe("filemap_fault"), Some("fault_file_entry")),
        latency("fault_swap_kretprobe", Hook::Kretprobe("do_swap_page"), Some("fault_swap_exit")),
        latency("fault_swap_kprobe", Hook::Kprobe("do_swap_page"), Some("fault_swap_entry")),
    ],
    counters: &[
        Counters { map: "FAULT", key: Key::Slot, words: word::COUNT },
        Counters { map: "MAJOR_FAULT_TIME", key: Key::Index, words: histogram::WORDS },
    ],
    record: None,
};
