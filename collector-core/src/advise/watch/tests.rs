//! Alerts that always, often or never fire.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::advise::stage::{BEGAN, DAY, Host, days};
use crate::alert::Severity;
use crate::past::{Day, Hour};
use crate::view::firing::Firing;

const USED: &str = "headroom_host_memory_used_ratio";
const TOTAL: f64 = 64.0 * (1u64 << 30) as f64;

fn rule(name: &str) -> &'static Rule {
    RULES.iter().find(|rule| rule.name == name).unwrap()
}

/// A rule on the host's memory, of which the most in each hour was this share, with what it did on each of the last days.
fn host(alert: &str, threshold: f64, used: f64, known: u64, did: &[(u32, u32)]) -> Host {
    let mut host = Host::new(&[]);
    let comparison =
        Comparison { metric: USED, matches: Vec::new(), above: true, threshold, clear: None, lasting: 60_000_000_000 };
    let state = RuleState {
        name: alert.into(),
        severity: Severity::Warning,
        fired: 0,
        pending: 0,
        comparison: Some(Arc::new(comparison)),
        alerts: BTreeMap::new(),
    };
    host.view.firing = Firing(vec![state]);
    host.past.events_from = Some(BEGAN - known * DAY);
    host.past.host.days = days(known, |_| Day { limit: Some(TOTAL), ..Day::default() });
    host.past.host.week = vec![Hour { weeks: 1, memory: Some([0.8 * used * TOTAL, used * TOTAL]) }; 168];
    let count = did.len() as u64;
    let day = |(number, (fired, seconds)): (u64, &(u32, u32))| AlertDay {
        time: BEGAN - (count - number) * DAY,
        fired: *fired,
        seconds: *seconds,
    };
    host.past.alerts.insert(alert.into(), (0..).zip(did).map(day).collect());
    host
}

#[test]
fn a_rule_that_always_fires_gets_a_threshold_where_its_number_seldom_is() {
    let always = [(1, 80_000); 7];
    let judged = host("HostMemoryHigh", 0.7, 0.8, 10, &always).judge(rule(ALWAYS));
    let [advice] = &judged.advice[..] else { panic!("{judged:?}") };
    assert_eq!(advice.title, "Raise the threshold of HostMemoryHigh from 0.70 to 0.80: it always fires.");
    assert_eq!(advice.actions[0].commands[0].text, "[[rule]]\nalert = \"HostMemoryHigh\"\nabove = 0.80\n");
    assert_eq!(advice.confidence, Confidence::Low);
    let raw: toml::Table = toml::from_str(&advice.actions[0].commands[0].text).unwrap();
    assert_eq!(raw["rule"][0]["above"].as_float(), Some(0.8));
    // A host that is full is no reason for a higher threshold.
    let full = host("HostMemoryHigh", 0.9, 0.99, 10, &always).judge(rule(ALWAYS));
    assert!(full.advice[0].title.starts_with("Remove what makes HostMemoryHigh fire"), "{full:?}");
    assert!(full.advice[0].risk == Risk::Medium && full.advice[0].actions[0].commands.is_empty(), "{full:?}");
}

#[test]
fn one_that_fires_now_and_then_is_left_alone() {
    let seldom = host("HostMemoryHigh", 0.7, 0.8, 10, &[(2, 20_000); 7]);
    assert!(RULES.iter().all(|rule| seldom.judge(rule).advice.is_empty()));
    let short = host("HostMemoryHigh", 0.7, 0.8, 3, &[(1, 80_000); 3]).judge(rule(ALWAYS));
    assert!(short.advice.is_empty());
    assert_eq!(short.lacking[0].missing, "a week of alerts: there are 3 days");
}

#[test]
fn one_that_comes_and_goes_waits_longer() {
    let judged = host("HostMemoryHigh", 0.7, 0.8, 10, &[(20, 2400); 7]).judge(rule(FLAPS));
    let [advice] = &judged.advice[..] else { panic!("{judged:?}") };
    assert_eq!(advice.title, "Let HostMemoryHigh fire only after 3 min: it comes and goes.");
    assert!(advice.actions[0].commands[0].text.ends_with("for = \"180s\"\n"), "{advice:?}");
    let one = host("HostMemoryHigh", 0.7, 0.8, 10, &[(0, 0), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0), (100, 6000)]);
    assert!(one.judge(rule(FLAPS)).advice.is_empty(), "one bad day");
}

#[test]
fn an_own_rule_that_cannot_fire_is_told_and_one_of_the_pack_is_not() {
    let silent = [(0, 0); 28];
    let judged = host("MyMemory", 0.95, 0.4, 30, &silent).judge(rule(NEVER));
    assert!(judged.advice[0].title.starts_with("Lower the threshold of MyMemory from 0.95 to 0.44"), "{judged:?}");
    assert!(host("HostMemoryHigh", 0.95, 0.4, 30, &silent).judge(rule(NEVER)).advice.is_empty());
    assert!(host("MyMemory", 0.95, 0.9, 30, &silent).judge(rule(NEVER)).advice.is_empty(), "it came near");
    let short = host("MyMemory", 0.95, 0.4, 10, &[]).judge(rule(NEVER));
    assert!(short.advice.is_empty() && short.lacking[0].missing == "four weeks: there are 10 days", "{short:?}");
}
