//! Checks [`Raw`] rules and makes [`Rules`] of them: the default rules, as changed and extended by the operator's. Reports all
//! errors. Knows no file, line or column.

use std::sync::Arc;
use std::time::Duration;

use super::pattern::Pattern;
use super::raw::{self, Raw};
use super::template::Template;
use super::{Change, Condition, Error, Event, Origin, Rule, Rules, Side, Threshold};
use crate::alert::Severity;
use crate::incident::Kind;
use crate::metric::METRICS;
use crate::metric::alert::LABELS;
use crate::metric::row as metric;
use crate::metric::visit::Part;
use crate::spelling::closest;

/// The rules that come with the agent.
pub const PACK: &str = include_str!("default.toml");

/// Default of `hold`.
const HOLD: Duration = Duration::from_secs(300);

/// At most this many rules, so that a generated file cannot slow down every tick.
const RULES: usize = 1000;

/// A rule before it is checked: a default, the operator's, or a default with the operator's changes.
struct Draft {
    raw: Raw,
    origin: Origin,
    /// Index of the operator's rule that it is, or that changes it.
    own: Option<usize>,
}

impl Rules {
    /// The default rules with these changes and additions.
    ///
    /// # Errors
    /// All errors in the rules.
    pub fn new(own: &[Raw]) -> Result<Rules, Vec<Error>> {
        let mut errors = Vec::new();
        let pack = raw::read(PACK).unwrap_or_else(|error| {
            errors.push(Error { rule: None, key: None, text: error.to_string(), earlier: None });
            Vec::new()
        });
        let mut drafts: Vec<_> = pack.into_iter().map(|raw| Draft { raw, origin: Origin::Pack, own: None }).collect();
        for (index, raw) in own.iter().enumerate() {
            match drafts.iter_mut().find(|draft| draft.raw.alert == raw.alert) {
                Some(draft) if draft.origin == Origin::Pack => {
                    draft.raw.change(raw);
                    (draft.origin, draft.own) = (Origin::Changed, Some(index));
                }
                Some(draft) => {
                    let text = format!("there is already a rule {}", raw.alert);
                    errors.push(Error { rule: Some(index), key: Some("alert"), text, earlier: draft.own });
                }
                None => drafts.push(Draft { raw: raw.clone(), origin: Origin::Own, own: Some(index) }),
            }
        }
        if let Some(draft) = drafts.get(RULES) {
            let text = format!("more than {RULES} rules");
            errors.push(Error { rule: draft.own, key: None, text, earlier: None });
            drafts.truncate(RULES);
        }
        let mut rules = Vec::new();
        for draft in &drafts {
            match draft.rule() {
                Ok(rule) => rules.push(rule),
                Err((key, text)) => {
                    // A mistyped name, meant to change a default rule, makes a new rule that lacks everything.
                    let hint = match draft.origin {
                        Origin::Own if key == "metric" => hint(&draft.raw.alert, &drafts),
                        _ => String::new(),
                    };
                    errors.push(Error { rule: draft.own, key: Some(key), text: text + &hint, earlier: None });
                }
            }
        }
        if errors.is_empty() { Ok(Rules(rules)) } else { Err(errors) }
    }
}

/// The default rule that this name was probably meant for.
fn hint(name: &str, drafts: &[Draft]) -> String {
    let known = drafts.iter().filter(|draft| draft.origin == Origin::Pack).map(|draft| &*draft.raw.alert);
    closest(&name.to_lowercase(), known.clone())
        .or_else(|| known.clone().find(|known| known.eq_ignore_ascii_case(name)))
        .map(|name| format!("; did you mean to change {name}?"))
        .unwrap_or_default()
}

/// The key, and what is wrong with it.
type Wrong = (&'static str, String);

impl Draft {
    fn rule(&self) -> Result<Rule, Wrong> {
        let raw = &self.raw;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if raw.alert.is_empty() || !raw.alert.chars().all(plain) || raw.alert.starts_with(|c: char| c.is_ascii_digit())
        {
            return Err(("alert", format!("{:?} is not a name: letters, digits and _", raw.alert)));
        }
        let (condition, labels) = match &raw.event {
            Some(event) => (Condition::Event(self.event(event)?), &LABELS[..]),
            None => {
                let threshold = self.threshold()?;
                let labels = threshold.metric.labels;
                (Condition::Threshold(threshold), labels)
            }
        };
        let severity = match raw.severity.as_deref() {
            Some(word) => Severity::of(word),
            None => return Err(("severity", "is missing".into())),
        };
        let severity = severity.ok_or(("severity", "is not info, warning or critical".into()))?;
        let template = |key: &'static str, text: &str| {
            if text.is_empty() {
                return Err((key, "is missing".into()));
            }
            Template::new(text, labels, raw.event.is_some()).map_err(|error| (key, error))
        };
        Ok(Rule {
            name: Arc::from(&*raw.alert),
            enabled: raw.enabled.unwrap_or(true),
            origin: self.origin,
            severity,
            condition,
            summary: template("summary", &raw.summary)?,
            action: template("action", &raw.action)?,
        })
    }

    fn event(&self, name: &str) -> Result<Event, Wrong> {
        let raw = &self.raw;
        let alone = [
            ("metric", !raw.metric.is_empty()),
            ("rate", raw.rate.is_some()),
            ("slope", raw.slope.is_some()),
            ("above", raw.above.is_some()),
            ("below", raw.below.is_some()),
            ("clear", raw.clear.is_some()),
            ("for", raw.lasting.is_some()),
        ];
        if let Some((key, _)) = alone.iter().find(|(_, given)| *given) {
            return Err((key, "does not apply to an event, which fires at once".into()));
        }
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == name) else {
            return Err(("event", format!("there is no kind of incident {name}")));
        };
        let matches = raw.labels.iter().flatten().map(|(label, pattern)| {
            let known = LABELS.iter().find(|known| *known == label);
            let known = known.ok_or_else(|| no_label(label, &LABELS))?;
            Ok((*known, Pattern::new(pattern)?))
        });
        let matches = matches.collect::<Result<_, String>>().map_err(|error| ("match", error))?;
        Ok(Event { kind, matches, hold: nanoseconds(raw.hold.unwrap_or(HOLD)) })
    }

    fn threshold(&self) -> Result<Threshold, Wrong> {
        let raw = &self.raw;
        if raw.metric.is_empty() {
            return Err(("metric", "is missing: a rule needs a metric or an event".into()));
        }
        let Some((metric, part)) = Part::find(&raw.metric) else {
            return Err(("metric", no_metric(&raw.metric)));
        };
        // Such a rule would react to its own alerts.
        if metric.is_about_alerts() {
            return Err(("metric", format!("{} reports alerts: a rule cannot use it", metric.name)));
        }
        if metric.kind == metric::Kind::Info {
            return Err(("metric", format!("{} is always 1: a rule cannot use it", metric.name)));
        }
        if raw.hold.is_some() {
            return Err(("hold", "is for events; clear and for are for metrics".into()));
        }
        let (side, threshold) = match (raw.above, raw.below) {
            (Some(above), None) => (Side::Above, above),
            (None, Some(below)) => (Side::Below, below),
            (None, None) => return Err(("above", "is missing, and so is below".into())),
            (Some(_), Some(_)) => return Err(("below", "contradicts above: give one of them".into())),
        };
        if let Some(clear) = raw.clear {
            let (wrong, other) = match side {
                Side::Above => (clear > threshold, "above"),
                Side::Below => (clear < threshold, "below"),
            };
            if wrong {
                return Err((
                    "clear",
                    format!("{clear} contradicts {other} = {threshold}: the alert would resolve at once"),
                ));
            }
        }
        let change = match (raw.rate, raw.slope, part.grows(metric)) {
            (Some(_), Some(_), _) => return Err(("slope", "contradicts rate: give one of them".into())),
            (None, None, true) => {
                let text = format!("{} is a counter: give a rate, such as rate = \"1m\"", raw.metric);
                return Err(("metric", text));
            }
            (Some(_), None, false) => return Err(("rate", format!("{} is not a counter: give a slope", raw.metric))),
            (None, Some(_), true) => return Err(("slope", format!("{} is a counter: give a rate", raw.metric))),
            (Some(rate), None, true) => Some(Change::Rate(nanoseconds(rate))),
            (None, Some(slope), false) => Some(Change::Slope(nanoseconds(slope))),
            (None, None, false) => None,
        };
        let matches = raw.labels.iter().flatten().map(|(label, pattern)| {
            let index = metric.labels.iter().position(|known| known == label);
            let index = index.ok_or_else(|| no_label(label, metric.labels))?;
            Ok((index, Pattern::new(pattern)?))
        });
        let matches = matches.collect::<Result<_, String>>().map_err(|error| ("match", error))?;
        let lasting = nanoseconds(raw.lasting.unwrap_or_default());
        Ok(Threshold { metric, part, matches, change, side, threshold, clear: raw.clear, lasting })
    }
}

fn no_label(label: &str, known: &[&str]) -> String {
    let hint = closest(label, known.iter().copied()).map(|hint| format!("; did you mean {hint}?"));
    let hint = hint.unwrap_or_else(|| match known {
        [] => "; the metric has no labels".into(),
        known => format!("; its labels are {}", known.join(", ")),
    });
    format!("there is no label {label}{hint}")
}

fn no_metric(name: &str) -> String {
    if METRICS.iter().any(|it| it.name == name && it.kind == metric::Kind::Histogram) {
        return format!("{name} is a histogram: use {name}_sum or {name}_count");
    }
    // Compared without the prefix: the letters that all names share would make every name look close.
    let bare = |name: &'static str| name.trim_start_matches("headroom_");
    let hint = closest(name.trim_start_matches("headroom_"), METRICS.iter().map(|metric| bare(metric.name)));
    let hint = hint.map(|hint| format!("; did you mean headroom_{hint}?")).unwrap_or_default();
    format!("no metric for rules is called {name:?}{hint}")
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules of a file, or a line for each error, with rule, key and text.
    fn rules(text: &str) -> Result<Rules, String> {
        let line = |Error { rule, key, text, .. }: Error| format!("{}: {}: {text}", rule.unwrap(), key.unwrap());
        Rules::new(&raw::read(text).unwrap())
            .map_err(|errors| errors.into_iter().map(line).collect::<Vec<_>>().join("\n"))
    }

    const GOOD: &str = "[[rule]]\nalert = \"A\"\nmetric = \"headroom_host_memory_used_ratio\"\nabove = 0.5\n\
        severity = \"info\"\nsummary = \"s\"\naction = \"a\"\n";

    #[test]
    fn the_default_rules_are_valid() {
        let rules = Rules::new(&[]).unwrap();
        assert!(rules.0.len() >= 40, "{}", rules.0.len());
        assert!(rules.0.iter().all(|rule| rule.origin == Origin::Pack));
    }

    #[test]
    fn a_table_changes_a_default_rule_and_leaves_the_rest() {
        let pack = Rules::new(&[]).unwrap();
        let changed = rules("[[rule]]\nalert = \"HostMemoryHigh\"\nabove = 0.5\n").unwrap();
        assert_eq!(changed.0.len(), pack.0.len());
        let (old, new) = (pack.find("HostMemoryHigh").unwrap().1, changed.find("HostMemoryHigh").unwrap().1);
        assert_eq!((new.origin, new.severity, &new.summary), (Origin::Changed, old.severity, &old.summary));
        let (Condition::Threshold(old), Condition::Threshold(new)) = (&old.condition, &new.condition) else { panic!() };
        assert!(old.clear.is_some());
        assert_eq!((new.threshold, new.clear, new.lasting), (0.5, None, old.lasting));

        let off = rules("[[rule]]\nalert = \"HostMemoryHigh\"\nenabled = false\n").unwrap();
        assert!(!off.find("HostMemoryHigh").unwrap().1.enabled);
        assert_eq!(off.enabled().count() + 1, pack.enabled().count());
    }

    #[test]
    fn a_new_rule_follows_the_defaults() {
        let rules = rules(GOOD).unwrap();
        let last = rules.0.last().unwrap();
        assert_eq!((&*last.name, last.origin, last.enabled), ("A", Origin::Own, true));
    }

    #[test]
    fn an_error_names_its_key() {
        for (from, to, wanted) in [
            (
                "used_ratio",
                "usde_ratio",
                "0: metric: no metric for rules is called \"headroom_host_memory_usde_ratio\"; did you mean headroom_host_memory_used_ratio?",
            ),
            (
                "headroom_host_memory_used_ratio",
                "headroom_major_fault_seconds",
                "0: metric: headroom_major_fault_seconds is a histogram: use",
            ),
            (
                "headroom_host_memory_used_ratio",
                "headroom_oom_kills_total",
                "0: metric: headroom_oom_kills_total is a counter: give a rate",
            ),
            ("headroom_host_memory_used_ratio", "headroom_series", "no metric for rules is called \"headroom_series\""),
            ("headroom_host_memory_used_ratio", "headroom_alerts", "a rule cannot use it"),
            ("metric = \"headroom_host_memory_used_ratio\"\n", "", "0: metric: is missing"),
            ("above = 0.5\n", "", "0: above: is missing, and so is below"),
            ("above = 0.5", "above = 0.5\nbelow = 0.1", "0: below: contradicts above"),
            ("above = 0.5", "above = 0.5\nclear = 0.6", "0: clear: 0.6 contradicts above = 0.5"),
            ("above = 0.5", "below = 0.5\nclear = 0.4", "0: clear: 0.4 contradicts below = 0.5"),
            ("above = 0.5", "above = 0.5\nrate = \"1m\"", "0: rate: headroom_host_memory_used_ratio is not a counter"),
            ("above = 0.5", "above = 0.5\nhold = \"1m\"", "0: hold: is for events"),
            ("above = 0.5", "above = 0.5\nevent = \"oom\"", "0: metric: does not apply to an event"),
            (
                "above = 0.5",
                "above = 0.5\nmatch = { gpu = \"0\" }",
                "0: match: there is no label gpu; the metric has no labels",
            ),
            ("severity = \"info\"\n", "", "0: severity: is missing"),
            (
                "summary = \"s\"",
                "summary = \"{valeu}\"",
                "0: summary: {valeu}: there is no such field; did you mean {value}?",
            ),
            ("action = \"a\"", "action = \"{labels.pod}\"", "0: action: {labels.pod}: there is no such label"),
            ("action = \"a\"\n", "", "0: action: is missing"),
            ("severity = \"info\"", "severity = \"high\"", "0: severity: is not info, warning or critical"),
            ("alert = \"A\"", "alert = \"\"", "0: alert: \"\" is not a name"),
            ("alert = \"A\"", "alert = \"A b\"", "0: alert: \"A b\" is not a name"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            let error = rules(&text).unwrap_err();
            assert!(error.contains(wanted) && !error.contains('\n'), "{text}: {error}");
        }
    }

    #[test]
    fn labels_are_checked_against_the_metric() {
        let text = GOOD.replace("headroom_host_memory_used_ratio", "headroom_source_up");
        let with = |label: &str| text.replace("above", &format!("match = {{ {label} }}\nabove"));
        assert!(rules(&with("source = \"gpu|host\"")).is_ok());
        assert!(rules(&with("sorce = \"gpu\"")).unwrap_err().contains("no label sorce; did you mean source?"));
        assert!(rules(&with("source = \"(\"")).unwrap_err().contains("match: \"(\" is not a regular expression"));
    }

    #[test]
    fn a_name_is_unique_and_a_mistyped_one_has_a_hint() {
        let own = raw::read(&format!("[[rule]]\nalert = \"GpuHot\"\n{GOOD}{GOOD}")).unwrap();
        let text = "there is already a rule A".to_owned();
        let error = Error { rule: Some(2), key: Some("alert"), text, earlier: Some(1) };
        assert_eq!(Rules::new(&own).unwrap_err(), [error]);
        let error = rules("[[rule]]\nalert = \"HostMemoryHihg\"\nabove = 0.5\n").unwrap_err();
        assert!(error.contains("did you mean to change HostMemoryHigh?"), "{error}");
    }

    #[test]
    fn all_errors_are_reported() {
        let one = GOOD.replace("above", "below = 1\nabove");
        let error = rules(&format!("{one}{}", GOOD.replace("\"A\"", "\"B\"").replace("\"s\"", "\"{\""))).unwrap_err();
        let lines: Vec<_> = error.lines().map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines, ["0 below", "1 summary"], "{error}");
    }
}
