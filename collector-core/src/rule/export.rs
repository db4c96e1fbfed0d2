//! The rules as Prometheus' alerting rules: the same conditions over the same metrics, for who has Prometheus decide. What
//! cannot be said there is said in a comment.

use std::fmt::Write as _;
use std::time::Duration;

use super::template::{Form, Piece, Template, Word};
use super::{Change, Condition, Event, Rule, Rules, Side, Threshold};
use crate::incident::Kind;
use crate::metric::visit::Part;

/// A counter that stands for a kind of incident, and what it must grow by; not every kind has one.
fn counter(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Oom => Some("headroom_oom_kills_total"),
        Kind::MemoryPressure => Some("headroom_host_pressure_events_total{resource=\"memory\"}"),
        Kind::IoPressure => Some("headroom_host_pressure_events_total{resource=\"io\"}"),
        Kind::GpuLost => None,
    }
}

const HEAD: &str = "# Headroom's rules as Prometheus' alerting rules: `headroom rules --format prometheus` writes them from the
# configuration. Hysteresis (clear) cannot be said here: where a rule has one, a comment says so, and the alert comes and
# goes with the threshold. The agent looks every tick, Prometheus every evaluation interval.
groups:
  - name: headroom
    rules:
";

/// The file, in YAML.
pub fn export(rules: &Rules) -> String {
    let mut text = HEAD.to_owned();
    for rule in rules.enabled() {
        write(&mut text, rule);
    }
    text
}

fn write(text: &mut String, rule: &Rule) {
    let (expression, lasting) = match &rule.condition {
        Condition::Threshold(threshold) => {
            if let Some(clear) = threshold.clear {
                line(text, format_args!("      # In the agent {} is over at {clear:?} only.", rule.name));
            }
            (threshold_expression(threshold), threshold.lasting)
        }
        Condition::Event(event) => match event_expression(event) {
            Some(expression) => (expression, 0),
            None => {
                let (name, kind) = (&rule.name, event.kind.name());
                return line(
                    text,
                    format_args!("      # {name} is about the incident {kind}, of which there is no metric."),
                );
            }
        },
    };
    line(text, format_args!("      - alert: {}", rule.name));
    line(text, format_args!("        expr: {}", quoted(&expression)));
    if lasting > 0 {
        line(text, format_args!("        for: {}", duration(lasting)));
    }
    line(text, format_args!("        labels:\n          severity: {}", rule.severity.label()));
    line(text, format_args!("        annotations:"));
    line(text, format_args!("          summary: {}", quoted(&annotation(&rule.summary, rule))));
    line(text, format_args!("          action: {}", quoted(&annotation(&rule.action, rule))));
}

/// The condition in PromQL.
pub fn threshold_expression(threshold: &Threshold) -> String {
    let suffix = match threshold.part {
        Part::Whole => "",
        Part::Sum => "_sum",
        Part::Count => "_count",
    };
    let matchers = threshold.matches.iter().map(|(index, pattern)| {
        let (operator, regex) = pattern.prometheus();
        format!("{}{operator}{}", threshold.metric.labels.get(*index).copied().unwrap_or_default(), quoted(regex))
    });
    let matchers: Vec<String> = matchers.collect();
    let matchers = if matchers.is_empty() { String::new() } else { format!("{{{}}}", matchers.join(",")) };
    let series = format!("{}{suffix}{matchers}", threshold.metric.name);
    let (side, number) = (if threshold.side == Side::Above { '>' } else { '<' }, threshold.threshold);
    match threshold.change {
        None => format!("{series} {side} {number}"),
        Some(Change::Slope(window)) => format!("deriv({series}[{}]) {side} {number}", duration(window)),
        Some(Change::Rate(window)) => {
            let window = duration(window);
            let rate = format!("rate({series}[{window}]) {side} {number}");
            match side == '>' && number == 0.0 {
                // What is first heard of when it has happened has not grown yet, to Prometheus.
                true => format!("{rate} or ({series} unless {series} offset {window}) > 0"),
                false => rate,
            }
        }
    }
}

fn event_expression(event: &Event) -> Option<String> {
    let counter = counter(event.kind)?;
    let matchers = event.matches.iter().map(|(label, pattern)| {
        let (operator, regex) = pattern.prometheus();
        format!("{label}{operator}{}", quoted(regex))
    });
    let matchers: Vec<String> = matchers.collect();
    let series = match (counter.strip_suffix('}'), matchers.is_empty()) {
        (_, true) => counter.to_owned(),
        (Some(open), false) => format!("{open},{}}}", matchers.join(",")),
        (None, false) => format!("{counter}{{{}}}", matchers.join(",")),
    };
    let hold = duration(event.hold);
    Some(format!("increase({series}[{hold}]) > 0 or ({series} unless {series} offset {hold}) > 0"))
}

/// A template as Go's: numbers by Prometheus' own functions.
fn annotation(template: &Template, rule: &Rule) -> String {
    let mut text = String::new();
    for piece in &template.0 {
        match piece {
            // The only thing that means anything there.
            Piece::Text(plain) => text += &plain.replace("{{", "{{ \"{{\" }}"),
            Piece::Value(Form::Plain) => text += "{{ printf \"%.4g\" $value }}",
            Piece::Value(Form::Percent) => text += "{{ $value | humanizePercentage }}",
            Piece::Value(Form::Bytes) => text += "{{ $value | humanize1024 }}B",
            Piece::Value(Form::Duration) => text += "{{ $value | humanizeDuration }}",
            Piece::Label(name, Word::Plain | Word::Xid) => {
                let _ = write!(text, "{{{{ $labels.{name} }}}}");
            }
            Piece::Label(_, Word::XidAction) => text += "docs/rules.md says what the number means and what to do",
            Piece::Title => {
                let _ = write!(text, "{}{{{{ with $labels.workload }}}} of {{{{ . }}}}{{{{ end }}}}", rule.name);
            }
        }
    }
    text
}

/// As YAML and PromQL both have it: JSON's strings are strings of YAML, and of Go.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn duration(ns: u64) -> String {
    let whole = Duration::from_nanos(ns);
    match (whole.as_millis() as u64, whole.as_secs()) {
        (millis, _) if !millis.is_multiple_of(1000) => format!("{millis}ms"),
        (_, seconds) if seconds > 0 && seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        (_, seconds) if seconds > 0 && seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        (_, seconds) => format!("{seconds}s"),
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expression(name: &str) -> String {
        let rules = Rules::new(&[]).unwrap();
        match &rules.find(name).unwrap().1.condition {
            Condition::Threshold(threshold) => threshold_expression(threshold),
            Condition::Event(event) => event_expression(event).unwrap(),
        }
    }

    #[test]
    fn conditions_are_said_in_promql() {
        assert_eq!(expression("HostMemoryHigh"), "headroom_host_memory_used_ratio > 0.9");
        assert_eq!(
            expression("HostMemoryPressure"),
            "rate(headroom_host_pressure_waiting_seconds_total{resource=~\"memory\"}[1m]) > 0.2"
        );
        assert_eq!(expression("GpuMemoryLeak"), "deriv(headroom_workload_gpu_memory_bytes[10m]) > 100000");
        assert_eq!(
            expression("HostIoFailing"),
            "rate(headroom_block_io_errors_total[5m]) > 0 or \
             (headroom_block_io_errors_total unless headroom_block_io_errors_total offset 5m) > 0"
        );
        assert!(expression("GpuXidUnknown").contains("{xid!~\"8|13|"));
        assert!(expression("OomKill").starts_with("increase(headroom_oom_kills_total[5m]) > 0 or "));
    }

    #[test]
    fn every_rule_that_is_looked_at_is_there_or_its_absence_is_told() {
        let rules = Rules::new(&[]).unwrap();
        let text = export(&rules);
        for rule in &rules.0 {
            let there = text.contains(&format!("- alert: {}\n", rule.name));
            let told = text.contains(&format!("# {} is about", rule.name));
            assert_eq!(there || told, rule.enabled, "{}", rule.name);
        }
        assert!(text.contains("# In the agent HostMemoryHigh is over at 0.87 only.\n"));
    }

    #[test]
    fn text_that_means_something_to_go_is_kept_as_it_is() {
        let rules = Rules::new(&[]).unwrap();
        let template = Template::new("{{{{x}} \"{value:percent}\"\n", &[], false).unwrap();
        assert_eq!(
            quoted(&annotation(&template, &rules.0[0])),
            r#""{{ \"{{\" }}x} \"{{ $value | humanizePercentage }}\"\n""#
        );
        assert_eq!([1_500_000_000, 90_000_000_000, 3_600_000_000_000].map(duration), ["1500ms", "90s", "1h"]);
    }
}
