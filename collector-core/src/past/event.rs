//! What happened on which day: kills, and alerts that fired. Knows nothing of use.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::AlertDay;
use super::day::{DAY_NS, midnight};
use crate::alert::{Alert, State};

/// Most rules whose alerts are kept.
const RULES: usize = 512;
/// Most workloads, each on its days, whose kills are kept.
const KILLS: usize = 8192;
/// Most times of a rule that are kept apart.
const SPANS: usize = 4096;

/// What had run out of memory when a process was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// The workload's own limit.
    OwnLimit,
    Host,
    /// A limit above it, or a part of the host; somebody asked for the kill; or it is not known.
    Other,
}

/// Kills on a day: all, and those for which what it is about was short: a workload's own limit, or the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kills {
    pub all: u32,
    pub here: u32,
}

/// Events by day.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// By whose; of the host, those that concern no workload, too.
    kills: BTreeMap<(Option<Arc<str>>, u64), Kills>,
    alerts: BTreeMap<Arc<str>, Fired>,
}

/// Alerts of a rule.
#[derive(Clone, Debug, Default)]
struct Fired {
    /// How often one began to fire, by day.
    counts: BTreeMap<u64, u32>,
    /// When one fired, from when to when.
    spans: Vec<(u64, u64)>,
}

impl Events {
    /// The OOM killer killed so many processes of a workload.
    pub fn kill(&mut self, time: u64, workload: Option<&str>, count: u64, short: Short) {
        let (day, count) = (midnight(time), u32::try_from(count).unwrap_or(u32::MAX));
        let mut add = |key: (Option<Arc<str>>, u64), here: bool| {
            if self.kills.len() < KILLS || self.kills.contains_key(&key) {
                let sum = self.kills.entry(key).or_default();
                sum.all = sum.all.saturating_add(count);
                sum.here = sum.here.saturating_add(if here { count } else { 0 });
            }
        };
        add((None, day), short == Short::Host);
        if let Some(workload) = workload {
            add((Some(workload.into()), day), short == Short::OwnLimit);
        }
    }

    /// An alert fired or resolved, as the journal has it. What was only corrected is no other.
    pub fn alert(&mut self, alert: &Alert, from: u64) {
        match (alert.state, alert.resolved) {
            (State::Firing, _) if alert.updated.is_none() && alert.fired >= from => {
                if let Some(fired) = self.rule(&alert.alert) {
                    let count = fired.counts.entry(midnight(alert.fired)).or_default();
                    *count = count.saturating_add(1);
                }
            }
            (State::Resolved, Some(resolved)) => self.lasted(alert, from, resolved),
            _ => {}
        }
    }

    /// An alert fires still.
    pub fn fires(&mut self, alert: &Alert, from: u64, now: u64) {
        self.lasted(alert, from, now);
    }

    fn lasted(&mut self, alert: &Alert, from: u64, to: u64) {
        let begin = alert.fired.max(from);
        let Some(fired) = self.rule(&alert.alert).filter(|_| begin < to) else { return };
        if fired.spans.len() == SPANS {
            fired.spans = united(std::mem::take(&mut fired.spans));
        }
        if fired.spans.len() < SPANS {
            fired.spans.push((begin, to));
        }
    }

    fn rule(&mut self, name: &Arc<str>) -> Option<&mut Fired> {
        let room = self.alerts.len() < RULES || self.alerts.contains_key(name);
        room.then(|| self.alerts.entry(name.clone()).or_default())
    }

    /// Kills on a day, of a workload or of the host.
    pub(super) fn kills(&self, workload: Option<&Arc<str>>, day: u64) -> Kills {
        self.kills.get(&(workload.cloned(), day)).copied().unwrap_or_default()
    }

    /// The days on which a workload or the host had kills.
    pub(super) fn kill_days(&self, workload: Option<&Arc<str>>) -> impl Iterator<Item = u64> {
        self.kills.range((workload.cloned(), 0)..=(workload.cloned(), u64::MAX)).map(|((_, day), _)| *day)
    }

    /// The workloads that had kills.
    pub(super) fn killed(&self) -> impl Iterator<Item = &Arc<str>> {
        self.kills.keys().filter_map(|(workload, _)| workload.as_ref())
    }

    pub(super) fn alerts(self) -> BTreeMap<Arc<str>, Vec<AlertDay>> {
        self.alerts.into_iter().map(|(rule, fired)| (rule, fired.days())).collect()
    }
}

impl Fired {
    fn days(self) -> Vec<AlertDay> {
        let new = |time| AlertDay { time, ..AlertDay::default() };
        let mut days: BTreeMap<u64, AlertDay> =
            self.counts.into_iter().map(|(time, fired)| (time, AlertDay { fired, ..new(time) })).collect();
        for (mut begin, to) in united(self.spans) {
            while begin < to {
                let (day, end) = (midnight(begin), to.min(midnight(begin).saturating_add(DAY_NS)));
                let seconds = &mut days.entry(day).or_insert_with(|| new(day)).seconds;
                *seconds = seconds.saturating_add(((end - begin) / 1_000_000_000) as u32);
                begin = end;
            }
        }
        days.into_values().collect()
    }
}

/// Spans of which none meets another: alerts of two workloads at one time are one time.
fn united(mut spans: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    spans.sort_unstable();
    let mut united: Vec<(u64, u64)> = Vec::new();
    for (begin, end) in spans {
        match united.last_mut() {
            Some((_, last)) if begin <= *last => *last = end.max(*last),
            _ => united.push((begin, end)),
        }
    }
    united
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Severity;

    const HOUR: u64 = 3_600_000_000_000;

    fn alert(state: State, fired: u64, resolved: Option<u64>) -> Alert {
        Alert {
            alert: "A".into(),
            severity: Severity::Info,
            labels: BTreeMap::new(),
            state,
            started: fired,
            fired,
            resolved,
            value: None,
            summary: String::new(),
            action: String::new(),
            incident: None,
            cause: None,
            updated: None,
        }
    }

    #[test]
    fn an_alert_over_midnight_fires_once_and_lasts_on_both_days() {
        let mut events = Events::default();
        events.alert(&alert(State::Firing, 23 * HOUR, None), 0);
        events.alert(&alert(State::Resolved, 23 * HOUR, Some(26 * HOUR)), 0);
        events.alert(&Alert { updated: Some(1), ..alert(State::Firing, 23 * HOUR, None) }, 0);
        let days = events.alerts().remove("A").unwrap();
        let day = |time, fired, seconds| AlertDay { time, fired, seconds };
        assert_eq!(days, [day(0, 1, 3600), day(DAY_NS, 0, 7200)]);
    }

    #[test]
    fn an_alert_that_fires_since_before_the_first_day_fills_the_days() {
        let mut events = Events::default();
        events.alert(&alert(State::Firing, HOUR, None), DAY_NS);
        events.fires(&alert(State::Firing, HOUR, None), DAY_NS, 2 * DAY_NS + HOUR);
        let days = events.alerts().remove("A").unwrap();
        let day = |time, seconds| AlertDay { time, fired: 0, seconds };
        assert_eq!(days, [day(DAY_NS, 86_400), day(2 * DAY_NS, 3600)]);
    }

    #[test]
    fn two_alerts_of_a_rule_at_one_time_are_one_time() {
        let mut events = Events::default();
        for (fired, resolved) in [(1, 3), (2, 4), (10, 11)] {
            events.alert(&alert(State::Resolved, fired * HOUR, Some(resolved * HOUR)), 0);
        }
        events.alert(&alert(State::Resolved, 5 * HOUR, Some(4 * HOUR)), 0);
        assert_eq!(events.alerts().remove("A").unwrap(), [AlertDay { time: 0, fired: 0, seconds: 4 * 3600 }]);
    }

    #[test]
    fn kills_count_for_the_workload_and_for_the_host() {
        let mut events = Events::default();
        events.kill(HOUR, Some("a"), 2, Short::Other);
        events.kill(HOUR, None, 1, Short::Host);
        events.kill(HOUR, Some("a"), 3, Short::OwnLimit);
        events.kill(DAY_NS, Some("a"), 4, Short::Host);
        let a: Arc<str> = "a".into();
        let kills = |workload, day| {
            let Kills { all, here } = events.kills(workload, day);
            (all, here)
        };
        assert_eq!((kills(Some(&a), 0), kills(None, 0)), ((5, 3), (6, 1)), "for its own limit, and for the host");
        assert_eq!((kills(Some(&a), DAY_NS), kills(None, DAY_NS)), ((4, 0), (4, 4)));
        assert_eq!(events.kill_days(Some(&a)).collect::<Vec<_>>(), [0, DAY_NS]);
        assert_eq!(events.kill_days(Some(&"b".into())).count(), 0);
    }
}
