//! kswapd: how long the kernel's background reclaim of each memory node was awake.

use collector_common::kswapd::{NODES, word};
use serde::{Deserialize, Serialize};

use super::{RowKey, index_of, row};
use crate::engine::Outcome;
use crate::view::{View, grow};

/// What is read of one node's kswapd.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// The memory node.
    pub node: u32,
    /// Nanoseconds awake.
    pub awake_ns: u64,
    /// How often it was woken from sleep.
    pub wakes: u64,
}

pub(super) fn counts(key: RowKey, growth: &[u64]) -> Option<Reading> {
    let words: &[u64; word::COUNT] = row(growth)?;
    let node = index_of(key).filter(|&node| node < NODES)?;
    Some(Reading { node, awake_ns: words[word::AWAKE_NS], wakes: words[word::WAKES] })
}

/// Folds one reading into the view.
pub fn fold(view: &mut View, time: u64, reading: &Reading) -> Option<Outcome> {
    match view.host.node(reading.node, time) {
        Some(node) => {
            grow(&mut node.awake_ns, reading.awake_ns);
            grow(&mut node.wakes, reading.wakes);
        }
        None => view.coverage.lose("node", 1),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{self, Sample};
    use crate::signal::test::{counters, engine, malformed};

    #[test]
    fn a_node_beyond_the_last_is_refused_on_every_way_in() {
        assert_eq!(counters("KSWAPD", RowKey::Index(NODES), &[1, 1]), malformed());
        let mut engine = engine();
        let reading = sample::Reading::Kswapd(Reading { node: NODES, awake_ns: 1, wakes: 1 });
        engine.apply(&Sample { time: 1, reading });
        assert_eq!(engine.view().coverage.lost["node"], 1);
        assert!(engine.view().host.nodes.is_empty());
    }
}
