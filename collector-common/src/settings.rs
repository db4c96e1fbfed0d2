//! What the operator set and the programs need, handed to them as one read-only global.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The global's name in the ELF object.
pub const GLOBAL: &str = "SETTINGS";

/// `REQ_OP_*` numbers that are told apart; the kernel's are below 40.
pub const OPERATIONS: usize = 64;

/// Thresholds and sizes that the programs go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Settings {
    /// Reclaim and compaction stalls of at least this many nanoseconds are sent one by one.
    pub stall_ns: u64,
    /// IO that took at least this many nanoseconds from issue to completion is sent one by one.
    pub slow_io_ns: u64,
    /// The reader of the bulk ring is woken once this many bytes wait in it.
    pub bulk_wake_bytes: u64,
    /// An [`crate::block::Operation`] for each of the kernel's `REQ_OP_*` numbers.
    pub operations: [u8; OPERATIONS],
    /// The hierarchy of the memory controller: with `io_hierarchy`, the only ones whose cgroups are reported.
    pub memory_hierarchy: u64,
    /// The hierarchy of the io controller.
    pub io_hierarchy: u64,
}
