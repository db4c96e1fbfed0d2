//! Forecasts of generated weeks against what came: how often the interval that is to hold four times in five did, and how wide it was. The
//! table is in docs/forecast.md.

use std::fmt::Write as _;
use std::{env, fs};

use collector_core::forecast::{Facts, Forecast, Material, Resource};
use collector_core::series::Series;
use collector_core::tier::{KEPT, Known, Tier, kept};

const STEP: u64 = Tier::QuarterHour.step();
const A_DAY: usize = 96;
const HOURS: usize = 48;
/// How many weeks of each kind, each with a past of its own length.
const WORLDS: u64 = 60;
/// What there is, in any unit.
const LIMIT: f64 = 1000.0;
const PAGE: &str = "../docs/forecast.md";
const BEGIN: &str = "<!-- backtest -->\n";
const END: &str = "<!-- /backtest -->";

/// Numbers that look like chance, the same everywhere.
struct Dice(u64);

impl Dice {
    /// From 0 to 1.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / f64::from(1_u32 << 31)
    }

    /// Of a standard normal, near enough.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

/// A number over so many quarters of an hour.
type World = fn(&mut Dice, usize) -> Vec<f64>;

const KINDS: [(&str, World); 8] = [
    ("noise around a level", |dice, length| (0..length).map(|_| 300.0 + 10.0 * dice.normal()).collect()),
    ("a pattern of the day", |dice, length| {
        let swing = 50.0 + 150.0 * dice.uniform();
        let wave = |at: usize| (at as f64 / A_DAY as f64 * std::f64::consts::TAU).sin();
        slow(dice, length, 12.0, 0.9)
            .into_iter()
            .enumerate()
            .map(|(at, noise)| 400.0 + swing * wave(at) + noise)
            .collect()
    }),
    ("office hours, Monday to Friday", |dice, length| {
        let (low, high) = (100.0 + 50.0 * dice.uniform(), 300.0 + 200.0 * dice.uniform());
        let level = |at: usize| {
            let (day, hour) = (at / A_DAY % 7, at % A_DAY / 4);
            if day < 5 && (8..18).contains(&hour) { high } else { low }
        };
        slow(dice, length, 15.0, 0.8).into_iter().enumerate().map(|(at, noise)| level(at) + noise).collect()
    }),
    ("growth", |dice, length| {
        let a_day = 2.0 + 10.0 * dice.uniform();
        let line = |at: usize| 200.0 + a_day * at as f64 / A_DAY as f64;
        slow(dice, length, 8.0, 0.9).into_iter().enumerate().map(|(at, noise)| line(at) + noise).collect()
    }),
    ("growth with a pattern of the day", |dice, length| {
        let a_day = 2.0 + 8.0 * dice.uniform();
        let of = |at: usize| {
            let day = at as f64 / A_DAY as f64;
            250.0 + a_day * day + 60.0 * (day * std::f64::consts::TAU).sin()
        };
        slow(dice, length, 8.0, 0.9).into_iter().enumerate().map(|(at, noise)| of(at) + noise).collect()
    }),
    ("steps: something starts or ends every day or two", |dice, length| {
        let mut level = 400.0;
        let step = |_| {
            if dice.uniform() < 1.0 / (1.5 * A_DAY as f64) {
                level = 200.0 + 400.0 * dice.uniform();
            }
            level + 4.0 * dice.normal()
        };
        (0..length).map(step).collect()
    }),
    ("a random walk", |dice, length| {
        let mut level = 500.0;
        let step = |_| {
            level = (level + 3.0 * dice.normal()).clamp(50.0, 950.0);
            level
        };
        (0..length).map(step).collect()
    }),
    ("a saw: filled slowly, cleaned at once", |dice, length| {
        let (mut level, mut top) = (200.0, 600.0);
        let rise = 400.0 / (A_DAY as f64 * (0.8 + dice.uniform()));
        let step = |_| {
            level += rise * (0.8 + 0.4 * dice.uniform());
            if level > top {
                (level, top) = (200.0 + 10.0 * dice.normal(), 600.0 + 10.0 * dice.normal());
            }
            level
        };
        (0..length).map(step).collect()
    }),
];

/// Noise that lasts: each value keeps so much of the one before.
fn slow(dice: &mut Dice, length: usize, size: f64, keeps: f64) -> Vec<f64> {
    let mut value = 0.0;
    let step = |_| {
        value = keeps * value + (1.0_f64 - keeps * keeps).sqrt() * size * dice.normal();
        value
    };
    (0..length).map(step).collect()
}

fn quarter(at: usize, value: f64) -> Known {
    let mut values = [[None; 3]; KEPT.len()];
    values[kept(Series::Memory).unwrap()] = [Some(value as f32); 3];
    values[kept(Series::MemoryLimit).unwrap()] = [Some(LIMIT as f32); 3];
    // From a Monday on.
    Known { time: (4 * A_DAY + at) as u64 * STEP, seconds: 900, values }
}

/// How many hours were within, of how many, and the width of all intervals: within six hours, a day, two days.
type Counts = [(u32, u32, f64); 3];

fn tried(world: World, seed: u64) -> Counts {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    for _ in 0..8 {
        dice.uniform();
    }
    let past = A_DAY * 7 + (dice.uniform() * 21.0 * A_DAY as f64) as usize;
    // The last hour of the past may be a part of one.
    let values = world(&mut dice, past + 4 * HOURS + 4);
    let quarters: Vec<Known> = values[..past].iter().enumerate().map(|(at, value)| quarter(at, *value)).collect();
    let now = quarters.last().unwrap().time + STEP;
    let material = Material { quarters, ..Material::default() };
    let forecast = Forecast::of(&material, &Facts { now, ..Facts::default() }, HOURS as u64);
    let outlook = forecast.outlooks.iter().find(|outlook| outlook.resource == Resource::Memory).unwrap();
    assert_eq!(outlook.points.len(), HOURS);
    let mut counts = Counts::default();
    for (hour, point) in outlook.points.iter().enumerate() {
        let from = ((point.time - quarter(0, 0.0).time) / STEP) as usize;
        let came = values[from..from + 4].iter().sum::<f64>() / 4.0;
        let (within, all, width) = &mut counts[match hour {
            ..6 => 0,
            6..24 => 1,
            _ => 2,
        }];
        *within += u32::from((point.low..=point.high).contains(&came));
        *all += 1;
        *width += point.high - point.low;
    }
    counts
}

#[test]
fn four_of_five_hours_lie_within_the_interval_of_generated_weeks() {
    let mut table = String::from(
        "| what is forecast | held within 6 h | 6 to 24 h | 24 to 48 h | all | width |\n|---|---:|---:|---:|---:|---:|\n",
    );
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let mut wrong = Vec::new();
    let mut sum = (0_u32, 0_u32);
    for (number, (name, world)) in KINDS.into_iter().enumerate() {
        let mut counts = Counts::default();
        for seed in 0..WORLDS {
            for (sum, more) in counts.iter_mut().zip(tried(world, seed + 1000 * number as u64 + 1)) {
                *sum = (sum.0 + more.0, sum.1 + more.1, sum.2 + more.2);
            }
        }
        let share = |(within, all, _): (u32, u32, f64)| f64::from(within) / f64::from(all);
        let whole = counts.iter().fold((0, 0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1, sum.2 + one.2));
        sum = (sum.0 + whole.0, sum.1 + whole.1);
        let [near, day, far] = counts.map(|one| percent(share(one)));
        let width = percent(whole.2 / f64::from(whole.1) / LIMIT);
        writeln!(table, "| {name} | {near} | {day} | {far} | {} | {width} |", percent(share(whole))).unwrap();
        if !(0.7..=0.9).contains(&share(whole)) {
            wrong.push((name, share(whole)));
        }
    }
    let all = f64::from(sum.0) / f64::from(sum.1);
    writeln!(table, "| all | | | | {} | |", percent(all)).unwrap();
    let page = fs::read_to_string(PAGE).unwrap_or_default();
    if env::var_os("BLESS").is_some() {
        let (before, rest) = page.split_once(BEGIN).unwrap();
        let (_, after) = rest.split_once(END).unwrap();
        fs::write(PAGE, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert!(page.contains(&table), "docs/forecast.md has another table: BLESS=1 writes this one\n{table}");
    }
    assert!(wrong.is_empty() && (0.7..=0.9).contains(&all), "{wrong:?}\n{table}");
}
