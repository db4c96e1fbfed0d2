//! Trends of generated hours: how many leaks are found, and how often one is told that is none.

use super::series::Point;
use super::shape::{Missing, Number, Shape, judge};

const MINUTE: u64 = 60_000_000_000;
const HOUR: u64 = 60 * MINUTE;
const LIMIT: f64 = 16e9;

/// Numbers that are the same everywhere.
struct Dice(u64);

impl Dice {
    /// Between 0 and 1.
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1u32 << 31)
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.roll()
    }
}

/// A number and the work behind it, minute by minute, as shares of the limit.
#[derive(Clone, Default)]
struct Hours {
    values: Vec<f64>,
    work: Vec<f64>,
    /// Minutes that are missing.
    gaps: Vec<bool>,
    starts: Vec<u64>,
    /// From this minute on the clock is so much earlier.
    jump: Option<(usize, u64)>,
}

impl Hours {
    fn new(dice: &mut Dice, minutes: usize) -> Hours {
        let level = dice.between(0.1, 0.5);
        Hours { values: vec![level; minutes], work: vec![1.0; minutes], gaps: vec![false; minutes], ..Hours::default() }
    }

    fn add(&mut self, more: impl Fn(f64) -> f64) {
        self.values.iter_mut().enumerate().for_each(|(minute, value)| *value += more(minute as f64));
    }

    /// Up to 1 % of the limit.
    fn noise(&mut self, dice: &mut Dice) {
        let size = dice.between(0.0, 0.01);
        self.values.iter_mut().for_each(|value| *value += size * (dice.roll() - 0.5) * 2.0);
        let size = dice.between(0.0, 0.2);
        self.work.iter_mut().for_each(|value| *value *= 1.0 + size * (dice.roll() - 0.5));
    }

    /// Up to 10 %, in periods of up to ten minutes.
    fn saw(&mut self, dice: &mut Dice) {
        let (height, period, phase) = (dice.between(0.0, 0.1), dice.between(1.0, 10.0), dice.between(0.0, 10.0));
        self.add(|minute| height * ((minute + phase) / period).fract());
    }

    /// A program that loads, and fills its caches.
    fn warm_up(&mut self, dice: &mut Dice, at: usize) {
        let (height, minutes) = (dice.between(0.05, 0.4), dice.between(1.0, 12.0));
        self.add(
            |minute| if minute < at as f64 { 0.0 } else { height * (1.0 - (-(minute - at as f64) / minutes).exp()) },
        );
        self.starts.push((at as u64 + 1) * MINUTE);
    }

    fn day(&mut self, dice: &mut Dice) {
        let (height, phase) = (dice.between(0.02, 0.2), dice.between(0.0, 24.0));
        let of = |minute: f64| 0.5 + 0.5 * ((minute / 60.0 + phase) / 24.0 * std::f64::consts::TAU).sin();
        self.add(|minute| height * of(minute));
        self.work.iter_mut().enumerate().for_each(|(minute, work)| *work *= 0.2 + of(minute as f64));
    }

    fn step(&mut self, dice: &mut Dice) {
        let (by, at) = (dice.between(-0.1, 0.3), dice.between(0.0, self.values.len() as f64));
        self.add(|minute| if minute < at { 0.0 } else { by });
    }

    fn gap(&mut self, dice: &mut Dice) {
        let (at, length) = (dice.between(0.0, self.gaps.len() as f64) as usize, dice.between(1.0, 25.0) as usize);
        self.gaps.iter_mut().skip(at).take(length).for_each(|gap| *gap = true);
    }

    fn points(&self, of: &[f64], scale: f64) -> Vec<Point> {
        let points = of.iter().enumerate().filter(|(minute, _)| !self.gaps[*minute]).map(|(minute, value)| {
            let back = self.jump.filter(|(at, _)| minute >= *at).map_or(0, |(_, back)| back);
            // Within a minute it moves a little, too.
            let value = value.max(0.0) * scale;
            let time = (minute as u64 + 1) * MINUTE + 100 * HOUR - back;
            Point { time, low: value * 0.998, mean: value, high: value * 1.002 }
        });
        points.collect()
    }

    fn judge(&self) -> Shape {
        let (points, work) = (self.points(&self.values, LIMIT), self.points(&self.work, 1.0));
        let starts: Vec<u64> = self.starts.iter().map(|start| start + 100 * HOUR).collect();
        judge(&Number { points: &points, scale: LIMIT, starts: &starts, work: &work })
    }
}

/// Hours without a leak, of all kinds.
fn innocent(dice: &mut Dice) -> Hours {
    let kind = (dice.roll() * 8.0) as u32;
    let minutes = if kind == 3 { dice.between(60.0, 60.0 * 72.0) } else { dice.between(30.0, 60.0 * 24.0) } as usize;
    let mut hours = Hours::new(dice, minutes);
    match kind {
        0 => hours.noise(dice),
        1 => hours.saw(dice),
        2 => hours.warm_up(dice, 0),
        3 => hours.day(dice),
        4 => hours.step(dice),
        5 => {
            let at = dice.between(0.0, minutes as f64) as usize;
            hours.values.iter_mut().take(at).for_each(|value| *value += 0.4);
            hours.warm_up(dice, at);
        }
        6 => hours.gap(dice),
        _ => {
            hours.jump = Some((dice.between(0.0, minutes as f64) as usize, dice.between(0.0, 3.0 * HOUR as f64) as u64))
        }
    }
    for more in [Hours::saw, Hours::gap] {
        if dice.roll() < 0.4 {
            more(&mut hours, dice);
        }
    }
    hours.noise(dice);
    hours
}

#[test]
fn leaks_are_found_within_two_hours_of_warm_running() {
    let mut dice = Dice(7);
    let found = |hours: &Hours| matches!(hours.judge(), Shape::Leak(_));
    let leaks = (0..2000).filter(|_| {
        let minutes = 120 + 30;
        let mut hours = Hours::new(&mut dice, minutes);
        let pace = 0.05;
        if dice.roll() < 0.5 {
            hours.warm_up(&mut dice, 0);
        }
        if dice.roll() < 0.5 {
            hours.saw(&mut dice);
        }
        if dice.roll() < 0.3 {
            hours.gap(&mut dice);
        }
        hours.add(|minute| pace * minute / 60.0);
        hours.noise(&mut dice);
        found(&hours)
    });
    let share = leaks.count() as f64 / 2000.0;
    assert!(share >= 0.95, "{share}");
}

#[test]
fn what_is_no_leak_is_not_told_as_one() {
    let mut dice = Dice(11);
    let mut told = Vec::new();
    for number in 0..4000 {
        let hours = innocent(&mut dice);
        if let Shape::Leak(leak) = hours.judge() {
            told.push((number, leak));
        }
    }
    assert!(told.len() <= 40, "{} of 4000: {:?}", told.len(), &told[..told.len().min(5)]);
}

#[test]
fn shapes_are_told_apart() {
    let mut dice = Dice(3);
    let hours = |change: fn(&mut Hours)| {
        let mut hours =
            Hours { values: vec![0.3; 240], work: vec![1.0; 240], gaps: vec![false; 240], ..Hours::default() };
        change(&mut hours);
        hours.judge()
    };
    assert_eq!(hours(|_| {}), Shape::Flat);
    assert!(matches!(hours(|it| it.add(|minute| 0.1 * (minute / 7.0).fract())), Shape::Saw { .. }));
    let Shape::Step { by, .. } = hours(|it| it.add(|minute| if minute < 200.0 { 0.0 } else { 0.2 })) else {
        panic!("no step")
    };
    assert!((by / LIMIT - 0.2).abs() < 0.03, "{by}");
    let Shape::Leak(leak) = hours(|it| it.add(|minute| 0.1 * minute / 60.0)) else { panic!("no leak") };
    assert!((leak.line.slope / LIMIT - 0.1).abs() < 0.005, "{leak:?}");
    let with_work = |it: &mut Hours| {
        it.add(|minute| 0.1 * minute / 60.0);
        it.work.iter_mut().enumerate().for_each(|(minute, work)| *work = 1.0 + minute as f64 / 60.0);
    };
    assert!(matches!(hours(with_work), Shape::Work(_)));
    assert_eq!(hours(|it| it.starts.push(215 * MINUTE)), Shape::NotEnoughData(Missing::Time { has: 0, needs: HOUR }),);
    let mut days = Hours::new(&mut dice, 60 * 72);
    days.add(|minute| 0.2 * (minute / 60.0 / 24.0 * std::f64::consts::TAU).sin());
    assert_eq!(days.judge(), Shape::Daily);
}

#[test]
fn a_leak_is_told_with_its_pace_whatever_it_is_mixed_with() {
    let mut dice = Dice(5);
    for _ in 0..200 {
        let pace = dice.between(0.08, 0.3);
        let mut hours = Hours::new(&mut dice, 150);
        hours.saw(&mut dice);
        hours.add(|minute| pace * minute / 60.0);
        hours.noise(&mut dice);
        let Shape::Leak(leak) = hours.judge() else { panic!("no leak at {pace}: {:?}", hours.judge()) };
        assert!((leak.line.slope / LIMIT / pace - 1.0).abs() < 0.3, "{pace}: {leak:?}");
    }
}

#[test]
fn nothing_is_told_without_points_or_a_scale() {
    let number = Number { points: &[], scale: 1.0, starts: &[], work: &[] };
    assert!(matches!(judge(&number), Shape::NotEnoughData(Missing::Time { has: 0, .. })));
    for scale in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(judge(&Number { scale, ..number }), Shape::NotEnoughData(Missing::Scale));
    }
}
