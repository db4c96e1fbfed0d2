//! How many leaks are found in made-up hours, and how often one is reported that is none.

use super::INTERVAL_NS;
use super::track::Track;
use crate::trend::Settings;

const MINUTE: u64 = 60_000_000_000;
const HOUR: u64 = 60 * MINUTE;
const LIMIT: f64 = 16e9;
/// Readings in a minute.
const OFTEN: usize = (MINUTE / INTERVAL_NS) as usize;

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

/// What is held as a share of the limit, and the work that is done, reading by reading.
#[derive(Clone, Default)]
struct Hours {
    held: Vec<f64>,
    work: Vec<f64>,
    /// Readings that are missing.
    gaps: Vec<bool>,
    /// The reading at which the program started, if that is known.
    start: Option<usize>,
    /// From this reading on the clock is so much earlier.
    jump: Option<(usize, u64)>,
}

impl Hours {
    fn new(dice: &mut Dice, minutes: usize) -> Hours {
        let (level, count) = (dice.between(0.1, 0.5), minutes * OFTEN);
        Hours { held: vec![level; count], work: vec![1.0; count], gaps: vec![false; count], start: None, jump: None }
    }

    fn minutes(&self) -> f64 {
        (self.held.len() / OFTEN) as f64
    }

    /// Adds a function of the minutes.
    fn add(&mut self, more: impl Fn(f64) -> f64) {
        self.held.iter_mut().enumerate().for_each(|(at, held)| *held += more(at as f64 / OFTEN as f64));
    }

    /// Up to 1 % of the limit.
    fn noise(&mut self, dice: &mut Dice) {
        let (size, of_work) = (dice.between(0.0, 0.01), dice.between(0.0, 0.2));
        self.held.iter_mut().for_each(|held| *held += size * (dice.roll() - 0.5) * 2.0);
        self.work.iter_mut().for_each(|work| *work *= 1.0 + of_work * (dice.roll() - 0.5));
    }

    /// Up to 10 %, in periods of up to ten minutes.
    fn saw(&mut self, dice: &mut Dice) {
        let (height, period, phase) = (dice.between(0.0, 0.1), dice.between(1.0, 10.0), dice.between(0.0, 10.0));
        self.add(|minute| height * ((minute + phase) / period).fract());
    }

    /// A program that loads, and fills its caches.
    fn warm_up(&mut self, dice: &mut Dice, at: f64) {
        let (height, minutes) = (dice.between(0.05, 0.4), dice.between(1.0, 12.0));
        self.add(|minute| if minute < at { 0.0 } else { height * (1.0 - (-(minute - at) / minutes).exp()) });
        self.start = Some((at * OFTEN as f64) as usize);
    }

    fn day(&mut self, dice: &mut Dice) {
        let (height, phase) = (dice.between(0.02, 0.2), dice.between(0.0, 24.0));
        let of = |minute: f64| 0.5 + 0.5 * ((minute / 60.0 + phase) / 24.0 * std::f64::consts::TAU).sin();
        self.add(|minute| height * of(minute));
        self.work.iter_mut().enumerate().for_each(|(at, work)| *work *= 0.2 + of(at as f64 / OFTEN as f64));
    }

    fn step(&mut self, dice: &mut Dice) {
        let (by, at) = (dice.between(-0.1, 0.3), dice.between(0.0, self.minutes()));
        self.add(|minute| if minute < at { 0.0 } else { by });
    }

    fn gap(&mut self, dice: &mut Dice) {
        let (at, minutes) = (dice.between(0.0, self.gaps.len() as f64) as usize, dice.between(1.0, 25.0));
        self.gaps.iter_mut().skip(at).take((minutes * OFTEN as f64) as usize).for_each(|gap| *gap = true);
    }

    /// The pace of the first leak that is found, as a share of the limit an hour.
    fn leak(&self) -> Option<f64> {
        let mut track = Track::new(Settings::default(), 100 * HOUR, self.start == Some(0));
        let mut done = 0.0;
        for (at, (held, work)) in self.held.iter().zip(&self.work).enumerate() {
            done += work * 1e6;
            let back = self.jump.filter(|(from, _)| at >= *from).map_or(0, |(_, back)| back);
            let time = 100 * HOUR + at as u64 * INTERVAL_NS - back;
            if at > 0 && self.start == Some(at) {
                track = Track::new(Settings::default(), time, true);
            }
            if !self.gaps[at]
                && track.read(time, held.max(0.0) * LIMIT, LIMIT, Some(done as u64))
                && track.leak.is_some()
            {
                return track.leak.map(|line| line.slope / LIMIT);
            }
        }
        None
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
        2 => hours.warm_up(dice, 0.0),
        3 => hours.day(dice),
        4 => hours.step(dice),
        5 => {
            let at = dice.between(0.0, minutes as f64);
            hours.add(|minute| if minute < at { 0.4 } else { 0.0 });
            hours.warm_up(dice, at);
        }
        6 => hours.gap(dice),
        _ => {
            hours.jump =
                Some((dice.between(0.0, hours.held.len() as f64) as usize, dice.between(0.0, 3.0 * HOUR as f64) as u64))
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
fn leaks_of_five_percent_an_hour_are_found_within_two_hours_of_warm_running() {
    let mut dice = Dice(7);
    let found = (0..500).filter(|_| {
        let mut hours = Hours::new(&mut dice, 120 + 30);
        if dice.roll() < 0.5 {
            hours.warm_up(&mut dice, 0.0);
        }
        if dice.roll() < 0.5 {
            hours.saw(&mut dice);
        }
        if dice.roll() < 0.3 {
            hours.gap(&mut dice);
        }
        hours.add(|minute| 0.05 * minute / 60.0);
        hours.noise(&mut dice);
        hours.leak().is_some()
    });
    let found = found.count();
    assert!(found >= 475, "{found} of 500");
}

#[test]
fn what_is_no_leak_is_not_reported_as_one() {
    let mut dice = Dice(11);
    let wrong: Vec<usize> = (0..1000).filter(|_| innocent(&mut dice).leak().is_some()).collect();
    assert!(wrong.len() <= 10, "{} of 1000: {wrong:?}", wrong.len());
}

#[test]
fn a_leak_has_its_pace_whatever_it_is_mixed_with() {
    let mut dice = Dice(5);
    for _ in 0..100 {
        let pace = dice.between(0.08, 0.3);
        let mut hours = Hours::new(&mut dice, 150);
        hours.saw(&mut dice);
        hours.add(|minute| pace * minute / 60.0);
        hours.noise(&mut dice);
        let Some(found) = hours.leak() else { panic!("no leak at {pace}") };
        assert!((found / pace - 1.0).abs() < 0.3, "{pace}: {found}");
    }
}

#[test]
fn work_that_grows_explains_what_it_holds() {
    let mut hours = Hours::new(&mut Dice(3), 240);
    hours.add(|minute| 0.1 * minute / 60.0);
    assert!(hours.leak().is_some());
    hours.work.iter_mut().enumerate().for_each(|(at, work)| *work = 1.0 + at as f64 / 360.0);
    assert_eq!(hours.leak(), None);
}
