//! What holds now, rule by rule and series by series: alerts that are pending, that fire, and that are over. It knows rules
//! and the metrics' series; not where alerts go. Following series that stay as they are allocates nothing.

mod event;
mod track;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::alert::{Alert, State};
use crate::metric::visit::visit;
use crate::outcome::Outcome;
use crate::rule::evaluate::Phase;
use crate::rule::{Condition, Rule, Rules};
use crate::sample::Reading;
use crate::stage::Stage;
use crate::view::View;
use crate::view::firing::{Firing, RuleState};
use event::Told;
use track::{Round, Track};

/// Series that are followed for one rule; more are counted as lost, [`Stage::AlertSeries`], and not looked at.
const SERIES: usize = 10_000;
/// Alerts that fire at the same time; more wait until there is room, and are counted once each, [`Stage::Alert`].
const FIRING: usize = 1000;
/// How long a series may be absent before its alert is over: a source that comes back is no new fire.
const ABSENT: u64 = 60_000_000_000;
/// Between two ticks no more time than this goes by, whatever the clock says.
const STEP: u64 = 120_000_000_000;
/// Incidents that are remembered, so that the completing one does not fire again.
const INCIDENTS: usize = 256;

/// What holds now.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    rules: Option<Arc<Rules>>,
    /// One for each rule.
    tracks: Vec<Track>,
    /// What events set off: one for each rule.
    told: Vec<Vec<Told>>,
    incidents: VecDeque<String>,
    /// How much time has gone by, in nanoseconds; and the host's clock when that was counted.
    elapsed: u64,
    time: u64,
    /// Ticks.
    round: u64,
}

/// Labels as a series or as an incident has them.
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
    /// Of these rules, none of which holds yet.
    pub fn new(rules: Arc<Rules>) -> Alerts {
        let count = rules.0.len();
        let tracks = std::iter::repeat_with(Track::default).take(count).collect();
        Alerts { rules: Some(rules), tracks, told: vec![Vec::new(); count], ..Alerts::default() }
    }

    /// The same rules, and nothing that holds.
    pub(super) fn anew(&self) -> Alerts {
        self.rules.clone().map(Alerts::new).unwrap_or_default()
    }

    /// The state of the rules while none of them fires.
    pub(super) fn none_fires(&self) -> Firing {
        let rules = self.rules.iter().flat_map(|rules| rules.enabled());
        let idle = |rule: &Rule| RuleState {
            name: rule.name.clone(),
            severity: rule.severity,
            fired: 0,
            alerts: Default::default(),
        };
        Firing(rules.map(idle).collect())
    }

    /// How many fire.
    fn firing(&self) -> usize {
        let series = self.tracks.iter().map(|track| track.firing());
        series.sum::<usize>() + self.told.iter().map(Vec::len).sum::<usize>()
    }
}

/// Looks at a sample that the view has taken in, and at what came of it so far; adds what is to be told.
pub(super) fn apply(alerts: &mut Alerts, view: &mut View, time: u64, reading: &Reading, outcomes: &mut Vec<Outcome>) {
    let Some(rules) = alerts.rules.clone() else { return };
    let before = outcomes.len();
    event::incidents(alerts, &rules, time, outcomes);
    match reading {
        Reading::Tick => tick(alerts, view, &rules, time, outcomes),
        // A journal that is late may tell of what has fired again since.
        Reading::Restored(alert) if view.firing.has(alert) => {}
        Reading::Restored(alert) if restore(alerts, &rules, time, alert, outcomes) => view.firing.restore(alert),
        _ => {}
    }
    update(&mut view.firing, &outcomes[before..]);
}

/// The same after the last sample.
pub(super) fn end(alerts: &mut Alerts, view: &mut View, outcomes: &mut Vec<Outcome>) {
    let Some(rules) = alerts.rules.clone() else { return };
    let before = outcomes.len();
    event::incidents(alerts, &rules, view.time, outcomes);
    update(&mut view.firing, &outcomes[before..]);
}

/// What others read follows what is told.
fn update(firing: &mut Firing, outcomes: &[Outcome]) {
    for outcome in outcomes {
        if let Outcome::Alert(alert) = outcome {
            firing.update(alert);
        }
    }
}

fn tick(alerts: &mut Alerts, view: &mut View, rules: &Rules, time: u64, outcomes: &mut Vec<Outcome>) {
    if alerts.time > 0 {
        alerts.elapsed += time.saturating_sub(alerts.time).min(STEP);
    }
    alerts.time = time;
    alerts.round += 1;
    let mut firing = alerts.firing();
    let (mut refused, mut overflown) = (0, 0);
    for (index, rule) in rules.0.iter().enumerate().filter(|(_, rule)| rule.enabled) {
        let Alerts { elapsed, round, .. } = *alerts;
        let now = Round { time, elapsed, number: round, started: view.started };
        match &rule.condition {
            Condition::Threshold(threshold) => {
                let track = &mut alerts.tracks[index];
                let mut tell = |alert: Alert| outcomes.push(Outcome::Alert(Box::new(alert)));
                track.begin();
                visit(&*view, threshold.metric, threshold.part, &mut |labels, number, created| {
                    if threshold.matches(labels) {
                        let seen = track::Seen { labels, number, created };
                        track.see(rule, threshold, &now, seen, &mut firing, &mut tell);
                    }
                });
                track.end(rule, threshold, &now, &mut tell);
                refused += std::mem::take(&mut track.refused);
                overflown += std::mem::take(&mut track.overflown);
            }
            Condition::Event(event) => event::expire(&mut alerts.told[index], event, &now, outcomes),
        }
    }
    if refused > 0 {
        view.coverage.lose(Stage::Alert, refused);
    }
    if overflown > 0 {
        view.coverage.lose(Stage::AlertSeries, overflown);
    }
}

/// Takes up an alert that fired before the agent was restarted: what still holds is no new fire, and what no longer does is
/// told to be over. `true` if it still fires.
fn restore(alerts: &mut Alerts, rules: &Rules, time: u64, alert: &Alert, outcomes: &mut Vec<Outcome>) -> bool {
    if alert.state != State::Firing {
        return false;
    }
    let (elapsed, number) = (alerts.elapsed, alerts.round);
    let taken =
        rules.find(&alert.alert).filter(|(_, rule)| rule.enabled).is_some_and(|(index, rule)| match &rule.condition {
            Condition::Event(event) => {
                let ours = alert.incident.is_some() && event::concerns(event, &alert.labels);
                ours && event::restore(&mut alerts.told[index], alert, elapsed)
            }
            Condition::Threshold(threshold) => {
                let names = threshold.metric.labels;
                let values: Vec<&str> =
                    names.iter().map(|name| alert.labels.get(*name).map_or("", String::as_str)).collect();
                let known = alert.labels.keys().all(|label| names.contains(&label.as_str()));
                let phase = Phase::Firing { started: alert.started, fired: alert.fired };
                known
                    && threshold.matches(&values)
                    && alerts.tracks[index].restore(&values, phase, alert.value, elapsed, number)
            }
        });
    if !taken {
        let over = Alert { state: State::Resolved, resolved: Some(time), ..alert.clone() };
        outcomes.push(Outcome::Alert(Box::new(over)));
    }
    taken
}

/// What a template of an alert is filled with.
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

/// When an alert began, when it was told, and when it was over.
#[derive(Clone, Copy)]
struct Times {
    started: u64,
    fired: u64,
    resolved: Option<u64>,
}

fn alert(rule: &Rule, times: Times, filling: &Filling<'_>, incident: Option<&str>) -> Alert {
    let labels = match filling.labels {
        Labels::Event(labels) => labels.clone(),
        Labels::Series(names, values) => {
            let present = names.iter().zip(values).filter(|(_, value)| !value.is_empty());
            present.map(|(name, value)| ((*name).to_owned(), value.to_string())).collect()
        }
    };
    Alert {
        alert: rule.name.clone(),
        severity: rule.severity,
        labels,
        state: if times.resolved.is_some() { State::Resolved } else { State::Firing },
        started: times.started,
        fired: times.fired,
        resolved: times.resolved,
        value: filling.value,
        summary: rule.summary.fill(filling),
        action: rule.action.fill(filling),
        incident: incident.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests;
