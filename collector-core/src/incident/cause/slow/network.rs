//! Slow for the network.

use super::{BOTH, both, numbers};
use crate::incident::cause::{Finding, Rule};
use crate::view::slow::Fact;

/// A link is full from this share of it, if that is so much more than before.
const FULL: f64 = 0.7;
const FULL_BY: f64 = 0.2;
/// A job that sends and receives fewer bytes in a second does not wait for the network.
const TRAFFIC: f64 = 1e6;
/// Drops explain slowness from so many packets a second.
const DROPPED_BY: f64 = 10.0;

pub(in crate::incident::cause) const SATURATED: Rule = Rule {
    name: "network_saturated",
    kinds: BOTH,
    when: "70 % or more of the busiest link was in use, and 20 % more of it than before; or interfaces dropped at least ten packets a second more than before, half as many again. Of a job with a GPU drops say nothing, and it sends and receives 1 MB a second at least, where that is known.",
    find: |facts| {
        // Whether a job uses the network at all is known only if it has a network namespace of its own.
        let traffic =
            [Fact::Received, Fact::Sent].into_iter().filter_map(|fact| facts.now(fact)).reduce(|one, two| one + two);
        let concerned = !facts.is_starved() || traffic.is_none_or(|bytes| bytes >= TRAFFIC);
        let used = facts.worse(Fact::NetworkUsed, FULL_BY).filter(|worse| worse.now >= FULL && concerned);
        let drops = facts.worse(Fact::NetworkDrops, DROPPED_BY).filter(|_| !facts.is_starved());
        let link = facts.evidence.slow.as_ref().and_then(|slow| slow.link.as_deref()).unwrap_or("the busiest link");
        let reason = match (used, drops) {
            (Some(used), _) => format!("{} of {link} is in use", both(Fact::NetworkUsed, used)),
            (None, Some(drops)) => format!("interfaces drop {} packets", both(Fact::NetworkDrops, drops)),
            (None, None) => return None,
        };
        Some(Finding {
            sentence: format!("The network of this host is full: {reason}"),
            next: "Check who sends and receives (headroom workloads, headroom_network_transmit_bytes_total), and move or limit it.".to_owned(),
            numbers: numbers(facts, &[Fact::NetworkUsed, Fact::NetworkDrops, Fact::Received, Fact::Sent]),
        })
    },
};
