//! How the host is, and why: the alerts that fire, and what is about to become one. All thresholds are those of the rules.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::alert::{Alert, Severity};
use crate::amount::{bytes, percent, seconds};
use crate::metric::METRICS;
use crate::metric::visit::{Part, visit};
use crate::rule::pattern::Pattern;
use crate::view::View;
use crate::view::firing::{Comparison, RuleState};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    Healthy,
    /// An alert for information fires; or the condition of a rule with a higher severity holds, but not for long enough yet; or a
    /// number is where such an alert, if it fired, would not resolve yet (beyond the rule's `clear`).
    Moderate,
    /// A warning fires.
    Warning,
    /// A critical alert fires.
    Critical,
}

impl Health {
    pub const fn label(self) -> &'static str {
        match self {
            Health::Healthy => "healthy",
            Health::Moderate => "moderate",
            Health::Warning => "warning",
            Health::Critical => "critical",
        }
    }
}

/// At most this many reasons; of more, the last one says how many.
const REASONS: usize = 20;

/// The health with its reasons, the most severe first; no health if no rule is evaluated.
pub(super) fn judge(view: &View, alerts: &[Alert]) -> (Option<Health>, Vec<String>) {
    if view.firing.0.is_empty() {
        return (None, Vec::new());
    }
    let mut reasons: Vec<String> = alerts.iter().map(|alert| alert.summary.clone()).collect();
    reasons.extend(coming(view));
    let health = match alerts.iter().map(|alert| alert.severity).max() {
        Some(Severity::Critical) => Health::Critical,
        Some(Severity::Warning) => Health::Warning,
        _ if reasons.is_empty() => Health::Healthy,
        _ => Health::Moderate,
    };
    if reasons.len() > REASONS {
        let more = reasons.len() - (REASONS - 1);
        reasons.truncate(REASONS - 1);
        reasons.push(format!("{more} more"));
    }
    (Some(health), reasons)
}

/// What is about to fire: first what holds already, then what is near.
fn coming(view: &View) -> Vec<String> {
    let (mut holds, mut near) = (Vec::new(), Vec::new());
    for rule in view.firing.0.iter().filter(|rule| rule.severity >= Severity::Warning) {
        match &rule.comparison {
            Some(comparison) => compare(view, rule, comparison, &mut holds, &mut near),
            None if rule.pending > 0 => {
                let of = if rule.pending == 1 { String::new() } else { format!(" for {}", rule.pending) };
                holds.push(format!("The condition of {} holds{of}: it fires if that lasts", rule.name));
            }
            None => {}
        }
    }
    holds.append(&mut near);
    holds
}

fn compare(view: &View, rule: &RuleState, it: &Comparison, holds: &mut Vec<String>, near: &mut Vec<String>) {
    let Some(metric) = METRICS.iter().find(|metric| metric.name == it.metric) else { return };
    // They were parsed before, as part of the rule.
    let patterns = it.matches.iter().map(|(label, text)| Ok((*label, Pattern::new(text)?)));
    let Ok(patterns) = patterns.collect::<Result<Vec<_>, String>>() else { return };
    let beyond = |number: f64, edge: f64| if it.above { number > edge } else { number < edge };
    visit(view, metric, Part::Whole, &mut |labels, number, _| {
        let concerns = || patterns.iter().all(|(label, pattern)| pattern.matches(labels[*label]));
        let does = beyond(number, it.threshold);
        if !does && !it.clear.is_some_and(|clear| beyond(number, clear)) || !concerns() {
            return;
        }
        let named = || metric.labels.iter().zip(labels).filter(|(_, value)| !value.is_empty());
        let key = || named().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>();
        if !rule.alerts.is_empty() && rule.alerts.contains_key(&key()) {
            return;
        }
        let side = if it.above { "above" } else { "below" };
        let [now, edge] = [number, it.threshold].map(|number| amount(it.metric, number));
        let lasts = match it.lasting {
            0 => String::new(),
            ns => format!(" for {}", seconds(ns as f64 / 1e9)),
        };
        let (who, what) = (subject(named().map(|(name, value)| (*name, *value))), words(it.metric));
        let sentence = format!("{who}: {what} {now}; {} fires {side} {edge}{lasts}", rule.name);
        if does { holds.push(sentence) } else { near.push(sentence) }
    });
}

/// Who has the labels.
fn subject<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let part = |(name, value): (&str, &str)| match name {
        "workload" | "mountpoint" | "device" | "source" | "listener" | "sink" | "reason" => Some(value.to_owned()),
        "gpu" => Some(format!("GPU {value}")),
        "node" => Some(format!("memory node {value}")),
        _ => None,
    };
    let parts: Vec<String> = labels.filter_map(part).collect();
    if parts.is_empty() { "host".to_owned() } else { parts.join(" ") }
}

/// A metric's name as words, without what subject and unit say already.
fn words(metric: &str) -> String {
    let mut name = metric;
    for prefix in ["headroom_", "host_", "workload_", "gpu_"] {
        name = name.strip_prefix(prefix).unwrap_or(name);
    }
    for suffix in ["_ratio", "_bytes", "_celsius", "_seconds"] {
        name = name.strip_suffix(suffix).unwrap_or(name);
    }
    name.replace('_', " ")
}

/// A number in the unit that the metric's name ends in.
fn amount(metric: &str, number: f64) -> String {
    match metric.rsplit('_').next() {
        Some("ratio") => percent(number),
        Some("bytes") => bytes(number as u64),
        Some("celsius") => format!("{number} °C"),
        Some("seconds") => seconds(number),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::Engine;
    use crate::engine::test::start;
    use crate::rule::{Rules, raw};
    use crate::sample::{Reading, Sample};
    use crate::statistic::filesystem;
    use crate::statistic::host::{Statistic, Values};

    const SECOND: u64 = 1_000_000_000;

    /// The health of a host with the default rules, changed by these, after some seconds; by what it reads in each.
    fn health(rules: &str, until: u64, read: impl Fn(u64) -> Vec<Reading>) -> (Option<Health>, Vec<String>) {
        let rules = Rules::new(&raw::read(rules).unwrap()).unwrap();
        let mut engine = Engine::with(Arc::new(rules));
        engine.apply(&Sample { time: SECOND, reading: Reading::Start(start()) });
        for second in 2..2 + until {
            for reading in read(second).into_iter().chain([Reading::Tick]) {
                engine.apply(&Sample { time: second * SECOND, reading });
            }
        }
        let view = engine.view();
        judge(view, &crate::api::alerts::those(view, |_| true))
    }

    /// Memory with this much of 1000 used.
    fn memory(used: u64) -> Reading {
        let mut values = Values::from_iter([(Statistic::MemoryTotal, 1000), (Statistic::MemoryAvailable, 1000 - used)]);
        values.set(Statistic::MemoryPressureSome, 0);
        Reading::Host(values)
    }

    fn disk(mountpoint: &str, used: u64) -> Reading {
        use filesystem::{State, Statistic::*};
        let values = filesystem::Values::from_iter([(Size, 100), (Free, 100 - used), (Available, 100 - used)]);
        let (mountpoint, device, fstype) = (mountpoint.into(), "/dev/vda".into(), "ext4".into());
        let (owner, state) = (None, State::Read(values));
        Reading::Filesystem(filesystem::Reading { mountpoint, device, fstype, owner, state })
    }

    fn said(health: Health, reasons: &[&str]) -> (Option<Health>, Vec<String>) {
        (Some(health), reasons.iter().map(|reason| (*reason).to_owned()).collect())
    }

    #[test]
    fn an_idle_host_is_healthy_and_without_rules_nobody_knows() {
        assert_eq!(health("", 5, |_| vec![memory(800), disk("/", 87)]), said(Health::Healthy, &[]));
        assert_eq!(judge(Engine::new().view(), &[]), (None, Vec::new()));
    }

    #[test]
    fn moderate_is_what_a_rule_would_not_resolve_yet_and_what_has_not_lasted() {
        let near = "host: memory used 88 %; HostMemoryHigh fires above 90 % for 5 min";
        assert_eq!(health("", 5, |_| vec![memory(880)]), said(Health::Moderate, &[near]));
        let pending = "host: memory used 91 %; HostMemoryHigh fires above 90 % for 5 min";
        let disks = "/data /dev/vda: filesystem used 89 %; HostFilesystemFull fires above 90 % for 5 min";
        let both = health("", 5, |_| vec![memory(910), disk("/", 10), disk("/data", 89)]);
        let disks = disks.replace("/data /dev/vda", "/dev/vda /data");
        assert_eq!(both, said(Health::Moderate, &[pending, &disks]));
    }

    #[test]
    fn thresholds_and_matches_are_those_of_the_rules() {
        let changed = "[[rule]]\nalert = \"HostMemoryHigh\"\nabove = 0.5\nclear = 0.4\nfor = \"2s\"\n\
            [[rule]]\nalert = \"HostFilesystemFull\"\nmatch = { mountpoint = \"!/data\" }\n";
        let said_near = "host: memory used 45 %; HostMemoryHigh fires above 50 % for 2.0 s";
        assert_eq!(health(changed, 5, |_| vec![memory(450), disk("/data", 89)]), said(Health::Moderate, &[said_near]));
        let fires = health(changed, 5, |_| vec![memory(510)]);
        assert_eq!(fires, said(Health::Warning, &["Host memory is 51% used"]));
    }

    #[test]
    fn the_worst_alert_decides_and_alerts_for_information_are_moderate() {
        let info = health("[[rule]]\nalert = \"HostMemoryElevated\"\nfor = \"0s\"\n", 5, |_| vec![memory(860)]);
        assert_eq!(info, said(Health::Moderate, &["Host memory is 86% used"]));
        let (health, reasons) = health("", 90, |_| vec![disk("/", 98), memory(10)]);
        assert_eq!(health, Some(Health::Critical));
        assert!(reasons[0].starts_with("/ (/dev/vda) is 98% full: writes are about to fail"), "{reasons:?}");
        assert!(reasons[1].contains("HostFilesystemFull fires above 90 % for 5 min"), "{reasons:?}");
    }

    #[test]
    fn a_rate_that_has_not_lasted_is_counted() {
        let busy = |second: u64| {
            let mut values = Values::from_iter([(Statistic::MajorPageFaults, 1_000_000 * second)]);
            values.set(Statistic::MemoryTotal, 1000);
            vec![Reading::Host(values)]
        };
        let (health, reasons) = health("", 90, busy);
        assert_eq!(health, Some(Health::Moderate));
        assert_eq!(reasons, ["The condition of HostMajorFaultStorm holds: it fires if that lasts"]);
    }

    #[test]
    fn reasons_are_bounded() {
        let (health, reasons) = health("", 3, |_| (0..100).map(|number| disk(&format!("/{number}"), 89)).collect());
        assert_eq!((health, reasons.len()), (Some(Health::Moderate), REASONS));
        assert_eq!(reasons[REASONS - 1], "81 more");
    }
}
