//! [`Raw`]: a rule as a file has it, before it is checked. Knows the keys of a rule, and nothing of metrics or of what a
//! rule means.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// One `[[rule]]`. Only the name is required: a rule with the name of one of the pack sets just what it changes. `None` and
/// the empty text are not set.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// The rule's name.
    pub alert: String,
    /// `false` switches the rule off.
    pub enabled: Option<bool>,
    /// The metric that the rule looks at.
    #[serde(default)]
    pub metric: String,
    /// The kind of incident that it fires for, instead of a metric.
    pub event: Option<String>,
    /// Label → regular expression, for the whole value; `!` in front negates it.
    #[serde(rename = "match")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Look at a counter's growth per second over this time.
    #[serde(default, deserialize_with = "duration")]
    pub rate: Option<Duration>,
    /// Look at a gauge's slope per second over this time.
    #[serde(default, deserialize_with = "duration")]
    pub slope: Option<Duration>,
    /// Holds while the number is above this.
    pub above: Option<f64>,
    /// Holds while the number is below this.
    pub below: Option<f64>,
    /// Once it holds, it is over on the other side of this.
    pub clear: Option<f64>,
    /// How long it must hold before it fires.
    #[serde(rename = "for", default, deserialize_with = "duration")]
    pub lasting: Option<Duration>,
    /// How long after the last incident an alert of an event is over.
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
    /// Takes over everything that `change` sets.
    pub fn change(&mut self, change: &Raw) {
        // Without `..`: a new key that is forgotten here does not compile.
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
        // One threshold in three keys: a clear without its above would be compared with the old one.
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

/// The rules of a text that has nothing but `[[rule]]`.
///
/// # Errors
/// The text is not TOML, or has a key that no rule has, or a value of another type.
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
    fn a_rule_is_read_and_what_is_none_is_refused() {
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

    /// Every key, none with the value that it has by default.
    const ALL: &str = "[[rule]]\nalert = \"A\"\nenabled = true\nmetric = \"m\"\nevent = \"oom\"\nmatch = { gpu = \"0\" }\n\
        rate = \"1s\"\nslope = \"2s\"\nabove = 1\nbelow = 2\nclear = 3\nfor = \"3s\"\nhold = \"4s\"\nseverity = \"info\"\n\
        summary = \"s\"\naction = \"a\"\n";

    #[test]
    fn what_is_set_is_taken_over_and_the_rest_is_left() {
        let all = read(ALL).unwrap().remove(0);
        let mut from_nothing = Raw::default();
        from_nothing.change(&all);
        assert_eq!(from_nothing, all);
        let mut unchanged = all.clone();
        unchanged.change(&Raw { alert: "A".into(), ..Raw::default() });
        assert_eq!(unchanged, all);
    }

    #[test]
    fn one_key_of_the_threshold_replaces_all_three_and_no_labels_are_labels() {
        let mut rule = read(ALL).unwrap().remove(0);
        rule.change(&Raw { clear: Some(0.0), labels: Some(BTreeMap::new()), ..Raw::default() });
        assert_eq!((rule.above, rule.below, rule.clear), (None, None, Some(0.0)));
        assert_eq!(rule.labels, Some(BTreeMap::new()));
    }
}
