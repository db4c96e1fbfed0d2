//! kswapd: how long the kernel's background reclaim of each memory node was awake.

use collector_common::kswapd::{NODES, word};
use serde::{Deserialize, Serialize};

use super::{Context, Need, RowKey, index_of, row};

/// For the time awake.
pub const AWAKE: Need = &[&["kswapd_sleep", "kswapd_wake"]];
/// For the number of wakes.
pub const WAKES: Need = &[&["kswapd_wake"]];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    pub node: u32,
    /// Nanoseconds awake.
    pub awake_ns: u64,
    /// Times that it was woken from sleep.
    pub wakes: u64,
}

pub(crate) fn counts(key: RowKey, growth: &[u64], _context: &Context, emit: &mut dyn FnMut(Reading)) -> Option<()> {
    let words: &[u64; word::COUNT] = row(growth)?;
    let node = index_of(key).filter(|&node| node < NODES)?;
    emit(Reading { node, awake_ns: words[word::AWAKE_NS], wakes: words[word::WAKES] });
    Some(())
}
