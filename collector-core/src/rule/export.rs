//! Exports the rules as Prometheus' alerting rules: the same conditions on the same metrics. What Prometheus cannot express is
//! written as a comment.

use std::fmt::Write as _;
use std::time::Duration;

use super::template::{Form, Piece, Template, Word};
use super::{Change, Condition, Event, Rule, Rules, Side, Threshold};
use crate::incident::Kind;
use crate::metric::row::Detail;
use crate::metric::visit::Part;

/// The counter that grows with incidents of this kind, if there is one.
fn counter(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Oom => Some("headroom_oom_kills_total"),
        Kind::MemoryPressure => Some("headroom_host_pressure_events_total{resource=\"memory\"}"),
        Kind::IoPressure => Some("headroom_host_pressure_events_total{resource=\"io\"}"),
        Kind::GpuLost | Kind::Killed | Kind::Latency | Kind::GpuStarved | Kind::Leak => None,
    }
}

const HEAD: &str = "# Headroom's rules as Prometheus' alerting rules: `headroom rules --format prometheus` writes them from the
# configuration. Prometheus has no hysteresis (clear): where a rule uses it, a comment says so, and here the alert resolves at
# the threshold. The agent evaluates rules every tick, Prometheus every evaluation interval.
groups:
  - name: headroom
    rules:
";

/// The rules file, in YAML.
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
                line(text, format_args!("      # In the agent, {} resolves at {clear:?}.", rule.name));
            }
            if let Some(what) = hidden(threshold) {
                let (name, metric) = (&rule.name, threshold.metric.name);
                line(
                    text,
                    format_args!(
                        "      # {name} needs metrics.detail = \"full\": else /metrics has {what} of {metric}."
                    ),
                );
            }
            (threshold_expression(threshold), threshold.lasting)
        }
        Condition::Event(event) => match event_expression(event) {
            Some(expression) => (expression, 0),
            None => {
                let (name, kind) = (&rule.name, event.kind.name());
                return line(text, format_args!("      # {name} is about the incident {kind}, which has no metric."));
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
    if let Some(path) = super::runbook::path(rule) {
        line(text, format_args!("          runbook_url: {}/blob/main/{path}", env!("CARGO_PKG_REPOSITORY")));
    }
}

/// Which series that a rule reads are not in /metrics at the usual level of detail; the agent's own rules see them all.
fn hidden(threshold: &Threshold) -> Option<&'static str> {
    let none = "no series";
    let Detail::By(parts) = threshold.metric.detail else { return threshold.metric.detail.is_full().then_some(none) };
    let chosen = |value: &str| threshold.matches.iter().any(|(_, pattern)| pattern.matches(value));
    // A pattern for another label chooses none by name.
    let is_chosen = parts.iter().any(|(value, _)| !value.is_empty() && chosen(value));
    let others = "\u{fffd}";
    let read = parts.iter().filter(|(value, _)| !is_chosen || chosen(if value.is_empty() { others } else { value }));
    let full: Vec<bool> = read.map(|(_, detail)| detail.is_full()).collect();
    match full.iter().filter(|full| **full).count() {
        0 => None,
        count if count == full.len() => Some(none),
        _ => Some("not all series"),
    }
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
                // To Prometheus, a series that starts at 1 has not grown.
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

/// The template in Go's syntax, with Prometheus' functions for numbers.
fn annotation(template: &Template, rule: &Rule) -> String {
    let mut text = String::new();
    for piece in &template.0 {
        match piece {
            // Only double braces have a meaning in Go.
            Piece::Text(plain) => text += &plain.replace("{{", "{{ \"{{\" }}"),
            Piece::Value(Form::Plain) => text += "{{ printf \"%.4g\" $value }}",
            Piece::Value(Form::Percent) => text += "{{ $value | humanizePercentage }}",
            Piece::Value(Form::Bytes) => text += "{{ $value | humanize1024 }}B",
            Piece::Value(Form::Duration) => text += "{{ $value | humanizeDuration }}",
            Piece::Label(name, Word::Plain | Word::Xid) => {
                let _ = write!(text, "{{{{ $labels.{name} }}}}");
            }
            Piece::Label(_, Word::XidAction) => {
                text += "Look up the XID in docs/rules.md for its meaning and what to do."
            }
            Piece::Title => {
                let _ = write!(text, "{}{{{{ with $labels.workload }}}} of {{{{ . }}}}{{{{ end }}}}", rule.name);
            }
        }
    }
    text
}

/// A JSON string, which is also a string in YAML and in Go.
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
    fn conditions_are_written_in_promql() {
        assert_eq!(expression("HostMemoryHigh"), "headroom_host_memory_used_ratio > 0.9");
        assert_eq!(
            expression("HostMemoryPressure"),
            "rate(headroom_host_memory_short_wait_seconds_total{kind=~\"waiting\"}[1m]) > 0.2"
        );
        assert_eq!(expression("GpuMemoryLeak"), "headroom_leak_exhaustion_seconds{kind=~\"vram\"} < 86400");
        assert_eq!(
            expression("HostIoFailing"),
            "rate(headroom_block_io_errors_total[5m]) > 0 or \
             (headroom_block_io_errors_total unless headroom_block_io_errors_total offset 5m) > 0"
        );
        assert!(expression("GpuXidUnknown").contains("{xid!~\"8|13|"));
        assert!(expression("OomKill").starts_with("increase(headroom_oom_kills_total[5m]) > 0 or "));
    }

    #[test]
    fn every_enabled_rule_is_exported_or_named_in_a_comment() {
        let rules = Rules::new(&[]).unwrap();
        let text = export(&rules);
        for rule in &rules.0 {
            let there = text.contains(&format!("- alert: {}\n", rule.name));
            let named = text.contains(&format!("# {} is about", rule.name));
            assert_eq!(there || named, rule.enabled, "{}", rule.name);
        }
        assert!(text.contains("# In the agent, HostMemoryHigh resolves at 0.87.\n"));
    }

    #[test]
    fn growth_is_a_derivative() {
        let rule = "alert = \"Own\"\nmetric = \"headroom_workload_memory_current_bytes\"\nslope = \"10m\"\nabove = 5\nseverity = \"info\"\n\
                    summary = \"s\"\naction = \"a\"";
        let text = export(&Rules::new(&[toml::from_str(rule).unwrap()]).unwrap());
        assert!(text.contains("deriv(headroom_workload_memory_current_bytes[10m]) > 5"), "{text}");
    }

    #[test]
    fn a_rule_whose_metric_is_hidden_says_so() {
        let own = |metric: &str, labels: &str| {
            let rule = format!(
                "alert = \"Own\"\nmetric = \"{metric}\"\nabove = 1\nseverity = \"info\"\nsummary = \"s\"\naction = \"a\"\n{labels}"
            );
            let text = export(&Rules::new(&[toml::from_str(&rule).unwrap()]).unwrap());
            let comment = text.lines().find(|line| line.contains("# Own needs metrics.detail")).map(str::to_owned);
            comment.map(|comment| comment.split("else /metrics has ").nth(1).unwrap_or_default().to_owned())
        };
        let full = "headroom_workload_memory_limit_working_set_ratio";
        assert_eq!(own(full, ""), Some(format!("no series of {full}.")));
        assert_eq!(own("headroom_host_memory_used_ratio", ""), None);
        // Of the CPU's pressure there are none, of the others' there are.
        let parted = "headroom_workload_pressure_stalled_seconds_total";
        let of = |matches: &str| own(parted, &format!("rate = \"1m\"\n{matches}"));
        assert_eq!(of("match = { resource = \"cpu\" }"), Some(format!("no series of {parted}.")));
        assert_eq!(of("match = { resource = \"memory\" }"), None);
        assert_eq!(of("match = { resource = \"!cpu\" }"), None);
        let some = Some(format!("not all series of {parted}."));
        assert_eq!([of(""), of("match = { workload = \"web\" }")], [some.clone(), some]);
        let text = export(&Rules::new(&[]).unwrap());
        assert!(!text.contains("needs metrics.detail"), "the default rules need no more than is shown: {text}");
    }

    #[test]
    fn go_syntax_in_text_is_escaped() {
        let rules = Rules::new(&[]).unwrap();
        let template = Template::new("{{{{x}} \"{value:percent}\"\n", &[], false).unwrap();
        assert_eq!(
            quoted(&annotation(&template, &rules.0[0])),
            r#""{{ \"{{\" }}x} \"{{ $value | humanizePercentage }}\"\n""#
        );
        assert_eq!([1_500_000_000, 90_000_000_000, 3_600_000_000_000].map(duration), ["1500ms", "90s", "1h"]);
    }
}
