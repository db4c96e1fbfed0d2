//! What an audit of isolation found, as data: whether limits, weights and protections act, for whom they do not, and what to do.
//! Knows no check.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::action::{ActionObject, Object};
use crate::advice::Evidence;

/// The last audit.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// When it was made, in nanoseconds since the Unix epoch; zero: never.
    pub time: u64,
    /// In the order of the checks.
    pub checks: Arc<Vec<Audited>>,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditCheck)]
pub struct Audited {
    /// Its name, as in docs/isolation.md.
    pub check: String,
    pub state: State,
    /// What was found, in one sentence.
    pub is: String,
    /// For how many objects it holds.
    pub holds: u32,
    /// For whom it does not hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fails: Vec<Failure>,
    /// For whom it is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_known: Vec<Unknown>,
    /// How many more there are of these two.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AuditState)]
pub enum State {
    /// It holds for everything that was judged.
    Holds,
    /// It does not hold for something.
    Fails,
    /// Nothing is known to fail, and something is not known.
    NotKnown,
    /// There is nothing to judge.
    Unused,
}

/// Something that does not act as it looks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditFailure)]
pub struct Failure {
    #[schema(value_type = ActionObject)]
    pub object: Object,
    /// What does not hold, in one sentence with numbers.
    pub is: String,
    /// What to do, in one sentence or command.
    pub next: String,
    /// The numbers that it rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
}

/// Something that could not be judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditUnknown)]
pub struct Unknown {
    #[schema(value_type = ActionObject)]
    pub object: Object,
    /// What is missing.
    pub missing: String,
}

impl State {
    pub const ALL: [State; 4] = [State::Holds, State::Fails, State::NotKnown, State::Unused];

    pub fn label(self) -> &'static str {
        ["holds", "fails", "not_known", "unused"][self as usize]
    }
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_the_api() {
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.label());
        }
    }
}
