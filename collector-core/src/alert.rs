//! An alert as it is sent: a rule that fires or resolves for one set of labels. Knows neither how rules are evaluated nor where
//! alerts go.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Alert {
    /// The name of the rule, such as `HostMemoryHigh`.
    pub alert: Arc<str>,
    pub severity: Severity,
    /// The labels of the series, without empty ones. Together with the name of the rule they identify the alert.
    pub labels: BTreeMap<String, String>,
    pub state: State,
    /// When the condition began to hold, in nanoseconds since the Unix epoch.
    pub started: u64,
    /// When the alert fired, in nanoseconds since the Unix epoch.
    pub fired: u64,
    /// When it resolved, in nanoseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<u64>,
    /// The number that the rule evaluates, in the unit of the metric. Absent for events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// What is wrong, in one sentence.
    pub summary: String,
    pub action: String,
    /// Id of the incident that explains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// The cause of that incident, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// When it was corrected, in nanoseconds since the Unix epoch: it is not another alert, but what was read since it fired
    /// gave the incident another cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<u64>,
}

impl Alert {
    /// The same alert once it is over.
    pub fn resolved(self, time: u64) -> Alert {
        let summary = format!("Resolved: {}", self.summary);
        Alert { state: State::Resolved, resolved: Some(time), summary, ..self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// For information.
    Info,
    /// Needs action within the day.
    Warning,
    /// Needs action now.
    Critical,
}

impl Severity {
    /// The least severe first.
    pub const ALL: [Severity; 3] = [Severity::Info, Severity::Warning, Severity::Critical];

    /// The labels of [`Self::ALL`].
    pub const LABELS: [&str; 3] = [Severity::Info.label(), Severity::Warning.label(), Severity::Critical.label()];

    /// The severity with this label.
    pub fn of(label: &str) -> Option<Severity> {
        Severity::ALL.into_iter().find(|severity| severity.label() == label)
    }

    /// The label `severity`.
    pub const fn label(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Firing,
    Resolved,
}
