//! kswapd: how long background reclaim of each memory node was awake.

use super::State;
use crate::count::grow;
use crate::outcome::Outcome;
use crate::signal::kswapd::Reading;
use crate::stage::Stage;

pub(super) fn fold(State { view, .. }: State<'_>, time: u64, reading: &Reading) -> Option<Outcome> {
    match view.host.node(reading.node, time) {
        Some(node) => {
            grow(&mut node.awake_ns, reading.awake_ns);
            grow(&mut node.wakes, reading.wakes);
        }
        None => view.coverage.lose(Stage::Node, 1),
    }
    None
}

#[cfg(test)]
mod tests {
    use collector_common::kswapd::NODES;

    use super::*;
    use crate::engine::test::{counters, engine, malformed};
    use crate::sample::{self, Sample};
    use crate::signal::RowKey;

    #[test]
    fn a_node_beyond_the_last_is_refused_as_counter_and_as_reading() {
        assert_eq!(counters("KSWAPD", RowKey::Index(NODES), &[1, 1]), malformed());
        let mut engine = engine();
        let reading = sample::Reading::Kswapd(Reading { node: NODES, awake_ns: 1, wakes: 1 });
        engine.apply(&Sample { time: 1, reading });
        assert_eq!(engine.view().coverage.lost(Stage::Node), 1);
        assert!(engine.view().host.nodes.is_empty());
    }
}
