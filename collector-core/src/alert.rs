//! An alert, as it is told to whoever is to act: a rule that holds, or no longer holds, for one set of labels. Knows
//! neither how rules are evaluated nor where alerts go.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One alert, at one moment of its life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// The rule's name: `HostMemoryHigh`.
    pub alert: Arc<str>,
    /// How urgent it is.
    pub severity: Severity,
    /// Of what: the labels of the series that the rule looks at, those without a value left out. Together with the rule's
    /// name they are what tells one alert from another.
    pub labels: BTreeMap<String, String>,
    /// Whether it holds.
    pub state: State,
    /// Since when the condition has held, in nanoseconds since the Unix epoch.
    pub started: u64,
    /// When that was first told, in nanoseconds since the Unix epoch.
    pub fired: u64,
    /// When it ceased to hold, in nanoseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<u64>,
    /// What the rule looks at, in the metric's unit, at this moment; absent for events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What is the case, in a sentence.
    pub summary: String,
    /// What an operator should do.
    pub action: String,
    /// The incident that explains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
}

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// To be looked at within the day.
    Warning,
    /// To be looked at now.
    Critical,
}

impl Severity {
    /// The label `severity`.
    pub const fn label(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// Whether an alert holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It holds.
    Firing,
    /// It held, and does no longer.
    Resolved,
}
