//! Settings that the programs need, passed to them as one read-only global.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Name of the global in the ELF object.
pub const GLOBAL: &str = "SETTINGS";

/// Size of the table of `REQ_OP_*` numbers; the kernel's are below 40.
pub const OPERATIONS: usize = 64;

/// Thresholds and sizes for the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Settings {
    /// Reclaim and compaction stalls of at least this many nanoseconds are sent as records.
    pub stall_ns: u64,
    /// IO that took at least this many nanoseconds from issue to completion is sent as a record.
    pub slow_io_ns: u64,
    /// The reader of the bulk ring is woken once this many bytes wait.
    pub bulk_wake_bytes: u64,
    /// The [`crate::block::Operation`] of each `REQ_OP_*` number.
    pub operations: [u8; OPERATIONS],
    /// Hierarchy of the memory controller. Only cgroups in this one and `io_hierarchy` are reported.
    pub memory_hierarchy: u64,
    /// Hierarchy of the io controller.
    pub io_hierarchy: u64,
    /// A CPU counts the IO of devices in the shard `cpu & mask`, see [`crate::block::DEVICES`].
    pub device_shard_mask: u32,
    /// For [`crate::share::row`].
    pub secret: u32,
    /// CPUs that this host can have, if they are numbered from 0 without gaps; otherwise 0.
    pub cpus: u32,
    /// The size is a multiple of the alignment.
    pub reserved: u32,
}
