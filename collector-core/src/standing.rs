//! An advice over time, as data: since when it holds, and what became of it. Knows neither rules nor when they are judged.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::advice::Advice;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = AdviceStanding)]
pub struct Standing {
    #[serde(flatten)]
    pub advice: Advice,
    /// Since when it holds, in nanoseconds since the Unix epoch.
    pub since: u64,
    pub state: State,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AdviceState)]
pub enum State {
    Holds,
    /// What it is about was changed to about what it says.
    Followed {
        /// When that was seen, in nanoseconds since the Unix epoch.
        at: u64,
        /// What it was set to.
        value: String,
        /// In the week before.
        before: Effect,
        /// In the days since, up to a week; absent until there was a whole one, in UTC.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Effect>,
    },
    /// It holds no longer, and nobody was seen to follow it.
    Gone {
        /// When it was seen last, in nanoseconds since the Unix epoch.
        at: u64,
    },
}

/// What happened on whole days, of what the advice is about: a workload, or the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = AdviceEffect)]
pub struct Effect {
    /// For how many seconds it was watched.
    pub seconds: u64,
    /// Processes that the OOM killer killed; absent if the journal does not reach back so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kills_per_day: Option<f64>,
    /// Seconds in which some task waited for memory; where the kernel does not report them, seconds in reclaim and compaction, summed over
    /// tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_seconds_per_day: Option<f64>,
}

impl State {
    pub fn label(&self) -> &'static str {
        match self {
            State::Holds => "holds",
            State::Followed { .. } => "followed",
            State::Gone { .. } => "gone",
        }
    }
}
