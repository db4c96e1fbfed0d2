//! Eviction as data: what is wanted of a lease, and what its user hears of that. Nobody is made to give anything up. Knows neither who
//! is asked nor when.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Change, Step};

/// The owner of a lease was asked to give it up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Eviction {
    /// When it was asked last, and when it is asked again, by the clock of leases.
    pub asked: u64,
    pub until: u64,
    /// That end by the host's clock.
    pub deadline: u64,
    /// How often it was asked.
    pub times: u32,
    /// The claim that waits for it.
    pub claim: u64,
    pub wanted: Vec<Wanted>,
    /// Nobody waits for it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spared: bool,
}

/// What a claim is short of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// `host memory`, `VRAM` or `slot`.
    pub resource: String,
    /// The number of the GPU, or the name of the slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Bytes; for a slot places.
    pub amount: u64,
}

impl Eviction {
    /// Whether the owner may still answer.
    pub fn is_open(&self, now: u64) -> bool {
        !self.spared && now < self.until
    }
}

/// What became of the wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = EvictionState)]
pub enum State {
    /// Its owner is asked to give the lease up.
    Asked,
    /// The lease has ended.
    Ended,
    /// Nobody waits for it any more.
    Spared,
}

/// The data of an event `eviction`. Only the lease's user, root and the group that sees everything get it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = EvictionNotice)]
pub struct Notice {
    /// The lease that is to be given up.
    pub reservation: u64,
    pub state: State,
    /// Its user.
    pub uid: u32,
    /// What it runs, as its claim said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What the claim that waits is short of.
    pub wanted: Vec<Wanted>,
    /// Until when an answer is waited for, in nanoseconds since the Unix epoch: then it is asked again.
    pub until: u64,
    /// How often it was asked.
    pub times: u32,
    /// The claim that waits.
    pub claim: u64,
}

impl Notice {
    /// What a change of a lease says of its eviction, if anything.
    pub fn of(change: &Change) -> Option<Notice> {
        let lease = &change.lease;
        let state = match change.step {
            Step::Asked => State::Asked,
            Step::Spared => State::Spared,
            step if step.is_end() => State::Ended,
            _ => return None,
        };
        let eviction = lease.eviction.as_ref()?;
        if state == State::Ended && eviction.spared {
            return None;
        }
        Some(Notice {
            reservation: lease.id,
            state,
            uid: lease.uid,
            unit: lease.unit.clone(),
            wanted: eviction.wanted.clone(),
            until: eviction.deadline,
            times: eviction.times,
            claim: eviction.claim,
        })
    }
}
