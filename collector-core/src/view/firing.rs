//! The alerts that fire, as plain data for metrics and the API. The engine decides which fire.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::alert::{Alert, Severity, State};

/// The rules that are evaluated, in their order, each with its alerts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Firing(pub Vec<RuleState>);

#[derive(Clone, Debug, PartialEq)]
pub struct RuleState {
    pub name: Arc<str>,
    pub severity: Severity,
    /// Number of times it fired since the agent started. A correction does not count.
    pub fired: u64,
    /// The labels of each alert that fires, without empty ones.
    pub alerts: BTreeSet<BTreeMap<String, String>>,
}

impl Firing {
    /// Applies the state of an alert.
    pub(crate) fn update(&mut self, alert: &Alert) {
        let Some(rule) = self.rule(&alert.alert) else { return };
        match alert.state {
            State::Firing => {
                rule.fired += u64::from(alert.updated.is_none());
                if !rule.alerts.contains(&alert.labels) {
                    rule.alerts.insert(alert.labels.clone());
                }
            }
            State::Resolved => drop(rule.alerts.remove(&alert.labels)),
        }
    }

    /// Adds an alert that fired before the agent was restarted, without counting it again.
    pub(crate) fn restore(&mut self, alert: &Alert) {
        if let Some(rule) = self.rule(&alert.alert) {
            rule.alerts.insert(alert.labels.clone());
        }
    }

    /// Number of alerts that fire, of all rules.
    pub(crate) fn count(&self) -> usize {
        self.0.iter().map(|rule| rule.alerts.len()).sum()
    }

    /// Whether an alert of the same rule and labels fires.
    pub(crate) fn has(&self, alert: &Alert) -> bool {
        self.0.iter().any(|rule| rule.name == alert.alert && rule.alerts.contains(&alert.labels))
    }

    fn rule(&mut self, name: &str) -> Option<&mut RuleState> {
        self.0.iter_mut().find(|rule| *rule.name == *name)
    }
}
