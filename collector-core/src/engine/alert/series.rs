//! One series that a threshold rule follows: its phase, its window, and when it is to be evaluated although its number does not
//! move.

use super::{ABSENT, FIRING, Filling, Labels, Times};
use crate::alert::Alert;
use crate::metric::visit::Seen;
use crate::rule::evaluate::{Phase, Turn, step};
use crate::rule::window::{Grid, Window};
use crate::rule::{Change, Rule, Threshold};

/// How long an absent series that does not fire is remembered, in nanoseconds: a source may skip a tick or two. With many
/// short-lived workloads, a minute would cost megabytes.
const GAP: u64 = 5_000_000_000;

#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// The host's clock, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Elapsed nanoseconds, which never go backwards.
    pub elapsed: u64,
    /// The same at the tick before.
    pub before: u64,
    /// Tick number.
    pub number: u64,
    /// When the agent started, by the host's clock.
    pub started: u64,
}

/// The alerts of a tick, and how many fire, of all rules.
pub(super) struct Sending {
    pub firing: usize,
    pub alerts: Vec<Alert>,
}

#[derive(Clone, Debug)]
pub(super) struct Series {
    labels: Box<[Box<str>]>,
    pub phase: Phase,
    window: Option<Window>,
    /// The last number that the rule compares.
    number: Option<f64>,
    /// Elapsed time when it was last there, if it is absent now or was just restored.
    there: u64,
    /// It was already counted as having no room to fire.
    counted: bool,
}

impl Series {
    pub fn new(labels: &[&str], elapsed: u64) -> Series {
        Series {
            labels: labels.iter().map(|value| Box::from(*value)).collect(),
            phase: Phase::Idle,
            window: None,
            number: None,
            there: elapsed,
            counted: false,
        }
    }

    pub fn restore(&mut self, phase: Phase, number: Option<f64>) {
        (self.phase, self.number) = (phase, number);
    }

    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().map(|value| &**value)
    }

    pub fn has(&self, labels: &[&str]) -> bool {
        self.labels.len() == labels.len() && self.labels().zip(labels).all(|(ours, other)| *ours == **other)
    }

    /// Begins its window when it is first seen.
    pub fn begin(&mut self, threshold: &Threshold, grid: &Grid, now: &Round, seen: &Seen<'_>) {
        if let (Some(change), None) = (threshold.change, &self.window) {
            // A counter that began while the agent ran has grown from zero.
            let fresh = matches!(change, Change::Rate(_)) && seen.created > 0 && seen.created >= now.started;
            self.window = Some(Window::new(grid, now.elapsed, seen.number, fresh));
        }
    }

    /// Evaluates it with this number of the metric. `true` if it would fire now and has no room, the first time.
    pub fn evaluate(
        &mut self,
        (rule, threshold): (&Rule, &Threshold),
        (grid, now): (&Grid, &Round),
        raw: f64,
        send: &mut Sending,
    ) -> bool {
        let number = match (threshold.change, &mut self.window) {
            (Some(change), Some(window)) => window.change(grid, change, now.elapsed, raw),
            _ => Some((raw, true)),
        };
        self.number = number.map(|(number, _)| number).or(self.number);
        let before = self.phase;
        match step(threshold, &mut self.phase, number, now.elapsed) {
            Turn::Nothing => {}
            // It stays pending, and tries again at the next tick.
            Turn::Fire { .. } if send.firing >= FIRING => return !std::mem::replace(&mut self.counted, true),
            Turn::Fire { since } => {
                send.firing += 1;
                self.counted = false;
                let (started, fired) = (now.time.saturating_sub(since), now.time);
                self.phase = Phase::Firing { started, fired };
                send.alerts.push(self.alert(rule, threshold, Times { started, fired, resolved: None }));
            }
            Turn::Resolve => self.resolved(before, rule, threshold, now, send),
        }
        false
    }

    /// The elapsed time from which on evaluating it may change something although its number stays.
    pub fn due(&self, threshold: &Threshold, grid: &Grid, now: &Round) -> u64 {
        match (&self.window, self.phase) {
            (None, Phase::Pending { since }) => since.saturating_add(threshold.lasting),
            (None, _) => u64::MAX,
            (Some(window), Phase::Idle) if window.rests(grid, threshold, now.elapsed) => u64::MAX,
            (Some(_), _) => 0,
        }
    }

    pub fn is_pending(&self) -> bool {
        matches!(self.phase, Phase::Pending { .. })
    }

    /// Whether it is to be followed on.
    pub fn is_followed(&self) -> bool {
        self.window.is_some() || self.phase != Phase::Idle
    }

    /// It is absent from this tick on.
    pub fn leave(&mut self, now: &Round) {
        self.there = self.there.max(now.before);
        if !matches!(self.phase, Phase::Firing { .. }) {
            self.phase = Phase::Idle;
        }
    }

    /// The elapsed time at which it is forgotten if it stays absent.
    pub fn end(&self) -> u64 {
        match (self.phase, &self.window) {
            (Phase::Firing { .. }, _) => self.there.saturating_add(ABSENT),
            (_, Some(_)) => self.there.saturating_add(GAP),
            (_, None) => 0,
        }
    }

    /// Its alert is over, if it fires.
    pub fn resolve(&mut self, rule: &Rule, threshold: &Threshold, now: &Round, send: &mut Sending) {
        let was = std::mem::take(&mut self.phase);
        self.resolved(was, rule, threshold, now, send);
    }

    fn resolved(&self, was: Phase, rule: &Rule, threshold: &Threshold, now: &Round, send: &mut Sending) {
        if let Phase::Firing { started, fired } = was {
            send.firing = send.firing.saturating_sub(1);
            send.alerts.push(self.alert(rule, threshold, Times { started, fired, resolved: Some(now.time) }));
        }
    }

    pub fn alert(&self, rule: &Rule, threshold: &Threshold, times: Times) -> Alert {
        let labels = Labels::Series(threshold.metric.labels, &self.labels);
        super::alert(rule, times, &Filling { value: self.number, labels, title: "" }, None)
    }
}
