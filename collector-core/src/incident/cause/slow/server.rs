//! Slow for what a model server says of itself: no room for the KV cache, more clients than places, KV cache that moves to host memory.

use super::{LATENCY, both, numbers, shown};
use crate::amount::{fixed, percent};
use crate::incident::cause::{Finding, Rule};
use crate::view::slow::Fact;

/// A KV cache is full from this share of it …
const FULL: f64 = 0.9;
/// … on average; in the time that is judged it may have filled: then from this share, if that is so much more than before.
const FILLED: f64 = 0.75;
const FILLED_BY: f64 = 0.2;
/// Preemptions explain slowness from so many a second, retracted tokens likewise.
const PREEMPTED_BY: f64 = 0.05;
const RETRACTED_BY: f64 = 10.0;
/// A queue explains it from so many requests more than before.
const WAITING_BY: f64 = 0.5;
/// KV cache that moves explains it from so many bytes per second.
pub(super) const OFFLOAD_BY: f64 = 50e6;

pub(in crate::incident::cause) const KV_EXHAUSTED: Rule = Rule {
    name: "kv_exhausted",
    kinds: LATENCY,
    when: "The server dropped the KV cache of running requests more often than before (preemptions, retracted tokens); or 90 % or more of its KV cache is in use (75 % if that is 20 % of it more than before) and more requests wait than before.",
    find: |facts| {
        let preempted = facts
            .worse(Fact::Preemptions, PREEMPTED_BY)
            .map(|worse| (Fact::Preemptions, "requests were preempted", worse));
        let retracted = || {
            facts
                .worse(Fact::Retracted, RETRACTED_BY)
                .map(|worse| (Fact::Retracted, "tokens were sent back to the queue", worse))
        };
        let used = facts.now(Fact::KvUsed);
        let waits = || {
            let filled = used.zip(facts.usual(Fact::KvUsed));
            let filled = filled.is_some_and(|(now, before)| now >= FILLED && now - before >= FILLED_BY);
            let worse = facts.worse(Fact::Waiting, WAITING_BY).filter(|_| used >= Some(FULL) || filled)?;
            Some(format!("{} requests wait (before: {})", fixed(worse.now, 1), fixed(worse.before, 1)))
        };
        let lost = preempted.or_else(retracted).map(|(fact, what, worse)| format!("{what} at {}", both(fact, worse)));
        let reason = lost.or_else(waits)?;
        Some(Finding {
            sentence: format!(
                "The KV cache of {} has no room for all of its requests{}: {reason}",
                facts.server().unwrap_or(facts.slowed()),
                used.map_or(String::new(), |used| format!(" ({} in use)", percent(used))),
            ),
            next: "Send it fewer or shorter requests at once (max_num_seqs, -np, a limit in front of it), give its KV cache more memory (gpu_memory_utilization, a smaller or quantised model, a quantised KV cache), or add a replica.".to_owned(),
            numbers: numbers(facts, &[Fact::KvUsed, Fact::Preemptions, Fact::Retracted, Fact::Waiting, Fact::Running]),
        })
    },
};

pub(in crate::incident::cause) const QUEUE: Rule = Rule {
    name: "too_many_clients",
    kinds: LATENCY,
    when: "More requests wait for a place than before, and the server makes about as many tokens as before: it is not slower, it is asked for more. Where it says how many it works on at once, all of these places are taken.",
    find: |facts| {
        let worse = facts.worse(Fact::Waiting, WAITING_BY)?;
        let slots = facts.now(Fact::Slots);
        // Between two requests a place is free for a moment, and it is often asked just then.
        let free = slots.zip(facts.now(Fact::Running)).is_some_and(|(slots, running)| running < 0.6 * slots);
        // A server that is slow itself has a queue as well.
        if free || facts.fell(Fact::Generated) {
            return None;
        }
        let places = slots.map_or(String::new(), |slots| match shown_count(slots).as_str() {
            "1" => ", its only place is taken".to_owned(),
            count => format!(", all {count} places are taken"),
        });
        Some(Finding {
            sentence: format!(
                "{} is asked for more than it can do at once: {} requests wait (before: {}){places}",
                facts.server().unwrap_or(facts.slowed()),
                fixed(worse.now, 1),
                fixed(worse.before, 1),
            ),
            next: "Limit the clients, add places where memory allows (-np, max_num_seqs), or add a replica.".to_owned(),
            numbers: numbers(facts, &[Fact::Waiting, Fact::Running, Fact::Slots, Fact::Generated]),
        })
    },
};

fn shown_count(count: f64) -> String {
    fixed(count, 0)
}

pub(in crate::incident::cause) const OFFLOAD: Rule = Rule {
    name: "kv_offload",
    kinds: LATENCY,
    when: "The server moved at least 50 MB a second more of its KV cache to host memory and back than before, half as much again.",
    find: |facts| {
        let worse = facts.worse(Fact::Offload, OFFLOAD_BY)?;
        let link = facts
            .now(Fact::PcieUsed)
            .map_or(String::new(), |used| format!("; {} of the PCIe link is in use", shown(Fact::PcieUsed, used)));
        Some(Finding {
            sentence: format!(
                "{} moves KV cache between GPU and host memory: {}{link}",
                facts.server().unwrap_or(facts.slowed()),
                both(Fact::Offload, worse),
            ),
            next: "Check whether what is moved is found again (headroom models: hits per byte moved). If not, make the host's part smaller or switch it off; if it is, give the KV cache more GPU memory.".to_owned(),
            numbers: numbers(facts, &[Fact::Offload, Fact::PcieUsed, Fact::PrefixHits, Fact::KvUsed]),
        })
    },
};
