//! What the actuator answers. Data alone.

use serde::{Deserialize, Serialize};

use super::record::{Record, Step};
use crate::action::{Kind, Risk};

/// The answer to a request that was not refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// What was written down, and what came of it.
    Action(Box<Record>),
    /// What would be done.
    Preview(Box<Preview>),
    /// It is so already: nothing was changed.
    Unchanged { sentence: String },
}

/// A change that was asked for as a dry run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    pub kind: Kind,
    pub object: String,
    pub rule: String,
    pub risk: Risk,
    /// What would be written, in this order.
    pub steps: Vec<Step>,
    /// Seconds after which it would be undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<u64>,
    /// What there is to say: who owns the object, what is dangerous.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The journal, the latest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Actions {
    pub actions: Vec<Record>,
}
