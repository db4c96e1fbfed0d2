//! Values of the last minutes, step by step, and what was usual before. Knows neither what the values are nor what follows from them.

use super::fact::{Fact, Kind};

/// Steps that are kept: three minutes at 5 s.
const STEPS: usize = 36;
/// What left the steps counts for this long, in nanoseconds: after it, a step counts 1/e of what it counted.
const FADES_NS: f64 = 1800e9;

/// What is read of a fact: the number itself, and for a ratio the number that it is divided by.
pub(crate) type Raw = (f64, f64);

/// The values of the facts of one subject.
#[derive(Clone, Debug)]
pub struct Trail {
    facts: &'static [Fact],
    /// When each step ended, and its nanoseconds. Oldest first, from `first` on.
    steps: [(u64, u64); STEPS],
    first: usize,
    count: usize,
    /// Step by step, a value for each fact; NaN where it is not known.
    values: Box<[f32]>,
    /// What was read last, and when.
    raw: Box<[Option<Raw>]>,
    read: u64,
    /// For each fact the integral over the time before the steps, and that time, fading.
    usual: Box<[(f64, f64)]>,
    /// What leaves the steps is not usual.
    held: bool,
}

/// A fact in the time that is judged, and before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Means {
    pub now: f64,
    /// `None` if nothing is known of before.
    pub before: Option<f64>,
}

impl Trail {
    pub(super) fn new(facts: &'static [Fact]) -> Trail {
        Trail {
            facts,
            steps: [(0, 0); STEPS],
            first: 0,
            count: 0,
            values: vec![f32::NAN; STEPS * facts.len()].into(),
            raw: vec![None; facts.len()].into(),
            read: 0,
            usual: vec![(0.0, 0.0); facts.len()].into(),
            held: false,
        }
    }

    /// While somebody is slow, what it does is not usual. Afterwards the steps of that time are forgotten.
    pub(super) fn hold(&mut self, held: bool) {
        if self.held && !held {
            (self.first, self.count) = (0, 0);
        }
        self.held = held;
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// Adds a step that ends now.
    pub(super) fn step(&mut self, time: u64, read: impl Fn(Fact) -> Option<Raw>) {
        let span = time.checked_sub(self.read).filter(|span| *span > 0);
        if span.is_none() || self.read == 0 {
            // The first reading, or the clock was set back.
            (self.first, self.count) = (0, 0);
            self.raw.iter_mut().zip(self.facts).for_each(|(raw, fact)| *raw = read(*fact));
            self.read = time;
            return;
        }
        let span = span.unwrap_or(1);
        if self.count == STEPS {
            self.forget();
        }
        let place = (self.first + self.count) % STEPS;
        self.steps[place] = (time, span);
        self.count += 1;
        let width = self.facts.len();
        let values = &mut self.values[place * width..][..width];
        for ((fact, value), before) in self.facts.iter().zip(values).zip(&mut self.raw) {
            let now = read(*fact);
            *value =
                now.and_then(|now| of_step(fact.kind(), *before, now, span as f64)).map_or(f32::NAN, |it| it as f32);
            *before = now;
        }
        self.read = time;
    }

    /// The oldest step becomes part of what is usual.
    fn forget(&mut self) {
        let (_, span) = self.steps[self.first];
        let (span, width) = (span as f64, self.facts.len());
        if !self.held {
            let fades = (-span / FADES_NS).exp();
            let values = &self.values[self.first * width..][..width];
            for (value, (sum, time)) in values.iter().zip(&mut self.usual) {
                (*sum, *time) = (*sum * fades, *time * fades);
                if !value.is_nan() {
                    (*sum, *time) = (*sum + f64::from(*value) * span, *time + span);
                }
            }
        }
        self.first = (self.first + 1) % STEPS;
        self.count -= 1;
    }

    /// When the judged time begins: no step that began before it is judged.
    pub(crate) fn means(&self, fact: Fact, since: u64, until: u64) -> Option<Means> {
        if fact.kind() == Kind::Setting {
            return self.settings(fact, since, until);
        }
        let (mut now, mut before) = ((0.0, 0.0), self.usual[fact.place()]);
        for (time, span, value) in self.values(fact).filter(|(time, ..)| *time <= until) {
            let sums = if time.saturating_sub(span) >= since { &mut now } else { &mut before };
            // A step in which it began belongs to neither.
            if time.saturating_sub(span) < since && time > since {
                continue;
            }
            *sums = (sums.0 + value * span as f64, sums.1 + span as f64);
        }
        let mean = |(sum, time): (f64, f64)| (time > 0.0).then(|| sum / time);
        Some(Means { now: mean(now)?, before: mean(before) })
    }

    /// The same of a setting: a mean of two limits is none that ever was.
    fn settings(&self, fact: Fact, since: u64, until: u64) -> Option<Means> {
        let steps = || self.values(fact).filter(|(time, ..)| *time <= until);
        let now = steps().filter(|(time, span, _)| time.saturating_sub(*span) >= since);
        let before = steps().take_while(|(time, ..)| *time <= since).last().map(|(.., value)| value);
        let (sum, time) = self.usual[fact.place()];
        let before = before.or_else(|| (time > 0.0).then(|| sum / time));
        Some(Means { now: now.map(|(.., value)| value).reduce(f64::min)?, before })
    }

    /// The last known value.
    #[cfg(test)]
    fn last(&self, fact: Fact) -> Option<f64> {
        self.values(fact).last().map(|(.., value)| value)
    }

    /// Nanoseconds of which the usual is known before a moment, fading.
    pub(crate) fn known_before(&self, since: u64) -> u64 {
        let steps = (0..self.count).map(|step| self.steps[(self.first + step) % STEPS]);
        let before: u64 = steps.filter(|(time, _)| *time <= since).map(|(_, span)| span).sum();
        before + self.usual.iter().map(|(_, time)| *time).fold(0.0, f64::max) as u64
    }

    /// The steps at which the fact is known, oldest first: their end, nanoseconds and value.
    fn values(&self, fact: Fact) -> impl Iterator<Item = (u64, u64, f64)> {
        let (width, column) = (self.facts.len(), fact.place());
        let places = (0..self.count).map(move |step| (self.first + step) % STEPS);
        places.filter_map(move |place| {
            let (time, span) = self.steps[place];
            let value = self.values[place * width + column];
            (!value.is_nan()).then(|| (time, span, f64::from(value)))
        })
    }
}

fn of_step(kind: Kind, before: Option<Raw>, now: Raw, span: f64) -> Option<f64> {
    // A counter that fell was set back.
    let growth = |now: f64, before: f64| Some(now - before).filter(|growth| *growth >= 0.0);
    let rate = || Some(growth(now.0, before?.0)? / (span / 1e9));
    match kind {
        Kind::Level | Kind::Setting => Some(now.0),
        Kind::Rate(unit) => Some(rate()? * unit),
        Kind::Share => Some((rate()? / 1e9).min(1.0)),
        Kind::Ratio => {
            let (part, whole) = (growth(now.0, before?.0)?, growth(now.1, before?.1)?);
            Some(if whole > 0.0 { part / whole } else { 0.0 })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fact::Of;
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// A trail of steps of 5 s, from 100 s on; CPU time grows by `cpus` in each second.
    fn trail(steps: usize, cpus: impl Fn(usize) -> f64) -> Trail {
        let mut trail = Trail::new(Fact::all(Of::Workload));
        let mut used = 1e9;
        for step in 0..=steps {
            let time = (100 + 5 * step as u64) * SECOND;
            trail.step(time, |fact| (fact == Fact::Cpu).then_some((used, f64::NAN)));
            used += cpus(step) * 5e9;
        }
        trail
    }

    fn means(trail: &Trail, since: u64) -> (f64, f64) {
        let means = trail.means(Fact::Cpu, since * SECOND, u64::MAX).unwrap();
        let round = |number: f64| (number * 1000.0).round() / 1000.0;
        (round(means.now), means.before.map_or(f64::NAN, round))
    }

    #[test]
    fn a_limit_is_one_that_was_set_and_no_mean_of_two() {
        let mut trail = Trail::new(Fact::all(Of::Workload));
        let quota = |time: u64| if time <= 25 { 2.0 } else { 0.5 };
        for time in (0..=60).step_by(5) {
            trail.step(time * SECOND, |fact| (fact == Fact::CpuQuota).then(|| (quota(time), f64::NAN)));
        }
        let means = |since: u64| trail.means(Fact::CpuQuota, since * SECOND, 60 * SECOND);
        assert_eq!(means(20), Some(Means { now: 0.5, before: Some(2.0) }), "it was lowered after that");
        assert_eq!(means(40), Some(Means { now: 0.5, before: Some(0.5) }));
    }

    #[test]
    fn before_and_now_are_apart() {
        // From 150 s on, four times as much.
        let trail = trail(20, |step| if step < 10 { 0.5 } else { 2.0 });
        assert_eq!(means(&trail, 150), (2.0, 0.5));
        assert_eq!(means(&trail, 152), (2.0, 0.5), "the step in which it begins belongs to neither");
        assert_eq!(trail.means(Fact::Memory, 150 * SECOND, u64::MAX), None, "it was never read");
        assert_eq!(trail.means(Fact::Cpu, 100 * SECOND, u64::MAX).unwrap().before, None);
        assert_eq!(trail.known_before(150 * SECOND), 50 * SECOND);
    }

    #[test]
    fn what_left_the_steps_is_usual_unless_it_is_held() {
        let long = trail(10 * STEPS, |_| 0.5);
        assert_eq!(means(&long, 100 + 50 * STEPS as u64 - 60), (0.5, 0.5));
        assert!(long.known_before(0) > 1000 * SECOND && long.known_before(0) < 1800 * SECOND);
        let mut held = trail(10 * STEPS, |_| 0.5);
        held.hold(true);
        let (mut used, from) = (1e15, 100 + 50 * STEPS as u64);
        for step in 1..=2 * STEPS as u64 {
            used += 4.0 * 5e9;
            held.step((from + 5 * step) * SECOND, |fact| (fact == Fact::Cpu).then_some((used, 0.0)));
        }
        let (now, before) = means(&held, from + 10 * STEPS as u64 - 60);
        assert_eq!(now, 4.0);
        assert!(before > 0.5, "what is still in the steps counts: {before}");
        assert_eq!(held.means(Fact::Cpu, from * SECOND + 5 * SECOND, u64::MAX).unwrap().before, Some(0.5));
        held.hold(false);
        let until = from + 10 * STEPS as u64;
        for step in 1..=2 * STEPS as u64 {
            used += 0.5 * 5e9;
            held.step((until + 5 * step) * SECOND, |fact| (fact == Fact::Cpu).then_some((used, 0.0)));
        }
        assert_eq!(means(&held, until + 10 * STEPS as u64 - 60), (0.5, 0.5), "the slow time is never usual");
    }

    #[test]
    fn a_counter_that_falls_and_a_clock_that_is_set_back_are_no_growth() {
        let mut trail = trail(3, |_| 1.0);
        trail.step(120 * SECOND, |_| Some((0.0, 0.0)));
        assert_eq!(trail.last(Fact::Cpu), Some(1.0), "it is not known in the last step");
        trail.step(50 * SECOND, |_| Some((0.0, 0.0)));
        assert_eq!((trail.count, trail.last(Fact::Cpu)), (0, None));
        trail.step(55 * SECOND, |_| Some((5e9, 0.0)));
        assert_eq!(trail.last(Fact::Cpu), Some(1.0));
    }

    #[test]
    fn kinds_of_facts() {
        let step = |kind, before, now| of_step(kind, Some(before), now, 5e9);
        assert_eq!(step(Kind::Level, (1.0, 0.0), (7.0, 0.0)), Some(7.0));
        assert_eq!(step(Kind::Share, (0.0, 0.0), (20e9, 0.0)), Some(1.0));
        assert_eq!(step(Kind::Ratio, (1.0, 10.0), (2.0, 14.0)), Some(0.25));
        assert_eq!(step(Kind::Ratio, (1.0, 10.0), (1.0, 10.0)), Some(0.0), "nothing happened");
        assert_eq!(of_step(Kind::Rate(1.0), None, (1.0, 0.0), 5e9), None);
    }
}
