//! An advice, as data: what to change and why, what it rests on, what it would have saved, and how sure it is. Knows no rule.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::action::{Action, Object, Risk};

/// One advice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Advice {
    /// The rule, and what it is about: the same as long as it holds.
    pub id: String,
    pub rule: String,
    pub object: Object,
    /// What to do, in one sentence in the imperative, with numbers.
    pub title: String,
    /// Why, in one or two sentences, with numbers.
    pub why: String,
    pub evidence: Vec<Evidence>,
    /// What it would have saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saves: Option<Saves>,
    pub confidence: Confidence,
    /// What makes it no surer, or that sure, in one sentence.
    pub because: String,
    pub risk: Risk,
    /// What to do. More than one: each does it, the first fits best.
    pub actions: Vec<Action>,
}

/// A number that it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Evidence {
    /// What it is, as a phrase: "highest use in 8 days".
    pub what: String,
    pub value: f64,
    pub unit: Unit,
    pub origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Bytes,
    BytesPerSecond,
    Seconds,
    /// From 0 to 1.
    Ratio,
    Cpus,
    Watts,
    Count,
}

/// Where a number is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Counted or read.
    Measured,
    /// From what was measured, by a formula.
    Computed,
    Configured,
    /// By a table or a rule of thumb.
    Assumed,
}

/// What it would have saved, in the period that it names. At least one number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Saves {
    /// The period, in seconds.
    pub over_seconds: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kills: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watts: Option<f64>,
    /// Under which assumption, in one sentence.
    pub assuming: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    Low,
    Medium,
    High,
}

/// What a rule could not judge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Lacking {
    pub rule: String,
    pub object: Object,
    /// What is missing, as a phrase: "a day of history: there are 3 hours".
    pub missing: String,
}

/// The id of an advice: `rule:object`.
pub fn id(rule: &str, object: &Object) -> String {
    format!("{rule}:{object}")
}
