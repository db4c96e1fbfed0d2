//! Circuit breakers as plain data: by owner and unit, which failures there were, and whether the unit may start. Bounded for each
//! owner. Knows neither when a circuit opens (`breaker`) nor who starts what.

use std::collections::{BTreeMap, BTreeSet};

use crate::circuit::unit::{Circuit, FAILURES, Phase, Unit};
use crate::circuit::{Cause, State};

/// Units that are remembered, and of one owner.
pub(crate) const UNITS: usize = 1024;
pub(crate) const SHARE: usize = 64;

/// All units that were started or failed lately.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Circuits {
    pub(crate) units: BTreeMap<Key, Unit>,
    /// Those that changed since the last tick, and have failed.
    pub(crate) changed: BTreeSet<Key>,
}

/// Nobody's unit is another's, even with the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub uid: u32,
    pub unit: Box<str>,
}

/// One unit, as others read it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen<'a> {
    pub uid: u32,
    pub unit: &'a str,
    /// The worst of its causes.
    pub state: State,
    /// Of those that failed lately.
    pub causes: Vec<SeenCause>,
    pub starts: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SeenCause {
    pub cause: Cause,
    pub state: State,
    /// When it last failed.
    pub failed: u64,
    /// Until when it is open.
    pub until: Option<u64>,
    pub opened: u32,
}

impl Circuits {
    /// Of this owner's unit.
    pub fn state(&self, time: u64, uid: u32, unit: &str) -> State {
        let unit = self.units.get(&Key { uid, unit: unit.into() });
        let circuits = unit.iter().flat_map(|unit| &unit.circuits);
        circuits.map(|circuit| circuit.state(time)).max().unwrap_or_default()
    }

    /// All units by owner and name.
    pub fn iter(&self, time: u64) -> impl Iterator<Item = Seen<'_>> {
        self.units.iter().map(move |(key, unit)| {
            let seen = |circuit: &Circuit| SeenCause {
                cause: circuit.cause,
                state: circuit.state(time),
                failed: circuit.failures[FAILURES - 1],
                until: match circuit.phase {
                    Phase::Open { since, length, .. } => Some(since.saturating_add(length)),
                    _ => None,
                },
                opened: circuit.opened,
            };
            let causes: Vec<_> = unit.circuits.iter().map(seen).collect();
            let state = causes.iter().map(|cause| cause.state).max().unwrap_or_default();
            Seen { uid: key.uid, unit: &key.unit, state, causes, starts: unit.starts.counts.iter().sum() }
        })
    }
}
