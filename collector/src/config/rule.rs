//! `[[rule]]`: a rule as the file has it. What a rule means is none of its business.

use std::collections::BTreeMap;
use std::time::Duration;

use super::kind::Kind;
use super::table::{Key, Table};
use crate::alert::Severity;
use crate::incident;
use crate::rule::Rules;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A rule as the file has it: nothing of it is required but its name, for it may change one that there is already.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Rule {
    /// Its name.
    pub alert: String,
    /// Whether it is looked at.
    pub enabled: Option<bool>,
    /// The metric that it looks at.
    pub metric: String,
    /// The kind of incident that it waits for.
    pub event: Option<String>,
    /// What the labels must be, each a regular expression for the whole of it.
    pub labels: BTreeMap<String, String>,
    /// A counter's growth per second over this time is looked at.
    pub rate: Option<Duration>,
    /// A gauge's slope per second over this time is looked at.
    pub slope: Option<Duration>,
    /// It holds above this.
    pub above: Option<f64>,
    /// It holds below this.
    pub below: Option<f64>,
    /// It is over on the other side of this.
    pub clear: Option<f64>,
    /// For how long it must hold.
    pub lasting: Option<Duration>,
    /// How long after the last incident it is over.
    pub hold: Option<Duration>,
    /// How urgent it is.
    pub severity: Option<String>,
    /// What is the case.
    pub summary: String,
    /// What to do.
    pub action: String,
}

/// `[[rule]]`.
pub const RULE: Table<Rule> = Table {
    name: "rule",
    doc: "A condition on a metric, or a kind of incident, that somebody is to be told of. docs/rules.md has the rules that \
          there are already: one with the name of one of these changes what it sets, and leaves the rest as it is.",
    example: EXAMPLE,
    keys: &[
        Key {
            name: "alert",
            kind: Kind::Text(|rule| &mut rule.alert),
            required: true,
            doc: "The name: of a rule that there is already, which is then changed, or of a new one.",
        },
        Key {
            name: "enabled",
            kind: Kind::OptionalSwitch(|rule| &mut rule.enabled),
            required: false,
            doc: "false switches the rule off, and true one that is off unless asked for.",
        },
        Key {
            name: "metric",
            kind: Kind::Text(|rule| &mut rule.metric),
            required: false,
            doc: "The metric that it looks at, as docs/metrics.md has it; of a histogram its name with _sum or _count.",
        },
        Key {
            name: "event",
            kind: Kind::OptionalChoice(|rule| &mut rule.event, KINDS),
            required: false,
            doc: "Instead of a metric, a kind of incident: each one fires at once.",
        },
        Key {
            name: "match",
            kind: Kind::Texts(|rule| &mut rule.labels),
            required: false,
            doc: "Which series, or which incidents: for each of these labels a regular expression that must match the whole \
                  of its value, or with a ! before it must not. A label that is not there has the empty value.",
        },
        Key {
            name: "rate",
            kind: Kind::OptionalDuration(|rule| &mut rule.rate, SECOND, DAY),
            required: false,
            doc: "Look at how much a counter grew per second over this time. Seconds per second are a share of time.",
        },
        Key {
            name: "slope",
            kind: Kind::OptionalDuration(|rule| &mut rule.slope, SECOND, DAY),
            required: false,
            doc: "Look at how fast a gauge grows, per second: the slope of the straight line that fits the values of this \
                  time best.",
        },
        Key {
            name: "above",
            kind: Kind::Number(|rule| &mut rule.above),
            required: false,
            doc: "The rule holds while the number is above this. \
                  One of above, below and clear replaces all three of the rule that is changed.",
        },
        Key {
            name: "below",
            kind: Kind::Number(|rule| &mut rule.below),
            required: false,
            doc: "The rule holds while the number is below this.",
        },
        Key {
            name: "clear",
            kind: Kind::Number(|rule| &mut rule.clear),
            required: false,
            doc: "Once it fires, an above rule holds until the number is below this, and a below rule until it is above: what \
                  swings about the threshold then does not come and go. Unless set, it is over at the threshold.",
        },
        Key {
            name: "for",
            kind: Kind::OptionalDuration(|rule| &mut rule.lasting, Duration::ZERO, DAY),
            required: false,
            doc: "For how long it must hold before it fires; at once unless set.",
        },
        Key {
            name: "hold",
            kind: Kind::OptionalDuration(|rule| &mut rule.hold, SECOND, DAY),
            required: false,
            doc: "How long after the last incident an alert of an event is over; \"5m\" unless set.",
        },
        Key {
            name: "severity",
            kind: Kind::OptionalChoice(|rule| &mut rule.severity, SEVERITIES),
            required: false,
            doc: "How urgent it is: critical is to be looked at now, warning within the day, info is worth knowing.",
        },
        Key {
            name: "summary",
            kind: Kind::Text(|rule| &mut rule.summary),
            required: false,
            doc: "What is the case, in a sentence. {value} is the number, {value:percent}, {value:bytes} and \
                  {value:duration} are the same for people, {labels.workload} is the value of a label; {title} is what an \
                  incident says of itself; {{ is a brace.",
        },
        Key {
            name: "action",
            kind: Kind::Text(|rule| &mut rule.action),
            required: false,
            doc: "What whoever is told should do, in the same way.",
        },
    ],
    field: |config| &mut config.rule,
    check: |rules| Rules::new(rules).err().map_or(Vec::new(), |errors| errors.0),
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

const SEVERITIES: &[&str] = &[Severity::Info.label(), Severity::Warning.label(), Severity::Critical.label()];

const EXAMPLE: &str = r#"[[rule]]                     # a change to a rule that there is
alert = "HostMemoryHigh"
above = 0.92
clear = 0.88

[[rule]]                     # a new one
alert = "ScratchDiskBusy"
metric = "headroom_host_disk_busy_seconds_total"
match = { device = "nvme[12]n1" }
rate = "1m"
above = 0.9
for = "5m"
severity = "warning"
summary = "{labels.device} is busy {value:percent} of the time"
action = "Look who writes: headroom workloads --sort io"
"#;
