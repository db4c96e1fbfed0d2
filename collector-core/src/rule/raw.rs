//! [`Raw`]: a rule as written in a file, before it is checked. Knows the keys of a rule, but neither metrics nor what a rule
//! means.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// One `[[rule]]`. Only the name is required: a rule with the name of a default sets only what it changes. `None` and the empty
/// text mean "not set".
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// Name of the rule.
    pub alert: String,
    /// `false` switches the rule off.
    pub enabled: Option<bool>,
    /// The metric that the rule evaluates.
    #[serde(default)]
    pub metric: String,
    /// The kind of incident that it fires for, instead of a metric.
    pub event: Option<String>,
    /// Label → regular expression for the whole value; a leading `!` negates it.
    #[serde(rename = "match")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Evaluate a counter's growth per second over this time.
    #[serde(default, deserialize_with = "duration")]
    pub rate: Option<Duration>,
    /// Evaluate a gauge's slope per second over this time.
    #[serde(default, deserialize_with = "duration")]
    pub slope: Option<Duration>,
    /// Holds while the number is above this.
    pub above: Option<f64>,
    /// Holds while the number is below this.
    pub below: Option<f64>,
    /// A firing alert resolves on the other side of this.
    pub clear: Option<f64>,
    /// How long it must hold before it fires.
    #[serde(rename = "for", default, deserialize_with = "duration")]
    pub lasting: Option<Duration>,
    /// How long after the last incident the alert of an event resolves.
    #[serde(default, deserialize_with = "duration")]
    pub hold: Option<Duration>,
    /// info, warning or critical.
    pub severity: Option<String>,
    /// Template: what is wrong.
    #[serde(default)]
    pub summary: String,
    /// Template: what to do.
    #[serde(default)]
    pub action: String,
}

impl Raw {
    /// Applies everything that `change` sets.
    pub fn change(&mut self, change: &Raw) {
        // Without `..`, so that a forgotten new key does not compile.
        let Raw {
            alert,
            enabled,
            metric,
            event,
            labels,
            rate,
            slope,
            above,
            below,
            clear,
            lasting,
            hold,
            severity,
            summary,
            action,
        } = change.clone();
        // The three keys are one threshold: a new clear must not be combined with an old above.
        if above.is_some() || below.is_some() || clear.is_some() {
            (self.above, self.below, self.clear) = (above, below, clear);
        }
        text(&mut self.alert, alert);
        text(&mut self.metric, metric);
        text(&mut self.summary, summary);
        text(&mut self.action, action);
        over(&mut self.enabled, enabled);
        over(&mut self.event, event);
        over(&mut self.labels, labels);
        over(&mut self.rate, rate);
        over(&mut self.slope, slope);
        over(&mut self.lasting, lasting);
        over(&mut self.hold, hold);
        over(&mut self.severity, severity);
    }
}

fn over<T>(field: &mut Option<T>, set: Option<T>) {
    if set.is_some() {
        *field = set;
    }
}

fn text(field: &mut String, set: String) {
    if !set.is_empty() {
        *field = set;
    }
}

/// Parses a text that holds only `[[rule]]` tables.
///
/// # Errors
/// Not TOML, an unknown key, or a value of the wrong type.
pub fn read(text: &str) -> Result<Vec<Raw>, toml::de::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default)]
        rule: Vec<Raw>,
    }
    toml::from_str(text).map(|File { rule }| rule)
}

/// `"1m 30s"`.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_parsed_and_anything_else_is_refused() {
        let text = "[[rule]]\nalert = \"A\"\nabove = 1\nfor = \"1m 30s\"\nmatch = { gpu = \"0\" }\n";
        let [rule] = &read(text).unwrap()[..] else { panic!() };
        let labels = BTreeMap::from([("gpu".to_owned(), "0".to_owned())]);
        let lasting = Some(Duration::from_secs(90));
        assert_eq!(rule, &Raw { alert: "A".into(), above: Some(1.0), lasting, labels: Some(labels), ..Raw::default() });
        for (text, wanted) in [
            ("[[rule]]\nabove = 1", "missing field `alert`"),
            ("[[rule]]\nalert = \"A\"\nabvoe = 1", "unknown field `abvoe`"),
            ("[[rule]]\nalert = \"A\"\nfor = \"soon\"", "expected number"),
            ("[[rules]]\nalert = \"A\"", "unknown field `rules`"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }

    /// Every key, none with its default value.
    const ALL: &str = "[[rule]]\nalert = \"A\"\nenabled = true\nmetric = \"m\"\nevent = \"oom\"\nmatch = { gpu = \"0\" }\n\
        rate = \"1s\"\nslope = \"2s\"\nabove = 1\nbelow = 2\nclear = 3\nfor = \"3s\"\nhold = \"4s\"\nseverity = \"info\"\n\
        summary = \"s\"\naction = \"a\"\n";

    #[test]
    fn set_keys_change_and_the_rest_stays() {
        let all = read(ALL).unwrap().remove(0);
        let mut from_nothing = Raw::default();
        from_nothing.change(&all);
        assert_eq!(from_nothing, all);
        let mut unchanged = all.clone();
        unchanged.change(&Raw { alert: "A".into(), ..Raw::default() });
        assert_eq!(unchanged, all);
    }

    #[test]
    fn one_key_of_the_threshold_replaces_all_three_and_empty_labels_replace_labels() {
        let mut rule = read(ALL).unwrap().remove(0);
        rule.change(&Raw { clear: Some(0.0), labels: Some(BTreeMap::new()), ..Raw::default() });
        assert_eq!((rule.above, rule.below, rule.clear), (None, None, Some(0.0)));
        assert_eq!(rule.labels, Some(BTreeMap::new()));
    }
}
