//! Rules: conditions on metrics, and kinds of incidents, that raise alerts. Data, not code: the pack that comes with the
//! agent is `default.toml`, and the operator's file changes it and adds to it. Knows neither which file a rule is from nor
//! which rules hold now.

pub mod document;
pub mod evaluate;
pub mod export;
pub mod parse;
pub mod pattern;
pub mod raw;
pub mod template;

use std::sync::Arc;

use crate::alert::Severity;
use crate::incident::Kind;
use crate::metric::row::Metric;
use crate::metric::visit::Part;
use pattern::Pattern;
use template::Template;

/// All rules: those of the pack in its order, then the operator's in the order of the file.
#[derive(Debug, Default)]
pub struct Rules(pub Vec<Rule>);

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name.
    pub name: Arc<str>,
    /// A rule that is off is shown, and never evaluated.
    pub enabled: bool,
    /// Who wrote it.
    pub origin: Origin,
    /// How urgent it is.
    pub severity: Severity,
    /// When it holds.
    pub condition: Condition,
    /// What is wrong.
    pub summary: Template,
    /// What to do.
    pub action: Template,
}

/// Who wrote a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It came with the agent.
    Pack,
    /// It came with the agent, and the operator changed it.
    Changed,
    /// The operator wrote it.
    Own,
}

impl Origin {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Origin::Pack => "default",
            Origin::Changed => "changed",
            Origin::Own => "own",
        }
    }
}

/// When a rule holds.
#[derive(Debug)]
pub enum Condition {
    /// While a metric is above or below a threshold.
    Threshold(Threshold),
    /// For a while after an incident.
    Event(Event),
}

/// A metric above or below a threshold.
#[derive(Debug)]
pub struct Threshold {
    /// The metric.
    pub metric: &'static Metric,
    /// Which number of a histogram.
    pub part: Part,
    /// Which of its series: the index of a label, and the pattern for its value.
    pub matches: Vec<(usize, Pattern)>,
    /// Look at how the series changes, instead of at its value.
    pub change: Option<Change>,
    /// The side on which the rule holds.
    pub side: Side,
    /// The threshold.
    pub threshold: f64,
    /// Where a rule that holds ceases to, if not at the threshold.
    pub clear: Option<f64>,
    /// How long it must hold before it fires, in nanoseconds.
    pub lasting: u64,
}

/// How a series changes, over so many nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A counter's growth per second.
    Rate(u64),
    /// A gauge's slope per second.
    Slope(u64),
}

impl Change {
    /// Over how many nanoseconds.
    pub fn window(self) -> u64 {
        let (Change::Rate(window) | Change::Slope(window)) = self;
        window
    }
}

/// The side of the threshold on which a rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Above it.
    Above,
    /// Below it.
    Below,
}

/// A kind of incident.
#[derive(Debug)]
pub struct Event {
    /// Which.
    pub kind: Kind,
    /// Which of them: a label, and the pattern for its value.
    pub matches: Vec<(&'static str, Pattern)>,
    /// How long after the last one the alert ends, in nanoseconds.
    pub hold: u64,
}

/// One thing that is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Which of the rules that were given, from 0; `None` is one of the pack.
    pub rule: Option<usize>,
    /// The key, as a file has it; `None` is the rule as a whole.
    pub key: Option<&'static str>,
    /// What is wrong, and where it helps, what would be right.
    pub text: String,
    /// Which of the rules before it has the same name, if that is what is wrong.
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
    /// Whether it holds for this number.
    pub fn holds(&self, number: f64) -> bool {
        match self.side {
            Side::Above => number > self.threshold,
            Side::Below => number < self.threshold,
        }
    }

    /// Whether it still holds for this number once it did.
    pub fn still_holds(&self, number: f64) -> bool {
        match (self.clear, self.side) {
            (None, _) => self.holds(number),
            (Some(clear), Side::Above) => number >= clear,
            (Some(clear), Side::Below) => number <= clear,
        }
    }

    /// Whether the rule is about the series with these labels.
    pub fn matches(&self, labels: &[&str]) -> bool {
        self.matches.iter().all(|(index, pattern)| labels.get(*index).is_some_and(|value| pattern.matches(value)))
    }
}
