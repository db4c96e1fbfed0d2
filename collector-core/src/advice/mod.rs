//! What somebody should change, as rules over what is known now and what was in the last days: each with its evidence, what it would have
//! saved, how sure it is, its risk, and the change itself. Pure; knows neither when it is asked nor how it is shown.

mod cache;
mod cpu;
mod disk;
mod gpu;
mod limit;
mod neighbour;
mod server;
mod swap;
mod watch;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::action::{Action, Object, Risk};
use crate::past::Past;
use crate::view::View;

/// A rule: what it is about, and how it is judged.
pub struct Rule {
    /// What it is called in ids, metrics and configuration: `memory_limit_raise`.
    pub name: &'static str,
    /// When it is given, in one sentence, for the documentation.
    pub when: &'static str,
    /// What is needed to know it, for the documentation.
    pub needs: &'static str,
    pub judge: fn(&Given<'_>, &mut Judged),
}

/// All of them: a file for each subject.
pub const ADVICE: &[&[Rule]] = &[
    limit::RULES,
    swap::RULES,
    cache::RULES,
    server::RULES,
    gpu::RULES,
    cpu::RULES,
    disk::RULES,
    neighbour::RULES,
    watch::RULES,
];

/// What is known.
pub struct Given<'a> {
    pub view: &'a View,
    pub past: &'a Past,
}

/// What follows.
#[derive(Debug, Default)]
pub struct Judged {
    pub advice: Vec<Advice>,
    /// What could not be judged, and why: an answer too.
    pub lacking: Vec<Lacking>,
}

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

impl Judged {
    /// By all rules.
    pub fn of(given: &Given<'_>) -> Judged {
        let mut judged = Judged::default();
        for rule in ADVICE.iter().copied().flatten() {
            (rule.judge)(given, &mut judged);
        }
        judged
    }
}

/// The id of an advice: `rule:object`.
pub fn id(rule: &str, object: &Object) -> String {
    format!("{rule}:{object}")
}
