//! What is remembered of one unit: how often it was started, and how it failed. Data only; what follows from it stands in `breaker`.

use serde::{Deserialize, Serialize};

use super::{Cause, State};

/// Failures of one cause that open a circuit, and so many are remembered.
pub(crate) const FAILURES: usize = 3;
/// Starts are counted in parts of a minute: 12 whole ones and the present one.
pub(crate) const PARTS: usize = 13;
/// Causes of one unit.
pub(crate) const CAUSES: usize = 8;

/// A unit with its owner, as it is kept over a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    pub uid: u32,
    pub unit: Box<str>,
    /// Without failures there is nothing to keep.
    pub state: Unit,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unit {
    /// When it was last started or ended.
    pub used: u64,
    pub starts: Starts,
    pub circuits: Vec<Circuit>,
}

/// How often a unit was started within the last minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Starts {
    /// Number of the present part since the epoch.
    pub part: u64,
    /// The present part first.
    pub counts: [u32; PARTS],
}

/// One cause of one unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Circuit {
    pub cause: Cause,
    /// The times of the last failures, the newest last; 0 is none.
    pub failures: [u64; FAILURES],
    /// How often it opened in a row.
    pub opened: u32,
    pub phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
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
