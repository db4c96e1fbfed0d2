//! Shared by unit tests: an engine that knows one cgroup, and readings of rows of counters.

use super::Engine;
use crate::cgroup::Id;
use crate::decode;
use crate::outcome::Outcome;
use crate::sample::{Lost, Reading, Sample, Start};
use crate::signal::{Context, RowKey, cgroup};
use crate::stage::Stage;

pub const CONTEXT: Context = Context { page_size: 4096, clock_offset_ns: 1_000, jiffy_ns: 4_000_000 };
pub const ID: Id = Id { hierarchy: 5, id: 77 };

pub fn start() -> Start {
    Start {
        version: "0.1.0".into(),
        kernel: "6.18.0".into(),
        memory_hierarchy: 5,
        io_hierarchy: 3,
        workload_max: 3,
        workload_grace: 60_000_000_000,
        own: None,
        history: None,
        level: None,
        starved: None,
        leak: None,
        controllers: None,
    }
}

/// An engine that knows the cgroup [`ID`] at `/a`.
pub fn engine() -> Engine {
    let mut engine = Engine::new();
    for reading in [Reading::Start(start()), Reading::Cgroup(cgroup::Reading::Born { id: ID, path: "/a".into() })] {
        engine.apply(&Sample { time: 10, reading });
    }
    engine
}

/// Folds a sample, and returns the facts, without the incidents and alerts made of them.
pub fn facts(engine: &mut Engine, sample: &Sample) -> Vec<Outcome> {
    facts_of(engine.apply(sample))
}

pub fn facts_of(outcomes: Vec<Outcome>) -> Vec<Outcome> {
    let made = |outcome: &Outcome| matches!(outcome, Outcome::Incident(_) | Outcome::Alert(_));
    outcomes.into_iter().filter(|outcome| !made(outcome)).collect()
}

pub fn counters(map: &str, key: RowKey, growth: &[u64]) -> Vec<Reading> {
    let mut readings = Vec::new();
    decode::counters(map, key, growth, &CONTEXT, &mut |reading| readings.push(reading));
    readings
}

pub fn malformed() -> Vec<Reading> {
    vec![Reading::Lost(Lost { stage: Stage::Malformed, count: 1 })]
}
