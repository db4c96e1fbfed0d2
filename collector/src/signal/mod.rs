//! What the signals mean, one file each: how records and counters become readings, and how readings fold into the view.
//! Pure: no IO, no clock, no aya.

pub mod block;
pub mod cgroup;
pub mod compaction;
pub mod fault;
pub mod kswapd;
pub mod oom;
pub mod reclaim;

/// What decoding needs to know of the host.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Bytes a page.
    pub page_size: u64,
    /// What is added to a record's CLOCK_MONOTONIC to get nanoseconds since the Unix epoch.
    pub clock_offset_ns: u64,
}

/// What a row of counters belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKey {
    /// A cgroup ([`collector_common::Key::Slot`]); `None` is the row of all that found no slot.
    Cgroup(Option<cgroup::Id>),
    /// A small index.
    Index(u32),
    /// Eight bytes.
    Hash([u8; 8]),
}
