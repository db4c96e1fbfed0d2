//! The alerts that fire, as plain data for metrics and the API. The engine decides which fire.

use std::collections::BTreeMap;
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
    /// Number of series for which its condition holds, but not for long enough yet.
    pub pending: u64,
    /// Absent if it compares no metric, or the rate or slope of one.
    pub comparison: Option<Arc<Comparison>>,
    /// The alerts that fire, by their labels without empty ones.
    pub alerts: BTreeMap<BTreeMap<String, String>, Arc<Alert>>,
}

/// What a rule compares with its threshold: a metric as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The metric's name.
    pub metric: &'static str,
    /// Which series: the index of a label, and the pattern for its value, as the rule has it.
    pub matches: Vec<(usize, String)>,
    /// It holds above the threshold, else below.
    pub above: bool,
    pub threshold: f64,
    /// Where a firing alert resolves, if not at the threshold.
    pub clear: Option<f64>,
    /// How long it must hold before the alert fires, in nanoseconds.
    pub lasting: u64,
}

impl Firing {
    /// Applies the state of an alert.
    pub(crate) fn update(&mut self, alert: &Alert) {
        let Some(rule) = self.rule(&alert.alert) else { return };
        match alert.state {
            State::Firing => {
                rule.fired += u64::from(alert.updated.is_none());
                rule.alerts.insert(alert.labels.clone(), Arc::new(alert.clone()));
            }
            State::Resolved => drop(rule.alerts.remove(&alert.labels)),
        }
    }

    /// Adds an alert that fired before the agent was restarted, without counting it again.
    pub(crate) fn restore(&mut self, alert: &Alert) {
        if let Some(rule) = self.rule(&alert.alert) {
            rule.alerts.insert(alert.labels.clone(), Arc::new(alert.clone()));
        }
    }

    /// The alerts that fire, by rule.
    pub fn alerts(&self) -> impl Iterator<Item = &Arc<Alert>> {
        self.0.iter().flat_map(|rule| rule.alerts.values())
    }

    /// Number of alerts that fire, of all rules.
    pub(crate) fn count(&self) -> usize {
        self.0.iter().map(|rule| rule.alerts.len()).sum()
    }

    /// Whether an alert of the same rule and labels fires.
    pub(crate) fn has(&self, alert: &Alert) -> bool {
        self.0.iter().any(|rule| rule.name == alert.alert && rule.alerts.contains_key(&alert.labels))
    }

    fn rule(&mut self, name: &str) -> Option<&mut RuleState> {
        self.0.iter_mut().find(|rule| *rule.name == *name)
    }
}
