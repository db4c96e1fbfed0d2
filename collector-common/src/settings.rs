//! What the operator set and the programs need, handed to them as one read-only global.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The global's name in the ELF object.
pub const GLOBAL: &str = "SETTINGS";

/// Thresholds and sizes that the programs go by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Settings {
    /// Reclaim and compaction stalls of at least this many nanoseconds are sent one by one.
    pub stall_ns: u64,
    /// IO that took at least this many nanoseconds from issue to completion is sent one by one.
    pub slow_io_ns: u64,
    /// The reader of the bulk ring is woken once this many bytes wait in it.
    pub bulk_wake_bytes: u64,
}
