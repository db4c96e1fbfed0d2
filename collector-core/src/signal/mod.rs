//! The signals, one file each: their readings, and how records and counters become readings. [`table`] lists the signals with
//! their records and maps. Pure: no IO, no clock, no aya, and no knowledge of what readings are folded into.

pub mod block;
pub mod cgroup;
pub mod compaction;
pub mod counted;
pub mod dirty;
pub mod fault;
pub mod kill;
pub mod kswapd;
pub mod oom;
pub mod reclaim;
pub(crate) mod table;
pub mod transfer;

use collector_common::ring::Comm;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::cgroup::Id;
use crate::text;

/// What decoding needs to know about the host.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Bytes per page.
    pub page_size: u64,
    /// Added to a record's CLOCK_MONOTONIC to get nanoseconds since the Unix epoch.
    pub clock_offset_ns: u64,
    /// Nanoseconds per jiffy, the kernel's tick.
    pub jiffy_ns: u64,
}

/// Identifies a row of counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowKey {
    /// A cgroup ([`collector_common::Key::Slot`]); `None` is the row that all cgroups without a slot share.
    Cgroup(Option<Id>),
    /// A small index.
    Index(u32),
    /// Eight bytes.
    Hash([u8; 8]),
}

/// What must be attached for a number to be known: alternatives, each a list of programs that must all be attached. Each signal
/// declares its needs once; metrics, history, API and incidents use the same declaration.
pub type Need = &'static [&'static [&'static str]];

/// Reads the bytes as a record of fixed size.
fn exact<T: FromBytes + KnownLayout + Immutable>(bytes: &[u8]) -> Result<T, &'static str> {
    T::read_from_bytes(bytes).map_err(|_| "wrong size")
}

/// Whether the kernel's limit of so many bytes is one. Its "no limit" is the largest number of pages whose bytes fit into a long
/// (`PAGE_COUNTER_MAX`).
fn is_limit(bytes: u64, context: &Context) -> bool {
    bytes <= (i64::MAX as u64).saturating_sub(context.page_size)
}

/// The growth as a row of exactly `N` words.
pub(crate) fn row<const N: usize>(growth: &[u64]) -> Option<&[u64; N]> {
    growth.try_into().ok()
}

fn cgroup_of(key: RowKey) -> Option<Option<Id>> {
    match key {
        RowKey::Cgroup(id) => Some(id),
        RowKey::Index(_) | RowKey::Hash(_) => None,
    }
}

fn index_of(key: RowKey) -> Option<u32> {
    match key {
        RowKey::Index(index) => Some(index),
        RowKey::Cgroup(_) | RowKey::Hash(_) => None,
    }
}

/// A task's name up to the NUL, escaped: the task chooses its bytes.
fn comm(bytes: &Comm) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    text::escape(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_nul_and_without_utf8_can_be_shown() {
        assert_eq!(comm(b"0123456789abcdef"), "0123456789abcdef");
        assert_eq!(comm(b"a\xffb\0ccccccccccccc"[..16].try_into().unwrap()), r"a\xffb");
        assert_eq!(comm(b"\x1b[2J\r\n\0\0\0\0\0\0\0\0\0\0"), r"\x1b[2J\x0d\x0a");
    }
}
