//! Which alerts fire, as metrics, the API and others read it: data alone. What decides it is in the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::alert::{Alert, Severity, State};

/// The rules that are evaluated, in the order of the rule pack, each with its alerts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Firing(pub Vec<RuleState>);

/// One rule that is evaluated.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleState {
    pub name: Arc<str>,
    pub severity: Severity,
    /// How often it fired since the agent started.
    pub fired: u64,
    /// The labels of each of its alerts that fires; those without a value are left out.
    pub alerts: BTreeSet<BTreeMap<String, String>>,
}

impl Firing {
    /// Takes over what an alert says of itself.
    pub(crate) fn update(&mut self, alert: &Alert) {
        let Some(rule) = self.rule(&alert.alert) else { return };
        match alert.state {
            State::Firing => {
                rule.fired += 1;
                if !rule.alerts.contains(&alert.labels) {
                    rule.alerts.insert(alert.labels.clone());
                }
            }
            State::Resolved => drop(rule.alerts.remove(&alert.labels)),
        }
    }

    /// An alert that fired before the agent was restarted fires still; it did not fire again.
    pub(crate) fn restore(&mut self, alert: &Alert) {
        if let Some(rule) = self.rule(&alert.alert) {
            rule.alerts.insert(alert.labels.clone());
        }
    }

    /// Whether an alert of this rule with these labels fires.
    pub(crate) fn has(&self, alert: &Alert) -> bool {
        self.0.iter().any(|rule| rule.name == alert.alert && rule.alerts.contains(&alert.labels))
    }

    fn rule(&mut self, name: &str) -> Option<&mut RuleState> {
        self.0.iter_mut().find(|rule| *rule.name == *name)
    }
}
