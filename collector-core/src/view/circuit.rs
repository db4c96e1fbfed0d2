//! Circuit breakers as plain data: by owner and unit, which failures there were, and whether the unit may start. Bounded for each
//! owner. Knows neither when a circuit opens (`breaker`) nor who starts what.

use std::collections::BTreeMap;

use crate::circuit::{Cause, State};

/// Failures of one cause that open a circuit, and so many are remembered.
pub(crate) const FAILURES: usize = 3;
/// Starts are counted in parts of a minute: 12 whole ones and the present one.
pub(crate) const PARTS: usize = 13;
/// Units that are remembered, and of one owner.
pub(crate) const UNITS: usize = 1024;
pub(crate) const SHARE: usize = 64;
/// Causes of one unit.
pub(crate) const CAUSES: usize = 8;

/// All units that were started or failed lately.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Circuits {
    pub(crate) units: BTreeMap<Key, Unit>,
}

/// Nobody's unit is another's, even with the same name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub uid: u32,
    pub unit: Box<str>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Unit {
    /// When it was last started or ended.
    pub used: u64,
    pub starts: Starts,
    pub circuits: Vec<Circuit>,
}

/// How often a unit was started within the last minute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Starts {
    /// Number of the present part since the epoch.
    pub part: u64,
    /// The present part first.
    pub counts: [u32; PARTS],
}

/// One cause of one unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Circuit {
    pub cause: Cause,
    /// The times of the last failures, the newest last; 0 is none.
    pub failures: [u64; FAILURES],
    /// How often it opened in a row.
    pub opened: u32,
    pub phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Phase {
    /// All may start. `since` is when a probe ended well, or 0.
    Closed { since: u64 },
    /// Nobody may start for `length`; after that one may, as a probe. `unheard` is the reservation of a probe that is gone, and
    /// whose end may be reported yet.
    Open { since: u64, length: u64, unheard: Option<u64> },
    /// One was started and did not end yet.
    Probing { since: u64, reservation: u64 },
}

impl Circuit {
    pub fn new(cause: Cause) -> Circuit {
        Circuit { cause, failures: [0; FAILURES], opened: 0, phase: Phase::Closed { since: 0 } }
    }

    pub fn state(&self, time: u64) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { since, length, .. } if time.saturating_sub(since) < length => State::Open,
            Phase::Open { .. } | Phase::Probing { .. } => State::Probing,
        }
    }
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
