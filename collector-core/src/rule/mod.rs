//! Rules that raise alerts: conditions on metrics, and kinds of incidents. Rules are data: the defaults are in `default.toml`,
//! and the operator's file changes and extends them. Knows neither the file that a rule is from nor which alerts fire.

pub mod document;
pub mod evaluate;
pub mod export;
pub mod parse;
pub mod pattern;
pub mod raw;
pub mod runbook;
pub mod template;
pub mod window;

use std::sync::Arc;

use crate::alert::Severity;
use crate::incident::Kind;
use crate::metric::row::Metric;
use crate::metric::visit::Part;
use pattern::Pattern;
use template::Template;

/// The default rules in their order, then the operator's in the order of the file.
#[derive(Debug, Default)]
pub struct Rules(pub Vec<Rule>);

#[derive(Debug)]
pub struct Rule {
    pub name: Arc<str>,
    /// A disabled rule is listed, but not evaluated.
    pub enabled: bool,
    pub origin: Origin,
    pub severity: Severity,
    pub condition: Condition,
    pub summary: Template,
    pub action: Template,
}

/// Who wrote a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A default rule.
    Pack,
    /// A default rule that the operator changed.
    Changed,
    /// The operator's own rule.
    Own,
}

impl Origin {
    pub fn name(self) -> &'static str {
        match self {
            Origin::Pack => "default",
            Origin::Changed => "changed",
            Origin::Own => "own",
        }
    }
}

/// The condition of a rule.
#[derive(Debug)]
pub enum Condition {
    /// Holds while a metric is above or below a threshold.
    Threshold(Threshold),
    /// Holds for some time after an incident.
    Event(Event),
}

#[derive(Debug)]
pub struct Threshold {
    pub metric: &'static Metric,
    /// For a histogram, its sum or its count.
    pub part: Part,
    /// Which series: the index of a label, and the pattern for its value.
    pub matches: Vec<(usize, Pattern)>,
    /// Evaluate the change of the series instead of its value.
    pub change: Option<Change>,
    /// The side on which the rule holds.
    pub side: Side,
    pub threshold: f64,
    /// Where a firing alert resolves, if not at the threshold.
    pub clear: Option<f64>,
    /// How long it must hold before it fires, in nanoseconds.
    pub lasting: u64,
}

/// The change of a series over a window, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A counter's growth per second.
    Rate(u64),
    /// A gauge's slope per second.
    Slope(u64),
}

impl Change {
    /// The window, in nanoseconds.
    pub fn window(self) -> u64 {
        let (Change::Rate(window) | Change::Slope(window)) = self;
        window
    }
}

/// The side of the threshold on which a rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Above,
    Below,
}

/// Incidents of one kind.
#[derive(Debug)]
pub struct Event {
    pub kind: Kind,
    /// Which incidents: a label, and the pattern for its value.
    pub matches: Vec<(&'static str, Pattern)>,
    /// How long after the last incident the alert resolves, in nanoseconds.
    pub hold: u64,
}

/// One error in a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Index among the operator's rules; `None` for a default rule.
    pub rule: Option<usize>,
    /// The key in the file; `None` for the rule as a whole.
    pub key: Option<&'static str>,
    /// What is wrong and, where it helps, what would be right.
    pub text: String,
    /// Index of the earlier rule with the same name, if that is the error.
    pub earlier: Option<usize>,
}

impl Rules {
    /// The rules that are evaluated.
    pub fn enabled(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter().filter(|rule| rule.enabled)
    }

    /// The rule of this name, and its index.
    pub fn find(&self, name: &str) -> Option<(usize, &Rule)> {
        self.0.iter().enumerate().find(|(_, rule)| &*rule.name == name)
    }
}

impl Threshold {
    /// Whether the condition holds for this number.
    pub fn holds(&self, number: f64) -> bool {
        match self.side {
            Side::Above => number > self.threshold,
            Side::Below => number < self.threshold,
        }
    }

    /// Whether an alert that fires continues at this number.
    pub fn still_holds(&self, number: f64) -> bool {
        match (self.clear, self.side) {
            (None, _) => self.holds(number),
            (Some(clear), Side::Above) => number >= clear,
            (Some(clear), Side::Below) => number <= clear,
        }
    }

    /// Whether the rule applies to the series with these labels.
    pub fn matches(&self, labels: &[&str]) -> bool {
        self.matches.iter().all(|(index, pattern)| labels.get(*index).is_some_and(|value| pattern.matches(value)))
    }
}
