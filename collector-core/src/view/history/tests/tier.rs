//! The coarse tiers, whatever the ticks and the clock do.

use proptest::prelude::*;

use super::super::sums::Sums;
use super::super::*;
use super::SECOND;
use crate::tier::Code;

/// One workload's history, written directly.
#[derive(Default)]
struct Alone {
    history: History,
    track: Track,
    /// What went to the disk: when its period began, and the memory in it.
    disk: Vec<(u64, [Option<f32>; 3])>,
}

impl Alone {
    fn new() -> Alone {
        let mut alone = Alone::default();
        alone.history.fits(std::iter::empty());
        alone
    }

    fn tick(&mut self, time: u64, memory: Option<u64>, cpu: Option<u64>) {
        let mut numbers = [UNKNOWN; COUNT];
        numbers[Series::Memory as usize] = memory.unwrap_or(UNKNOWN);
        numbers[Series::Cpu as usize] = cpu.unwrap_or(UNKNOWN);
        let mut write = self.history.begin(time);
        let quarter = write.outgoing();
        let out = write.workload(&mut self.track, numbers, &[UNKNOWN; COUNT]);
        assert_eq!(out.is_some(), quarter.is_some());
        self.disk.extend(quarter.zip(out).map(|(time, sums)| (time, memory_of(&sums))));
        self.history.end(write, [UNKNOWN; COUNT]);
    }

    fn read(&self, series: Series, tier: Tier) -> Vec<(u64, [Option<f32>; 3])> {
        self.history.values(&self.track, series, tier, |_| true)
    }
}

fn memory_of(sums: &Sums) -> [Option<f32>; 3] {
    sums.row()[0].map(|code: Code| code.value(Series::Memory))
}

/// Where a value stands in a tier: minimum and maximum are apart from it by a thousandth at most.
fn holds([min, mean, max]: [Option<f32>; 3], value: f32) -> bool {
    min.is_some_and(|min| min <= value)
        && max.is_some_and(|max| max >= value)
        && mean.is_none_or(|mean| Some(mean) <= max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_tier_has_every_peak_whatever_ticks_and_clock_do(
        ticks in prop::collection::vec(
            (
                prop_oneof![
                    8 => Just(1000i64), 4 => Just(100), 2 => 1..3000i64, 1 => 5_000..100_000i64, 1 => Just(-30_000), 1 => Just(-3_000),
                ],
                prop::option::weighted(0.9, 1..u64::from(u32::MAX)),
            ),
            1..600,
        ),
    ) {
        let mut alone = Alone::new();
        let mut now = 1_700_000_000_000i64;
        // Of each tick since the clock was last set back: its time and value.
        let mut seen: Vec<(u64, f32)> = Vec::new();
        for (step, memory) in ticks {
            now += step;
            if step < 0 {
                seen.clear();
            }
            let time = now as u64 * 1_000_000;
            alone.tick(time, memory, None);
            seen.extend(memory.map(|memory| (time, memory as f32)));
        }
        for (tier, step) in COARSE.map(|(tier, _)| (tier, tier.step())) {
            let points = alone.read(Series::Memory, tier);
            prop_assert!(points.is_sorted_by(|(one, _), (other, _)| one < other), "{:?}", points);
            for (_, [min, mean, max]) in &points {
                prop_assert!(min.is_some() == max.is_some() && (mean.is_none() || min <= mean && mean <= max));
            }
            for (time, value) in &seen {
                let found = points.iter().find(|(begin, _)| time / step == begin / step);
                prop_assert!(found.is_some_and(|(_, values)| holds(*values, *value)), "{} {} {:?}", time, value, found);
            }
        }
        // What is handed out and what is left are one after the other.
        let rest = alone.track.rest(alone.history.written()).map(|sums| memory_of(&sums)).zip(alone.history.quarter_begun());
        let disk: Vec<_> = alone.disk.into_iter().chain(rest.map(|(values, time)| (time, values))).collect();
        for (time, value) in &seen {
            let quarter = Tier::QuarterHour.step();
            let mut parts = disk.iter().filter(|(begin, _)| time / quarter == begin / quarter);
            prop_assert!(parts.any(|(_, values)| holds(*values, *value)), "{} {}", time, value);
        }
    }
}

#[test]
fn a_mean_is_over_time_and_a_rate_is_of_whole_seconds() {
    let mut alone = Alone::new();
    // Ten ticks of a second, then one of ten: half of the minute's known time.
    (0..=10).for_each(|second| alone.tick((600 + second) * SECOND, Some(100), Some(second * SECOND)));
    alone.tick(619 * SECOND, Some(300), Some(10 * SECOND + 18 * SECOND));
    alone.tick(620 * SECOND, Some(300), Some(28 * SECOND));
    let ten = alone.read(Series::Memory, Tier::TenSeconds);
    assert_eq!(ten.iter().map(|(time, _)| time / SECOND).collect::<Vec<_>>(), [600, 610, 620]);
    // 1 s of 100, 9 s of 300.
    let [min, mean, max] = ten[1].1.map(Option::unwrap);
    assert_eq!(
        (min, max),
        (100.0, Code::of(Series::Memory, 300.0, crate::tier::Round::Up).value(Series::Memory).unwrap())
    );
    assert!((mean - 280.0).abs() < 0.2, "{mean}");
    let [min, mean, max] = alone.read(Series::Cpu, Tier::TenSeconds)[1].1.map(Option::unwrap);
    assert!(min == 1.0 && max == 2.0 && (mean - 1.9).abs() < 0.002, "{min} {mean} {max}");
    // Ticks of a tenth of a second: levels count at once, rates when the second is complete.
    for tenth in 1..=10 {
        let burst = if tenth == 3 { SECOND / 2 } else { 0 };
        alone.tick(
            630 * SECOND + tenth * SECOND / 10,
            Some(if tenth == 5 { 900 } else { 1 }),
            Some(28 * SECOND + burst),
        );
    }
    let last = |series| alone.read(series, Tier::TenSeconds).last().unwrap().1;
    assert!(last(Series::Memory)[2].unwrap() >= 900.0 && last(Series::Cpu)[2].unwrap() <= 1.0);
}

#[test]
fn each_tier_reaches_back_as_far_as_it_says_and_no_further() {
    let mut alone = Alone::new();
    let start = 1_000 * 900;
    (0..25 * 3600).for_each(|second| alone.tick((start + second) * SECOND, Some(second), None));
    let now = (start + 25 * 3600 - 1) * SECOND;
    for (tier, least, most) in [(Tier::Second, 300, 390), (Tier::TenSeconds, 360, 361), (Tier::Minute, 1440, 1441)] {
        let points = alone.read(Series::Memory, tier);
        assert!((least..=most).contains(&points.len()), "{tier:?}: {}", points.len());
        assert!(points.iter().all(|(_, values)| values.iter().all(Option::is_some)), "{tier:?}");
        let from = alone.history.kept_from(&alone.track, Series::Memory, tier).unwrap();
        assert_eq!(from, points[0].0, "{tier:?}");
        assert!(now - from >= tier.reach() - tier.step(), "{tier:?}");
    }
    // The first minute, and each quarter that is over.
    assert_eq!(alone.disk.len(), 1 + 25 * 4 - 1);
    assert_eq!((alone.disk[0].0, alone.disk[1].0), (start * SECOND, start * SECOND));
    let [min, mean, max] = alone.disk[2].1.map(Option::unwrap);
    assert!(min <= 900.0 && max >= 1799.0 && (mean - 1349.5).abs() < 1.0, "{min} {mean} {max}");
}

#[test]
fn a_point_takes_bytes_only_where_something_changes() {
    let day = |memory: fn(u64) -> u64| {
        let mut alone = Alone::new();
        (0..26 * 3600).for_each(|second| alone.tick((900 + second) * SECOND, Some(memory(second)), None));
        alone.track.bytes()
    };
    let (idle, busy) = (day(|_| 1 << 30), day(|second| second.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20));
    assert!(idle < 6 << 10, "{idle}");
    assert!((10 << 10..20 << 10).contains(&busy), "{busy}");
}
