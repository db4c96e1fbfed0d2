//! The state of alerts, by rule and series: pending, firing, resolved. Knows rules and the series of metrics, but not where
//! alerts go. Series of workloads that did not move are not read, and following series that stay the same allocates nothing.

mod event;
mod series;
mod track;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::alert::{Alert, State};
use crate::incident::Incident;
use crate::metric::visit::{Part, each};
use crate::outcome::Outcome;
use crate::rate::{Bucket, Rates};
use crate::rule::evaluate::Phase;
use crate::rule::{Condition, Rule, Rules, Side};
use crate::sample::Reading;
use crate::stage::Stage;
use crate::view::View;
use crate::view::firing::{Comparison, Firing, RuleState};
use event::Fired;
use series::{Round, Sending};
use track::Track;

/// At most this many series are followed for a rule. More are ignored and counted as lost, [`Stage::AlertSeries`].
const SERIES: usize = 10_000;
/// At most this many alerts fire at the same time. More wait for room, and are counted once each, [`Stage::Alert`].
const FIRING: usize = 1000;
/// How long a series may be absent before its alert resolves, in nanoseconds. A source that returns earlier does not fire again.
const ABSENT: u64 = 60_000_000_000;
/// At most this much time elapses between two ticks, in nanoseconds, whatever the clock says.
const STEP: u64 = 120_000_000_000;
/// Incidents that are remembered, so that their second report does not fire again.
const INCIDENTS: usize = 256;

/// Alerts of incidents that one owner of workloads has one by one: 10 after a quiet time, then one a minute. More become one alert
/// about the owner.
const OWNER: Bucket = Bucket::new(1.0 / 60.0, 10.0);

#[derive(Clone, Debug)]
pub struct Alerts {
    rules: Option<Arc<Rules>>,
    /// Series of threshold rules, by rule.
    tracks: Vec<Track>,
    /// Alerts of event rules, by rule.
    fired: Vec<Vec<Fired>>,
    /// Their ids, and the causes that were reported.
    incidents: VecDeque<(String, String)>,
    /// How often each owner of workloads had an incident.
    rates: Rates,
    /// Elapsed time in nanoseconds, and the host's clock at that moment.
    elapsed: u64,
    time: u64,
    /// Number of ticks.
    round: u64,
    /// What this host could measure at the last tick, [`crate::view::coverage::Coverage::known`].
    known: Option<(u64, bool, bool)>,
}

impl Default for Alerts {
    fn default() -> Alerts {
        Alerts {
            rules: None,
            tracks: Vec::new(),
            fired: Vec::new(),
            incidents: VecDeque::new(),
            rates: Rates::new(OWNER),
            elapsed: 0,
            time: 0,
            round: 0,
            known: None,
        }
    }
}

/// Labels of a series or of an incident.
#[derive(Clone, Copy)]
enum Labels<'a> {
    Series(&'static [&'static str], &'a [Box<str>]),
    Event(&'a BTreeMap<String, String>),
}

impl<'a> Labels<'a> {
    fn get(self, name: &str) -> &'a str {
        match self {
            Labels::Series(names, values) => {
                names.iter().position(|other| *other == name).and_then(|index| values.get(index)).map_or("", |it| it)
            }
            Labels::Event(labels) => labels.get(name).map_or("", String::as_str),
        }
    }
}

impl Alerts {
    /// These rules, without any alert.
    pub fn new(rules: Arc<Rules>) -> Alerts {
        let count = rules.0.len();
        let tracks = std::iter::repeat_with(Track::default).take(count).collect();
        Alerts { rules: Some(rules), tracks, fired: vec![Vec::new(); count], ..Alerts::default() }
    }

    /// The same rules, without any alert.
    pub(super) fn cleared(&self) -> Alerts {
        self.rules.clone().map(Alerts::new).unwrap_or_default()
    }

    /// Replaces the rules. An alert that fires goes on if its rule is still there, else it resolves. Pending alerts start again.
    pub(super) fn replace(&mut self, rules: Arc<Rules>, view: &mut View, time: u64) -> Vec<Outcome> {
        let firing: Vec<Alert> = self.firing().collect();
        let next = Alerts::new(rules.clone());
        (self.rules, self.tracks, self.fired) = (next.rules, next.tracks, next.fired);
        let counts = std::mem::replace(&mut view.firing, self.none_fires());
        for rule in &mut view.firing.0 {
            rule.fired = counts.0.iter().find(|before| before.name == rule.name).map_or(0, |before| before.fired);
        }
        let mut outcomes = Vec::new();
        for alert in firing {
            if restore(self, &rules, time, &alert, &mut outcomes) {
                view.firing.restore(&alert);
            }
        }
        outcomes
    }

    fn firing(&self) -> impl Iterator<Item = Alert> {
        let rules = self.rules.iter().flat_map(|rules| rules.0.iter());
        rules.zip(&self.tracks).zip(&self.fired).flat_map(|((rule, track), fired)| {
            let series: Vec<Alert> = match &rule.condition {
                Condition::Threshold(threshold) => track.firing(rule, threshold).collect(),
                Condition::Event(_) => Vec::new(),
            };
            series.into_iter().chain(fired.iter().map(|one| one.alert.clone()))
        })
    }

    /// The state of the rules while none of them fires.
    pub(super) fn none_fires(&self) -> Firing {
        let rules = self.rules.iter().flat_map(|rules| rules.enabled());
        let idle = |rule: &Rule| RuleState {
            name: rule.name.clone(),
            severity: rule.severity,
            fired: 0,
            pending: 0,
            comparison: comparison(&rule.condition).map(Arc::new),
            alerts: BTreeMap::new(),
        };
        Firing(rules.map(idle).collect())
    }
}

/// The condition as plain data, if it compares a metric as it is.
fn comparison(condition: &Condition) -> Option<Comparison> {
    let Condition::Threshold(threshold) = condition else { return None };
    if threshold.change.is_some() || threshold.part != Part::Whole {
        return None;
    }
    let matches = threshold.matches.iter().map(|(label, pattern)| {
        let (operator, text) = pattern.prometheus();
        (*label, format!("{}{text}", if operator == "!~" { "!" } else { "" }))
    });
    Some(Comparison {
        metric: threshold.metric.name,
        matches: matches.collect(),
        above: threshold.side == Side::Above,
        threshold: threshold.threshold,
        clear: threshold.clear,
        lasting: threshold.lasting,
    })
}

/// Evaluates a sample that the view has applied, and its outcomes so far. Adds alerts to the outcomes.
pub(super) fn apply(alerts: &mut Alerts, view: &mut View, time: u64, reading: &Reading, outcomes: &mut Vec<Outcome>) {
    let Some(rules) = alerts.rules.clone() else { return };
    let before = outcomes.len();
    event::incidents(alerts, &rules, &view.workloads, time, outcomes);
    update(&mut view.firing, &outcomes[before..]);
    let before = outcomes.len();
    match reading {
        Reading::Tick => tick(alerts, view, &rules, time, outcomes),
        // A late journal may report an alert that has fired again since.
        Reading::Restored(alert) if view.firing.has(alert) => {}
        Reading::Restored(alert) if restore(alerts, &rules, time, alert, outcomes) => view.firing.restore(alert),
        _ => {}
    }
    update(&mut view.firing, &outcomes[before..]);
}

/// Evaluates the outcomes after the last sample.
pub(super) fn end(alerts: &mut Alerts, view: &mut View, outcomes: &mut Vec<Outcome>) {
    let Some(rules) = alerts.rules.clone() else { return };
    let before = outcomes.len();
    event::incidents(alerts, &rules, &view.workloads, view.time, outcomes);
    update(&mut view.firing, &outcomes[before..]);
}

/// Keeps the public state in step with the alerts.
fn update(firing: &mut Firing, outcomes: &[Outcome]) {
    for outcome in outcomes {
        if let Outcome::Alert(alert) = outcome {
            firing.update(alert);
        }
    }
}

fn tick(alerts: &mut Alerts, view: &mut View, rules: &Rules, time: u64, outcomes: &mut Vec<Outcome>) {
    let before = alerts.elapsed;
    if alerts.time > 0 {
        alerts.elapsed += time.saturating_sub(alerts.time).min(STEP);
    }
    alerts.time = time;
    alerts.round += 1;
    let known = view.coverage.known();
    let same = alerts.known.replace(known) == Some(known);
    let mut sending = Sending { firing: view.firing.count(), alerts: Vec::new() };
    let (mut refused, mut overflown) = (0, 0);
    let enabled = rules.0.iter().enumerate().filter(|(_, rule)| rule.enabled);
    for (state, (index, rule)) in enabled.enumerate() {
        let Alerts { elapsed, round, .. } = *alerts;
        let now = Round { time, elapsed, before, number: round, started: view.started };
        match &rule.condition {
            Condition::Threshold(threshold) => {
                let track = &mut alerts.tracks[index];
                let moved = same && track.complete;
                track.begin(threshold, &now);
                each(&*view, threshold.metric, threshold.part, moved, &mut |seen| {
                    if threshold.matches(seen.labels) {
                        let renamed = seen.workload.is_some_and(|slot| view.workloads.is_renamed(slot));
                        track.see(threshold, &now, &seen, renamed);
                    }
                });
                let first = sending.alerts.len();
                track.end((rule, threshold), &now, moved.then_some(&view.workloads), &mut sending);
                // Series are in the order in which they came.
                sending.alerts[first..].sort_by(|one, other| one.labels.cmp(&other.labels));
                if let Some(state) = view.firing.0.get_mut(state) {
                    state.pending = track.pending;
                }
                refused += std::mem::take(&mut track.refused);
                overflown += std::mem::take(&mut track.overflown);
            }
            Condition::Event(event) => event::expire(&mut alerts.fired[index], event, &now, &mut sending.alerts),
        }
    }
    outcomes.extend(sending.alerts.into_iter().map(|alert| Outcome::Alert(Box::new(alert))));
    if refused > 0 {
        view.coverage.lose(Stage::Alert, refused);
    }
    if overflown > 0 {
        view.coverage.lose(Stage::AlertSeries, overflown);
    }
}

/// Restores an alert that fired before the agent was restarted, so that it does not fire again. If no rule has it any more, it
/// resolves. `true` if it still fires.
fn restore(alerts: &mut Alerts, rules: &Rules, time: u64, alert: &Alert, outcomes: &mut Vec<Outcome>) -> bool {
    if alert.state != State::Firing {
        return false;
    }
    let elapsed = alerts.elapsed;
    let taken =
        rules.find(&alert.alert).filter(|(_, rule)| rule.enabled).is_some_and(|(index, rule)| match &rule.condition {
            Condition::Event(event) => {
                let ours = alert.incident.is_some() && event::concerns(event, &alert.labels);
                ours && event::restore(&mut alerts.fired[index], alert, elapsed)
            }
            Condition::Threshold(threshold) => {
                let names = threshold.metric.labels;
                let values: Vec<&str> =
                    names.iter().map(|name| alert.labels.get(*name).map_or("", String::as_str)).collect();
                let known = alert.labels.keys().all(|label| names.contains(&label.as_str()));
                let phase = Phase::Firing { started: alert.started, fired: alert.fired };
                known
                    && threshold.matches(&values)
                    && alerts.tracks[index].restore(&values, phase, alert.value, elapsed)
            }
        });
    if !taken {
        outcomes.push(Outcome::Alert(Box::new(alert.clone().resolved(time))));
    }
    taken
}

/// The values that fill the templates of an alert.
struct Filling<'a> {
    value: Option<f64>,
    labels: Labels<'a>,
    title: &'a str,
}

impl crate::rule::template::Filling for Filling<'_> {
    fn value(&self) -> Option<f64> {
        self.value
    }

    fn label(&self, name: &str) -> &str {
        self.labels.get(name)
    }

    fn title(&self) -> &str {
        self.title
    }
}

/// Times of an alert, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy)]
struct Times {
    started: u64,
    fired: u64,
    resolved: Option<u64>,
}

fn alert(rule: &Rule, times: Times, filling: &Filling<'_>, incident: Option<&Incident>) -> Alert {
    let labels = match filling.labels {
        Labels::Event(labels) => labels.clone(),
        Labels::Series(names, values) => {
            let present = names.iter().zip(values).filter(|(_, value)| !value.is_empty());
            present.map(|(name, value)| ((*name).to_owned(), value.to_string())).collect()
        }
    };
    let alert = Alert {
        alert: rule.name.clone(),
        severity: rule.severity,
        labels,
        state: State::Firing,
        started: times.started,
        fired: times.fired,
        resolved: None,
        value: filling.value,
        summary: rule.summary.fill(filling),
        action: rule.action.fill(filling),
        incident: incident.map(|incident| incident.id.clone()),
        cause: incident.map(|incident| incident.cause.sentence.clone()),
        updated: None,
    };
    match times.resolved {
        Some(time) => alert.resolved(time),
        None => alert,
    }
}

#[cfg(test)]
mod tests;
