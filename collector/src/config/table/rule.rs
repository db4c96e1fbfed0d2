//! `[[rule]]`: its keys, and the place of each mistake in the file. Does not know what a rule means.

use std::time::Duration;

use collector_core::alert::Severity;
use collector_core::incident;
use collector_core::rule::raw::Raw;
use collector_core::rule::{self, Rules};

use crate::config::entry::{Entry, Key, Table};
use crate::config::error::{Error, Place};
use crate::config::kind::Kind;
use crate::config::section::Config;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// `[[rule]]`.
pub const RULE: Table<Config, Raw> = Table {
    name: "rule",
    doc: "Raises an alert for a condition on a metric, or for a kind of incident. docs/rules.md lists the built-in rules. A table \
          with the name of a built-in rule changes the keys that it sets and keeps the others.",
    example: EXAMPLE,
    keys: &[
        Key {
            name: "alert",
            kind: Kind::Text(|rule| &mut rule.alert),
            required: true,
            doc: "Name of a new rule, or of the built-in rule to change.",
        },
        Key {
            name: "enabled",
            kind: Kind::OptionalSwitch(|rule| &mut rule.enabled),
            required: false,
            doc: "false disables the rule; true enables a rule that is disabled by default.",
        },
        Key {
            name: "metric",
            kind: Kind::Text(|rule| &mut rule.metric),
            required: false,
            doc: "Name of the metric, as in docs/metrics.md; for a histogram, with _sum or _count.",
        },
        Key {
            name: "event",
            kind: Kind::OptionalChoice(|rule| &mut rule.event, KINDS),
            required: false,
            doc: "Kind of incident, instead of a metric: each incident raises an alert at once.",
        },
        Key {
            name: "match",
            kind: Kind::Texts(|rule| &mut rule.labels),
            required: false,
            doc: "Selects series or incidents: for each label, a regular expression that must match the whole value; \
                  with ! in front it must not match. A missing label counts as empty.",
        },
        Key {
            name: "rate",
            kind: Kind::OptionalDuration(|rule| &mut rule.rate, SECOND, DAY),
            required: false,
            doc: "Use the growth of a counter per second over this time. Seconds per second are a share of time.",
        },
        Key {
            name: "slope",
            kind: Kind::OptionalDuration(|rule| &mut rule.slope, SECOND, DAY),
            required: false,
            doc: "Use the growth of a gauge per second over this time: the slope of the best straight line through its \
                  values.",
        },
        Key {
            name: "above",
            kind: Kind::Number(|rule| &mut rule.above),
            required: false,
            doc: "The condition is true while the value is above this. \
                  If a table sets one of above, below and clear, it replaces all three of the built-in rule.",
        },
        Key {
            name: "below",
            kind: Kind::Number(|rule| &mut rule.below),
            required: false,
            doc: "The condition is true while the value is below this.",
        },
        Key {
            name: "clear",
            kind: Kind::Number(|rule| &mut rule.clear),
            required: false,
            doc: "Hysteresis: a firing alert resolves only when the value falls below this (or, with below, rises above it), \
                  so that a value near the threshold does not fire repeatedly. Unless set, the threshold.",
        },
        Key {
            name: "for",
            kind: Kind::OptionalDuration(|rule| &mut rule.lasting, Duration::ZERO, DAY),
            required: false,
            doc: "How long the condition must be true before the alert fires. Unless set, it fires at once.",
        },
        Key {
            name: "hold",
            kind: Kind::OptionalDuration(|rule| &mut rule.hold, SECOND, DAY),
            required: false,
            doc: "For event rules: the alert resolves this long after the last incident; \"5m\" unless set.",
        },
        Key {
            name: "severity",
            kind: Kind::OptionalChoice(|rule| &mut rule.severity, &Severity::LABELS),
            required: false,
            doc: "Severity: critical needs attention now, warning within the day; info is for information.",
        },
        Key {
            name: "summary",
            kind: Kind::Text(|rule| &mut rule.summary),
            required: false,
            doc: "What is wrong, in one sentence. {value} is the value; {value:percent}, {value:bytes} and \
                  {value:duration} format it; {labels.workload} is the value of a label; {title} is the title of the \
                  incident; {{ is a literal brace.",
        },
        Key {
            name: "action",
            kind: Kind::Text(|rule| &mut rule.action),
            required: false,
            doc: "What the operator should do, with the same fields.",
        },
    ],
    field: |config| &mut config.rule,
    // `catalogue::check` builds the rules, which checks them.
    check: |_| Vec::new(),
};

const KINDS: &[&str] = &{
    let mut names = [""; incident::Kind::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = incident::Kind::ALL[index].name();
        index += 1;
    }
    names
};

const EXAMPLE: &str = r#"[[rule]]                     # changes a built-in rule
alert = "HostMemoryHigh"
above = 0.92
clear = 0.88

[[rule]]                     # a new rule
alert = "ScratchDiskBusy"
metric = "headroom_host_disk_busy_seconds_total"
match = { device = "nvme[12]n1" }
rate = "1m"
above = 0.9
for = "5m"
severity = "warning"
summary = "{labels.device} is busy {value:percent} of the time"
action = "Check which workload writes: headroom_workload_block_bytes_total"
"#;

/// The built-in rules, with the changes and additions of these tables.
///
/// # Errors
/// All mistakes, each with its place in the file.
pub fn rules(entries: &[Entry<Raw>]) -> Result<Rules, Vec<Error>> {
    let own: Vec<Raw> = entries.iter().map(|entry| entry.value.clone()).collect();
    Rules::new(&own).map_err(|errors| errors.into_iter().map(|error| locate(error, entries)).collect())
}

fn locate(error: rule::Error, entries: &[Entry<Raw>]) -> Error {
    let entry = |index: Option<usize>| index.and_then(|index| entries.get(index));
    let place = match (entry(error.rule), error.key) {
        (Some(entry), Some(key)) => entry.place(key).clone(),
        (Some(entry), None) => entry.place.clone(),
        // Unreachable: a test checks that the built-in rules are valid.
        (None, _) => Place::File("default.toml".into()),
    };
    let text = match entry(error.earlier) {
        Some(earlier) => format!("{}, at {}", error.text, earlier.place),
        None => error.text,
    };
    Error { place, key: Some(error.key.map_or("rule".to_owned(), |key| format!("rule.{key}"))), text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::apply;
    use collector_core::rule::parse::PACK;
    use collector_core::rule::raw;
    use std::path::Path;

    fn entries(text: &str) -> Vec<Entry<Raw>> {
        let mut config = Config::default();
        let (_, errors) = apply(Path::new("a.toml"), text, &mut config);
        assert_eq!(errors, [], "{text}");
        config.rule
    }

    /// The mistakes in the rules of a file.
    fn wrong(text: &str) -> Vec<String> {
        rules(&entries(text)).unwrap_err().iter().map(ToString::to_string).collect()
    }

    const GOOD: &str = "[[rule]]\nalert = \"A\"\nmetric = \"headroom_host_memory_used_ratio\"\nabove = 0.5\n\
        severity = \"info\"\nsummary = \"s\"\naction = \"a\"\n";

    #[test]
    fn both_parsers_of_a_rule_agree() {
        for text in
            [PACK, EXAMPLE, GOOD, "[[rule]]\nalert = \"A\"\nmatch = {}\nhold = \"2m\"\nbelow = 1\nslope = \"1s\"\n"]
        {
            let ours: Vec<_> = entries(text).into_iter().map(|entry| entry.value).collect();
            assert_eq!(ours, raw::read(text).unwrap());
        }
    }

    #[test]
    fn a_mistake_is_reported_at_its_key_or_else_at_its_table() {
        for (from, to, wanted) in [
            (
                "used_ratio",
                "usde_ratio",
                "a.toml:3:10: rule.metric: no metric for rules is called \"headroom_host_memory_usde_ratio\"; did you mean headroom_host_memory_used_ratio?",
            ),
            ("above = 0.5", "above = 0.5\nclear = 0.6", "a.toml:5:9: rule.clear: 0.6 contradicts above = 0.5"),
            ("above = 0.5", "above = 0.5\nhold = \"1m\"", "a.toml:5:8: rule.hold: is for events"),
            (
                "above = 0.5",
                "above = 0.5\nmatch = { gpu = \"0\" }",
                "a.toml:5:9: rule.match: there is no label gpu; the metric has no labels",
            ),
            ("severity = \"info\"\n", "", "a.toml:1:1: rule.severity: is missing"),
            ("alert = \"A\"", "alert = \"A b\"", "a.toml:2:9: rule.alert: \"A b\" is not a name"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            let wrong = wrong(&text);
            assert!(wrong.len() == 1 && wrong[0].starts_with(wanted), "{text}: {wrong:?}");
        }
    }

    #[test]
    fn a_mistake_in_a_changed_rule_has_its_place_in_the_file() {
        let change = "\n[[rule]]\nalert = \"HostMemoryHigh\"\n";
        assert_eq!(
            wrong(&format!("{change}summary = \"{{\"\n")),
            ["a.toml:4:11: rule.summary: { without }; write {{ for a brace"]
        );
        // The file does not set the wrong key: reported at the key that made it wrong.
        let wrong = wrong(&format!(
            "{change}metric = \"headroom_oom_kills_total\"\nabove = 1\nrate = \"1m\"\n\
            [[rule]]\nalert = \"GpuHot\"\nmetric = \"headroom_oom_kills_total\"\n"
        ));
        assert!(wrong.len() == 1 && wrong[0].starts_with("a.toml:9:10: rule.metric: "), "{wrong:?}");
    }

    #[test]
    fn a_duplicate_rule_names_the_place_of_the_first() {
        assert_eq!(
            wrong(&format!("{GOOD}{GOOD}")),
            ["a.toml:9:9: rule.alert: there is already a rule A, at a.toml:1:1"]
        );
        let change = "[[rule]]\nalert = \"GpuHot\"\nenabled = false\n";
        assert_eq!(
            wrong(&format!("{change}{change}")),
            ["a.toml:5:9: rule.alert: there is already a rule GpuHot, at a.toml:1:1"]
        );
    }

    #[test]
    fn too_many_rules_are_rejected_at_the_first_excess_one() {
        let text: String = (0..1000).map(|number| GOOD.replace("\"A\"", &format!("\"A{number}\""))).collect();
        let wrong = wrong(&text);
        let pack = raw::read(PACK).unwrap().len();
        let line = (1000 - pack) * GOOD.lines().count() + 1;
        assert_eq!(wrong, [format!("a.toml:{line}:1: rule: more than 1000 rules")]);
    }
}
