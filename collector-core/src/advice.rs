//! An advice, as data: what to change and why, what it rests on, what it would have saved, and how sure it is. Knows no rule.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::action::{Action, ActionObject, Object, Risk};
use crate::amount;

/// One advice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Advice {
    /// The rule, and what it is about: the same as long as it holds.
    pub id: String,
    pub rule: String,
    #[schema(value_type = ActionObject)]
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
#[schema(as = AdviceEvidence)]
pub struct Evidence {
    /// What it is, as a phrase: "highest use in 8 days".
    pub what: String,
    pub value: f64,
    pub unit: Unit,
    pub origin: Origin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AdviceUnit)]
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
#[schema(as = AdviceOrigin)]
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
#[schema(as = AdviceSaves)]
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
    #[schema(value_type = ActionObject)]
    pub object: Object,
    /// What is missing, as a phrase: "a day of history: there are 3 hours".
    pub missing: String,
}

impl Evidence {
    pub fn measured(what: impl Into<String>, value: f64, unit: Unit) -> Evidence {
        Evidence { what: what.into(), value, unit, origin: Origin::Measured }
    }

    pub fn computed(what: impl Into<String>, value: f64, unit: Unit) -> Evidence {
        Evidence { origin: Origin::Computed, ..Evidence::measured(what, value, unit) }
    }

    pub fn configured(what: impl Into<String>, value: f64, unit: Unit) -> Evidence {
        Evidence { origin: Origin::Configured, ..Evidence::measured(what, value, unit) }
    }

    pub fn assumed(what: impl Into<String>, value: f64, unit: Unit) -> Evidence {
        Evidence { origin: Origin::Assumed, ..Evidence::measured(what, value, unit) }
    }
}

/// The id of an advice: `rule:object`.
pub fn id(rule: &str, object: &Object) -> String {
    format!("{rule}:{object}")
}

impl Confidence {
    /// In their order.
    pub const ALL: [Confidence; 3] = [Confidence::Low, Confidence::Medium, Confidence::High];
    pub const LABELS: [&str; 3] = ["low", "medium", "high"];

    pub fn label(self) -> &'static str {
        Self::LABELS[self as usize]
    }

    pub fn of(label: &str) -> Option<Confidence> {
        Self::ALL.into_iter().find(|known| known.label() == label)
    }
}

impl Origin {
    pub fn label(self) -> &'static str {
        match self {
            Origin::Measured => "measured",
            Origin::Computed => "computed",
            Origin::Configured => "configured",
            Origin::Assumed => "assumed",
        }
    }
}

impl Evidence {
    /// The value with its unit, for people.
    pub fn amount(&self) -> String {
        match self.unit {
            Unit::Bytes => amount::bytes(self.value as u64),
            Unit::BytesPerSecond => format!("{}/s", amount::bytes(self.value as u64)),
            Unit::Seconds => amount::duration(self.value),
            Unit::Ratio => amount::percent(self.value),
            Unit::Cpus => format!("{} CPUs", amount::fixed(self.value, 2)),
            Unit::Watts => amount::watts(self.value, None),
            Unit::Count => count(self.value),
        }
    }
}

impl Saves {
    /// What, and in which period: `in 8 d: 3 OOM kills, 12 min of stalls`. `None` if no number is known.
    pub fn sentence(&self) -> Option<String> {
        let kills = |kills: f64| match kills {
            1.0 => "1 OOM kill".to_owned(),
            kills => format!("{} OOM kills", count(kills)),
        };
        let parts = [
            self.kills.map(kills),
            self.stall_seconds.map(|seconds| format!("{} of stalls", amount::duration(seconds))),
            self.bytes.map(|bytes| amount::bytes(bytes as u64)),
            self.watts.map(|watts| amount::watts(watts, None)),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| format!("in {}: {}", amount::span(self.over_seconds), parts.join(", ")))
    }
}

impl Advice {
    /// What it was set to, for people: in the unit of its first action.
    pub fn shown(&self, value: &str) -> String {
        self.actions.first().map_or_else(|| value.to_owned(), |action| action.kind.shown(value))
    }
}

/// With a digit after the point where it is a mean of few.
fn count(value: f64) -> String {
    amount::fixed(value, usize::from(value.fract() != 0.0 && value.abs() < 100.0))
}

#[cfg(test)]
impl Advice {
    /// What a rule writes: sentences, and after "assuming:" a phrase.
    pub(crate) fn assert_sentences(&self) {
        for text in [&self.title, &self.because] {
            assert!(!text.starts_with(char::is_lowercase) && text.ends_with('.'), "{self:#?}");
        }
        assert!(self.why.ends_with('.') && !self.actions.is_empty(), "{self:#?}");
        assert!(self.saves.as_ref().is_none_or(|saves| !saves.assuming.ends_with('.')), "{self:#?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_by_their_units() {
        let amount = |value, unit| Evidence { what: String::new(), value, unit, origin: Origin::Measured }.amount();
        for (value, unit, text) in [
            (3.0 * 1024.0 * 1024.0, Unit::Bytes, "3.00 MiB"),
            (-1.0, Unit::Bytes, "0 B"),
            (2048.0, Unit::BytesPerSecond, "2.00 KiB/s"),
            (0.25, Unit::Seconds, "250 ms"),
            (119.0, Unit::Seconds, "119 s"),
            (187_200.0, Unit::Seconds, "2 d 4 h"),
            (0.875, Unit::Ratio, "88 %"),
            (1.5, Unit::Cpus, "1.50 CPUs"),
            (312.5, Unit::Watts, "313 W"),
            (12_345.0, Unit::Count, "12345"),
            (0.4, Unit::Count, "0.4"),
        ] {
            assert_eq!(amount(value, unit), text, "{value} {unit:?}");
        }
    }

    #[test]
    fn what_is_saved_names_its_period_and_nothing_that_is_not_known() {
        let saves =
            Saves { over_seconds: 8 * 86_400, stall_seconds: Some(732.0), kills: Some(3.0), ..Saves::default() };
        assert_eq!(saves.sentence().as_deref(), Some("in 8 d: 3 OOM kills, 12 min of stalls"));
        let bytes = Saves { over_seconds: 86_400, bytes: Some(5.0 * 1024.0), watts: Some(35.0), ..Saves::default() };
        assert_eq!(bytes.sentence().as_deref(), Some("in 24 h: 5.00 KiB, 35 W"));
        let one = Saves { over_seconds: 60, kills: Some(1.0), ..Saves::default() };
        assert_eq!(one.sentence().as_deref(), Some("in 60 s: 1 OOM kill"));
        assert_eq!(Saves::default().sentence(), None);
    }

    #[test]
    fn a_confidence_has_the_name_that_json_has() {
        for confidence in Confidence::ALL {
            assert_eq!(serde_json::to_value(confidence).unwrap(), confidence.label());
            assert_eq!(Confidence::of(confidence.label()), Some(confidence));
        }
        assert!(Confidence::of("High").is_none() && Confidence::Low < Confidence::High);
        assert_eq!(serde_json::to_value(Origin::Assumed).unwrap(), Origin::Assumed.label());
    }
}
