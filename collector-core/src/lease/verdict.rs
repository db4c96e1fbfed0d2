//! A verdict: the answer to "may I start this here?", with the numbers that it rests on.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::learn::Lesson;

/// From the best to the worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It fits.
    Yes,
    /// It fits, but memory that the kernel can take back would not: what is mapped would be read again and again.
    Tight,
    /// Not now: what is in the way will end.
    Wait,
    /// It does not fit.
    No,
    /// A number is missing. Never a yes.
    #[default]
    Unknown,
}

impl Decision {
    pub const ALL: [Decision; 5] = [Decision::Yes, Decision::Tight, Decision::Wait, Decision::No, Decision::Unknown];

    pub fn label(self) -> &'static str {
        ["yes", "tight", "wait", "no", "unknown"][self as usize]
    }

    /// Whether it may start.
    pub fn fits(self) -> bool {
        matches!(self, Decision::Yes | Decision::Tight)
    }

    /// That of both together. What is known not to fit is worse than what is not known: a no stays a no whatever the rest is.
    pub fn and(self, other: Decision) -> Decision {
        let rank = |decision| match decision {
            Decision::Yes => 0,
            Decision::Tight => 1,
            Decision::Wait => 2,
            Decision::Unknown => 3,
            Decision::No => 4,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verdict {
    pub verdict: Decision,
    /// Why, in one sentence.
    pub reason: String,
    /// A line for each resource that is needed.
    pub resources: Vec<Line>,
    /// The GPUs that were chosen, by number, in the order of the need's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    /// When asking again makes sense, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
    /// How long work that paces itself should pause before it goes on, in milliseconds, where CPUs or the network are short: 10 ms for
    /// each percent of the CPUs, 1 ms for each kilobit a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_milliseconds: Option<u64>,
    /// `InsufficientResources` where something is short: `resources` says of what, and by how much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What would make room.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub room: Vec<Way>,
    /// What was not known, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_known: Vec<String>,
    /// Claims that come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<u64>,
    /// What the same work of the same user needed when it ran here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<Lesson>,
}

/// What is needed of one resource, and what there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = VerdictLine)]
pub struct Line {
    /// `host memory`, `page cache`, `VRAM`, `disk`, `CPU`, `network` or `slot`.
    pub resource: String,
    /// Which one: the number of the GPU, the path, the name of the slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Bytes; for CPU thousandths of one, for network bits a second, for a slot places.
    pub need: u64,
    /// What is left for it, after all that is reserved; absent if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available: Option<u64>,
    /// What is missing.
    #[serde(default)]
    pub short: u64,

    pub verdict: Decision,
    /// Whose limit it is that leaves no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<String>,
    /// Who holds most of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Held>,
}

/// Part of a resource that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = VerdictHolder)]
pub struct Held {
    pub workload: String,
    /// In the unit of the resource.
    pub amount: u64,
    pub kind: HeldKind,
    /// The lease, if it is reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeldKind {
    /// It is used now.
    Use,
    /// It is reserved, and not used yet.
    Reservation,
}

/// One thing that would make room, or that would not although it looks so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = VerdictWay)]
pub struct Way {
    pub kind: WayKind,
    /// In one sentence.
    pub sentence: String,
    /// In the unit of the resource: how much comes free, or fits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<u64>,
    /// Where that number comes from.
    pub origin: WayOrigin,
    /// Who has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// The lease that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// When it comes free in any case, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_in_seconds: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WayKind {
    /// Less in use: who has it is named if that is known.
    #[default]
    Use,
    /// A reservation that is not used yet.
    Reservation,
    /// A reservation whose owner can be asked to give it up.
    Evictable,
    /// Memory of a GPU that ran nothing for minutes, held all the same.
    Idle,
    /// Another GPU has room.
    OtherGpu,
    /// Page cache: what can be dropped is counted as available already.
    PageCache,
    /// It would fit with another setting.
    Setting,
    /// Nothing would: there is no more in all.
    Total,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WayOrigin {
    /// By the kernel's or the driver's word.
    #[default]
    Measured,
    /// By the books of reservations.
    Reserved,
    /// From the files of a model.
    Estimated,
}

/// What `error` says where something is short.
pub const INSUFFICIENT: &str = "InsufficientResources";

impl Way {
    /// Of what is measured, with nothing but a sentence.
    pub fn said(sentence: impl Into<String>) -> Way {
        Way { sentence: sentence.into(), ..Way::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::Decision::*;

    #[test]
    fn together_the_worst_counts_and_unknown_is_never_a_yes() {
        assert_eq!(Yes.and(Tight), Tight);
        assert_eq!(Tight.and(Yes), Tight);
        assert_eq!(Wait.and(Unknown), Unknown);
        assert_eq!(Unknown.and(No), No);
        assert_eq!(Unknown.and(Yes), Unknown);
        assert!(Yes.fits() && Tight.fits() && !Wait.fits() && !No.fits() && !Unknown.fits());
        for decision in super::Decision::ALL {
            assert_eq!(serde_json::to_string(&decision).unwrap(), format!("{:?}", decision.label()));
        }
    }
}
