//! Rules evaluated in full: each series at every tick, in the order of its metric. What the engine's alerts are compared with.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::super::{ABSENT, FIRING, Filling, Labels, SERIES, STEP, Times};
use crate::alert::{Alert, State};
use crate::metric::visit::visit;
use crate::rule::evaluate::{Phase, Turn, step};
use crate::rule::window::{Grid, Window};
use crate::rule::{Change, Condition, Rule, Rules, Threshold};
use crate::view::View;

/// How long an absent series that does not fire is remembered, in nanoseconds: a source may skip a tick or two. With many
/// short-lived workloads, a minute would cost megabytes.
const GAP: u64 = 5_000_000_000;

/// The threshold rules of an engine.
pub struct Full {
    rules: Arc<Rules>,
    tracks: Vec<Track>,
    elapsed: u64,
    time: u64,
    round: u64,
}

impl Full {
    pub fn new(rules: Arc<Rules>) -> Full {
        let tracks = rules.0.iter().map(|_| Track::default()).collect();
        Full { rules, tracks, elapsed: 0, time: 0, round: 0 }
    }

    fn thresholds(&mut self) -> impl Iterator<Item = (&Rule, &Threshold, &mut Track)> {
        self.rules.0.iter().zip(&mut self.tracks).filter_map(|(rule, track)| match &rule.condition {
            Condition::Threshold(threshold) => Some((rule, threshold, track)),
            Condition::Event(_) => None,
        })
    }

    /// The rules of which series are pending, each with their number.
    pub fn pending(&mut self) -> Vec<(String, u64)> {
        let is_pending = |series: &&Series| matches!(series.phase, Phase::Pending { .. });
        let count = |track: &Track| track.series.iter().filter(is_pending).count() as u64;
        let all = self.thresholds().map(|(rule, _, track)| (rule.name.to_string(), count(track)));
        all.filter(|(_, count)| *count > 0).collect()
    }

    fn firing(&mut self) -> Vec<Alert> {
        self.thresholds()
            .flat_map(|(rule, threshold, track)| track.firing(rule, threshold).collect::<Vec<_>>())
            .collect()
    }

    /// The same that the engine does at a tick, on the view that it leaves.
    pub fn tick(&mut self, view: &View, time: u64) -> Vec<Alert> {
        if self.time > 0 {
            self.elapsed += time.saturating_sub(self.time).min(STEP);
        }
        self.time = time;
        self.round += 1;
        let now = Round { time, elapsed: self.elapsed, number: self.round, started: view.started };
        let mut firing = self.firing().len();
        let mut alerts = Vec::new();
        for (rule, threshold, track) in self.thresholds() {
            let mut send = |alert| alerts.push(alert);
            track.begin(threshold, &now);
            visit(view, threshold.metric, threshold.part, &mut |labels, number, created| {
                if threshold.matches(labels) {
                    track.see(rule, threshold, &now, Seen { labels, number, created }, &mut firing, &mut send);
                }
            });
            track.end(rule, threshold, &now, &mut send);
        }
        alerts
    }

    /// Takes an alert from before a restart, or from other rules; `false` if no rule has it.
    pub fn restore(&mut self, alert: &Alert) -> bool {
        let (elapsed, round) = (self.elapsed, self.round);
        let Some((_, threshold, track)) = self.thresholds().find(|(rule, ..)| rule.name == alert.alert) else {
            return false;
        };
        let names = threshold.metric.labels;
        let values: Vec<&str> = names.iter().map(|name| alert.labels.get(*name).map_or("", String::as_str)).collect();
        let known = alert.labels.keys().all(|label| names.contains(&label.as_str()));
        let phase = Phase::Firing { started: alert.started, fired: alert.fired };
        known && threshold.matches(&values) && track.restore(&values, phase, alert.value, elapsed, round)
    }

    /// Other rules from now on. Returns the alerts that end.
    pub fn replace(&mut self, rules: Arc<Rules>, time: u64) -> Vec<Alert> {
        let firing = self.firing();
        *self = Full { elapsed: self.elapsed, time: self.time, round: self.round, ..Full::new(rules) };
        let over = firing.into_iter().filter(|alert| alert.state == State::Firing && !self.restore(alert));
        over.map(|alert| alert.resolved(time)).collect()
    }
}

#[derive(Clone, Copy, Debug)]
struct Round {
    /// The host's clock, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Elapsed nanoseconds, which never go backwards.
    pub elapsed: u64,
    /// Tick number.
    pub number: u64,
    /// When the agent started, by the host's clock.
    pub started: u64,
}

/// The current number of a series.
#[derive(Clone, Copy)]
struct Seen<'a> {
    pub labels: &'a [&'a str],
    pub number: f64,
    pub created: u64,
}

/// The series that are followed. A rule on a rate or slope follows all, others only those that are pending or fire.
#[derive(Clone, Debug, Default)]
struct Track {
    /// In the order of the metric, so that the next series is usually the next entry.
    series: Vec<Series>,
    grid: Grid,
    /// Index by the hash of the labels, for series out of order.
    index: HashMap<u64, usize>,
    next: usize,
    /// Number of series seen in this tick.
    places: usize,
    /// The order differs from that of the metric.
    disordered: bool,
    /// Alerts without room, since the caller last reset it.
    pub refused: u64,
    /// Series without room, since the caller last reset it.
    pub overflown: u64,
}

#[derive(Clone, Debug)]
struct Series {
    labels: Box<[Box<str>]>,
    phase: Phase,
    window: Option<Box<Window>>,
    /// The last number.
    number: Option<f64>,
    /// The tick at which it was last seen, and the elapsed time then.
    round: u64,
    elapsed: u64,
    /// Its position among the series of that tick.
    place: usize,
    /// It was already counted as having no room to fire.
    counted: bool,
}

impl Track {
    /// Begins a tick.
    pub fn begin(&mut self, threshold: &Threshold, now: &Round) {
        (self.next, self.places) = (0, 0);
        if let Some(change) = threshold.change {
            self.grid.tick(change, now.elapsed);
        }
    }

    /// Evaluates one series. `firing` is the number of alerts that fire, of all rules.
    pub fn see(
        &mut self,
        rule: &Rule,
        threshold: &Threshold,
        now: &Round,
        seen: Seen<'_>,
        firing: &mut usize,
        send: &mut dyn FnMut(Alert),
    ) {
        let follow = threshold.change.is_some();
        let found = if self.series.is_empty() { None } else { self.find(seen.labels) };
        let index = match found {
            Some(index) => index,
            None if !follow && !threshold.holds(seen.number) => return,
            None if self.series.len() >= SERIES => {
                self.overflown += 1;
                return;
            }
            None => self.insert(seen.labels, now),
        };
        self.disordered |= index != self.next;
        self.next = index + 1;
        let series = &mut self.series[index];
        if series.round == now.number && series.window.is_some() {
            // The same labels twice in a tick: a bug in the metric.
            return;
        }
        (series.round, series.elapsed, series.place) = (now.number, now.elapsed, self.places);
        self.places += 1;
        let number = match threshold.change {
            None => Some((seen.number, true)),
            Some(change) => {
                // A counter that began while the agent ran has grown from zero.
                let fresh = matches!(change, Change::Rate(_)) && seen.created > 0 && seen.created >= now.started;
                let grid = &self.grid;
                let new = || Box::new(Window::new(grid, now.elapsed, seen.number, fresh));
                series.window.get_or_insert_with(new).change(grid, change, now.elapsed, seen.number)
            }
        };
        series.number = number.map(|(number, _)| number).or(series.number);
        let before = series.phase;
        match step(threshold, &mut series.phase, number, now.elapsed) {
            Turn::Nothing => {}
            Turn::Fire { .. } if *firing >= FIRING => {
                // It stays pending, and tries again at the next tick.
                self.refused += u64::from(!std::mem::replace(&mut series.counted, true));
            }
            Turn::Fire { since } => {
                *firing += 1;
                series.counted = false;
                let (started, fired) = (now.time.saturating_sub(since), now.time);
                series.phase = Phase::Firing { started, fired };
                send(series.alert(rule, threshold, Times { started, fired, resolved: None }));
            }
            Turn::Resolve => {
                *firing = firing.saturating_sub(1);
                series.resolve(rule, threshold, before, now, send);
            }
        }
    }

    /// Ends a tick: series that were not seen in it resolve or are forgotten after a while.
    pub fn end(&mut self, rule: &Rule, threshold: &Threshold, now: &Round, send: &mut dyn FnMut(Alert)) {
        let before = self.series.len();
        let absent = |series: &Series| now.elapsed.saturating_sub(series.elapsed) >= ABSENT;
        self.series.retain_mut(|series| {
            let seen = series.round == now.number;
            match series.phase {
                Phase::Firing { .. } if !seen && absent(series) => {
                    let phase = std::mem::take(&mut series.phase);
                    series.resolve(rule, threshold, phase, now, send);
                    false
                }
                Phase::Firing { .. } => true,
                Phase::Pending { .. } | Phase::Idle if !seen => {
                    series.phase = Phase::Idle;
                    series.window.is_some() && now.elapsed.saturating_sub(series.elapsed) < GAP
                }
                Phase::Pending { .. } => true,
                Phase::Idle => series.window.is_some(),
            }
        });
        if self.disordered || self.series.len() < before {
            self.order(now);
        }
    }

    /// Adds a series that fires; `false` if there is no room.
    pub fn restore(&mut self, labels: &[&str], phase: Phase, number: Option<f64>, elapsed: u64, round: u64) -> bool {
        if self.series.len() >= SERIES {
            return false;
        }
        let index = self
            .find(labels)
            .unwrap_or_else(|| self.insert(labels, &Round { time: 0, elapsed, number: round, started: 0 }));
        self.series[index].phase = phase;
        self.series[index].number = number;
        true
    }

    /// The alerts that fire.
    pub fn firing(&self, rule: &Rule, threshold: &Threshold) -> impl Iterator<Item = Alert> {
        self.series.iter().filter_map(|series| match series.phase {
            Phase::Firing { started, fired } => {
                Some(series.alert(rule, threshold, Times { started, fired, resolved: None }))
            }
            _ => None,
        })
    }

    /// The index of a series, usually the one after the last.
    fn find(&self, labels: &[&str]) -> Option<usize> {
        let same = |index: &usize| self.series.get(*index).is_some_and(|series| series.has(labels));
        let next = Some(self.next).filter(same);
        next.or_else(|| self.index.get(&hash(labels.iter().copied())).copied().filter(same))
    }

    fn insert(&mut self, labels: &[&str], now: &Round) -> usize {
        let index = self.series.len();
        self.index.insert(hash(labels.iter().copied()), index);
        self.series.push(Series {
            labels: labels.iter().map(|value| Box::from(*value)).collect(),
            phase: Phase::Idle,
            window: None,
            number: None,
            round: now.number,
            elapsed: now.elapsed,
            place: 0,
            counted: false,
        });
        index
    }

    /// Sorts the series by the order of this tick, absent ones last.
    fn order(&mut self, now: &Round) {
        self.series.sort_unstable_by_key(|series| if series.round == now.number { series.place } else { usize::MAX });
        self.index.clear();
        for (index, series) in self.series.iter().enumerate() {
            self.index.insert(hash(series.labels.iter().map(|value| &**value)), index);
        }
        self.disordered = false;
    }
}

impl Series {
    fn has(&self, labels: &[&str]) -> bool {
        self.labels.len() == labels.len() && self.labels.iter().zip(labels).all(|(ours, other)| **ours == **other)
    }

    fn alert(&self, rule: &Rule, threshold: &Threshold, times: Times) -> Alert {
        let labels = Labels::Series(threshold.metric.labels, &self.labels);
        super::super::alert(rule, times, &Filling { value: self.number, labels, title: "" }, None)
    }

    fn resolve(&self, rule: &Rule, threshold: &Threshold, was: Phase, now: &Round, send: &mut dyn FnMut(Alert)) {
        if let Phase::Firing { started, fired } = was {
            send(self.alert(rule, threshold, Times { started, fired, resolved: Some(now.time) }));
        }
    }
}

fn hash<'a>(labels: impl Iterator<Item = &'a str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    labels.for_each(|label| label.hash(&mut hasher));
    hasher.finish()
}
