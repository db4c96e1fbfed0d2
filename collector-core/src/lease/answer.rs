//! Answers to requests, and what of a lease changed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Lease, Orphan, Owner, Priority, State, Verdict, Wanted};
use crate::circuit;
use crate::learn::Learned;

/// The answer to the request with this number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    pub number: u64,
    /// The HTTP status.
    pub status: u16,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Body {
    Verdict(Verdict),
    Granted(Granted),
    Reservation(Reservation),
    Circuit(Circuit),
    Learned(Learned),
    /// It is refused, for this reason; with the verdict, if it was judged.
    Refused {
        detail: String,
        verdict: Option<Box<Verdict>>,
    },
}

/// Whether a unit may start, after it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Circuit {
    pub unit: String,
    pub state: circuit::State,
}

/// A claim that was granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Granted {
    pub id: u64,
    /// The GPUs that it has, by number, in the order of the need's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    #[schema(value_type = Owner)]
    pub owner: Owner,
    pub verdict: Verdict,
}

/// A lease, as it is shown. Amounts are in bytes unless a field says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reservation {
    pub id: u64,

    pub state: State,
    /// The workload of the owner's cgroup; `other` if that is not known.
    pub workload: String,
    /// Absent, as the owner and the unit, if it is another user's and the reader may not see whose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Owner>)]
    pub owner: Option<Owner>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[schema(value_type = u8, minimum = 0, maximum = 4)]
    pub priority: Priority,
    /// Its owner may be asked to give it up, for a more important claim of the same user.
    #[serde(default)]
    pub evictable: bool,
    /// And for claims of any user.
    #[serde(default)]
    pub anyone: bool,
    /// Its owner is asked to give it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<AskedFor>,
    /// Of a claim that waits: the leases whose owners were asked to give them up for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<u64>,
    /// A line for each resource.
    pub resources: Vec<Part>,
    /// Seconds since it was granted; of one that waits, since it was asked for.
    pub age_seconds: u64,
    /// Seconds until it ends in any case; absent if it ends with its owner alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_in_seconds: Option<u64>,
    /// Of one that was made ahead: seconds until it begins; 0 once it has, and nobody has taken it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins_in_seconds: Option<u64>,
    /// Seconds since it grew, or somebody said that it is used.
    pub idle_seconds: u64,
    /// Processes that still hold memory of a GPU although the owner is gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<Orphan>,
}

impl Reservation {
    /// The same without its owner, for users who may not see that.
    pub fn hidden(self) -> Reservation {
        Reservation { uid: None, owner: None, unit: None, orphans: Vec::new(), ..self }
    }
}

/// What a lease is to be given up for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AskedFor {
    /// The claim that waits.
    pub claim: u64,
    pub wanted: Vec<Wanted>,
    /// Seconds until its owner is asked again.
    pub again_in_seconds: u64,
    /// How often its owner was asked.
    pub times: u32,
}

/// How much of one resource is reserved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ReservationPart)]
pub struct Part {
    /// As in a verdict.
    pub resource: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// What was granted.
    pub amount: u64,
    /// What the owner used of it since; absent where that is not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
}

/// Something happened to a lease. It is logged, written down, and kept for a restart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    pub step: Step,
    /// The workload of the owner's cgroup.
    pub workload: Option<std::sync::Arc<str>>,
    pub lease: Lease,
    /// What happened, in one sentence.
    pub sentence: String,
}

/// What happened to leases of one user since it was last told, where single lines would be too many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sum {
    pub uid: u32,
    /// How often each happened.
    pub steps: std::collections::BTreeMap<&'static str, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Waits,
    Granted,
    /// It has another owner, or has settled.
    Changed,
    /// Somebody who waited has gone, or has waited for too long.
    Withdrawn,
    Released,
    Expired,
    /// Its owner is gone.
    Ended,
    /// Its owner is gone, and some of its processes still hold a GPU.
    Orphaned,
    /// Its owner is asked to give it up.
    Asked,
    /// Nobody waits any more for what its owner was asked for.
    Spared,
    /// A claim was refused: there never was a lease.
    Refused,
}

impl Step {
    pub fn label(self) -> &'static str {
        [
            "waits",
            "granted",
            "changed",
            "withdrawn",
            "released",
            "expired",
            "ended",
            "orphaned",
            "asked",
            "spared",
            "refused",
        ][self as usize]
    }

    /// Whether the lease is no more.
    pub fn is_end(self) -> bool {
        matches!(self, Step::Withdrawn | Step::Released | Step::Expired | Step::Ended)
    }
}
