//! Series of which the shape is known: exact ones, and generated ones.

use proptest::prelude::*;

use super::{LONG, Point, SUDDEN, Shape};

/// The shape of a series that may have begun long before.
fn of(points: &[Point]) -> Shape {
    super::of(points, false)
}

/// A point per second for a minute.
fn minute(value: impl Fn(f64) -> f64) -> Vec<Point> {
    (0..60).map(|second| (59.0 - f64::from(second), value(f64::from(second)))).collect()
}

/// The same, at its limit of 100 half a second after the last point.
fn limited(value: impl Fn(f64) -> f64) -> Vec<Point> {
    let mut points: Vec<Point> = (0..60).map(|second| (59.5 - f64::from(second), value(f64::from(second)))).collect();
    points.push((0.0, 100.0));
    points
}

#[track_caller]
fn growth_of(points: &[Point]) -> (f64, f64) {
    match of(points) {
        Shape::Growth { growth, seconds } => (growth, seconds),
        other => panic!("{other:?}: {points:?}"),
    }
}

#[track_caller]
fn spike_of(points: &[Point]) -> (f64, f64) {
    spike(of(points), points)
}

#[track_caller]
fn spike(shape: Shape, points: &[Point]) -> (f64, f64) {
    match shape {
        Shape::Spike { growth, seconds } => (growth, seconds),
        other => panic!("{other:?}: {points:?}"),
    }
}

#[test]
fn a_constant_series_is_steady() {
    assert_eq!(of(&minute(|_| 95.0)), Shape::Steady { seconds: 59.0 });
    let noisy = minute(|second| 95.0 + 4.0 * (second * 1.7).sin());
    assert_eq!(of(&noisy), Shape::Steady { seconds: 59.0 });
}

#[test]
fn the_last_quarter_of_a_minute_is_enough_to_be_steady() {
    let loaded = limited(|second| if second < 40.0 { 30.0 + 1.6 * second } else { 96.0 });
    assert_eq!(of(&loaded), Shape::Steady { seconds: 24.5 });
    // A workload that is a minute old and began at nothing.
    let young = limited(|second| if second < 2.0 { 40.0 * second } else { 95.0 });
    assert_eq!(of(&young), Shape::Steady { seconds: 57.5 });
    let short = limited(|second| if second < 50.0 { 70.0 + 10.0 * (second % 2.0) } else { 95.0 });
    assert_eq!(of(&short), Shape::Uneven);
}

#[test]
fn a_rise_in_the_last_seconds_is_a_spike_over_the_time_it_took() {
    let jump = minute(|second| if second < 56.0 { 20.0 } else { 20.0 + 20.0 * (second - 55.0) });
    assert_eq!(of(&jump), Shape::Spike { growth: 80.0, seconds: 4.0 });
    // A workload that has just started.
    assert_eq!(of(&[(1.5, 0.0), (0.0, 64.0)]), Shape::Spike { growth: 64.0, seconds: 1.5 });
    // From three quarters, at once.
    assert_eq!(of(&limited(|_| 75.0)), Shape::Spike { growth: 25.0, seconds: 0.5 });
    assert_eq!(of(&limited(|_| 87.0)), Shape::Steady { seconds: 59.5 });
    // The last point is of the same moment.
    assert_eq!(spike_of(&[(2.0, 30.0), (1.0, 30.0), (0.0, 30.0), (0.0, 100.0)]), (70.0, 0.001));
}

#[test]
fn how_a_workload_started_is_not_how_it_rises() {
    // It loaded half of its limit within two seconds, twelve seconds ago.
    let mut points: Vec<Point> = vec![(12.5, 2.0), (11.5, 25.0)];
    points.extend((0..10).map(|second| (10.5 - f64::from(second), 50.0)));
    points.extend([(0.5, 70.0), (0.0, 100.0)]);
    assert_eq!(spike(super::of(&points, true), &points), (50.0, 1.5));
}

#[test]
fn a_slow_even_rise_is_growth() {
    assert_eq!(growth_of(&minute(|second| 500.0 + second)), (59.0, 59.0));
    let noisy = minute(|second| 500.0 + second + 3.0 * (second * 2.3).sin());
    assert!((45.0..=59.0).contains(&growth_of(&noisy).1));
    // As fast as to fill the limit within half a minute.
    let fast = limited(|second| if second < 30.0 { 10.0 } else { 10.0 + 3.0 * (second - 29.0) });
    let (growth, seconds) = growth_of(&fast);
    assert!((85.0..=90.0).contains(&growth) && (28.0..=36.0).contains(&seconds), "{growth} {seconds}");
    // In chunks.
    let chunks = limited(|second| 36.0 + 9.0 * (second / 9.0).floor());
    assert!((50.0..=64.0).contains(&growth_of(&chunks).0));
}

#[test]
fn growth_that_began_after_a_flat_half_minute_is_seen() {
    let late = limited(|second| if second < 30.0 { 60.0 } else { 60.0 + 1.3 * (second - 29.0) });
    let (growth, seconds) = growth_of(&late);
    assert!((38.0..=40.0).contains(&growth) && (28.0..=36.0).contains(&seconds), "{growth} {seconds}");
}

#[test]
fn a_sawtooth_is_uneven() {
    assert_eq!(of(&minute(|second| 50.0 + second % 20.0)), Shape::Uneven);
    assert_eq!(of(&minute(|second| 50.0 + 3.0 * ((second + 3.0) % 16.0))), Shape::Uneven, "a tooth is straight");
    assert_eq!(of(&minute(|second| 100.0 - second)), Shape::Uneven, "falling");
    // Growth too small to matter.
    assert_eq!(of(&minute(|second| 1000.0 + 0.1 * second)), Shape::Steady { seconds: 59.0 });
}

#[test]
fn too_few_points_are_unknown() {
    for points in [vec![], vec![(0.0, 5.0)], vec![(5.0, 5.0), (0.0, 5.0)], vec![(3.0, 0.0), (0.0, 0.0)]] {
        assert_eq!(of(&points), Shape::Unknown, "{points:?}");
    }
    assert_eq!(of(&minute(|_| f64::NAN)), Shape::Unknown);
    // Two points at both ends of a minute are neither a line nor a level.
    assert_eq!(of(&[(59.0, 50.0), (0.5, 99.0), (0.0, 100.0)]), Shape::Uneven);
    assert_eq!(of(&[(59.0, 99.0), (58.0, 99.0), (57.0, 99.0), (0.5, 99.0), (0.0, 100.0)]), Shape::Uneven);
}

/// Noise of up to this, the same for the same seconds.
fn noise(seed: u64, second: f64, most: f64) -> f64 {
    let mixed = (seed ^ (second as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
    most * ((mixed >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
}

/// Drops points, as where ticks are missed: one of every few, and a gap of some seconds.
fn thinned(points: Vec<Point>, every: usize, gap: f64) -> Vec<Point> {
    let last = points.len() - 1;
    let kept = points
        .into_iter()
        .enumerate()
        .filter(|(at, (ago, _))| *at == last || !at.is_multiple_of(every) && !(30.0..30.0 + gap).contains(ago));
    kept.map(|(_, point)| point).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_points_have_a_shape_that_they_can_have(
        values in prop::collection::vec((0.001f64..5.0, -1.0f64..1e12), 0..70),
    ) {
        let mut ago = values.iter().map(|(step, _)| step).sum::<f64>();
        let points: Vec<Point> = values.iter().map(|(step, value)| { ago -= step; (ago, *value) }).collect();
        let span = points.first().map_or(0.0, |(first, _)| first - points[points.len() - 1].0);
        match of(&points) {
            Shape::Spike { growth, seconds } => prop_assert!(growth > 0.0 && seconds > 0.0 && seconds <= span),
            Shape::Growth { growth, seconds } => prop_assert!(growth > 0.0 && (LONG..=span).contains(&seconds)),
            Shape::Steady { seconds } => prop_assert!((LONG..=span).contains(&seconds)),
            Shape::Unknown | Shape::Uneven => {}
        }
    }

    #[test]
    fn noise_near_the_limit_is_steady(seed: u64, level in 93.0f64..97.0, every in 2usize..9, gap in 0.0f64..12.0) {
        let points = thinned(limited(|second| level + noise(seed, second, 2.5)), every, gap);
        prop_assert!(matches!(of(&points), Shape::Steady { seconds } if seconds > 50.0), "{points:?}");
    }

    #[test]
    fn noise_far_below_a_limit_that_is_hit_at_once_is_a_spike(seed: u64, level in 10.0f64..70.0, share in 0.0f64..0.05) {
        let points = limited(|second| level + noise(seed, second, share * level));
        let (growth, seconds) = spike_of(&points);
        prop_assert!((growth - (100.0 - level)).abs() <= 0.12 * 100.0 && seconds <= SUDDEN + 1.0, "{growth} {seconds}");
    }

    #[test]
    fn a_step_is_a_spike_however_early_the_workload_began(
        age in 14u32..59, load in 1u32..4, level in 20.0f64..80.0, took in 0u32..4,
    ) {
        // It loads its base within some seconds, stays there, and steps up.
        let value = |second: u32| match second {
            second if second < load => level * f64::from(second + 1) / f64::from(load + 1),
            second if second + took < age => level,
            second => level + (98.0 - level) * f64::from(second + took + 1 - age) / f64::from(took + 1),
        };
        let mut points: Vec<Point> = (0..age).map(|second| (f64::from(age - second) - 0.5, value(second))).collect();
        points.push((0.0, 100.0));
        let (growth, seconds) = spike(super::of(&points, true), &points);
        prop_assert!(growth >= 0.85 * (100.0 - level) && seconds <= f64::from(took) + 1.5, "{growth} {seconds}: {points:?}");
    }

    #[test]
    fn saws_are_neither_growth_nor_sudden(period in 4u32..25, low in 20.0f64..60.0, phase in 0u32..25, height in 10.0f64..35.0) {
        // Two teeth and more are seen, and the last one ends at its tip or below.
        let value = |second: f64| low + height * ((second + f64::from(phase)) % f64::from(period)) / f64::from(period);
        let shape = of(&minute(value));
        prop_assert!(!matches!(shape, Shape::Growth { .. } | Shape::Spike { .. }), "{shape:?}");
    }

    #[test]
    fn a_late_leak_is_growth_by_what_it_grew(
        seed: u64, flat in 0.0f64..40.0, base in 20.0f64..85.0, every in 2usize..9, gap in 0.0f64..6.0,
    ) {
        let slope = (99.0 - base) / (59.0 - flat);
        let clean = |second: f64| if second < flat { base } else { base + slope * (second - flat) };
        let points = thinned(limited(|second| clean(second) + noise(seed, second, 0.02 * (100.0 - base))), every, gap);
        let (growth, seconds) = growth_of(&points);
        prop_assert!(growth >= 0.8 * (100.0 - base), "{growth}: {points:?}");
        prop_assert!(seconds <= 1.4 * (60.0 - flat) + 2.0, "{seconds} {flat}: {points:?}");
    }

    #[test]
    fn warming_up_and_then_flat_is_steady(warm in 1u32..40, flat in 16u32..30, seed: u64) {
        let value = |second: u32| match second {
            second if second < warm => 95.0 * f64::from(second) / f64::from(warm),
            second => 95.0 + noise(seed, f64::from(second), 1.5),
        };
        let age = warm + flat;
        let mut points: Vec<Point> = (0..age).map(|second| (f64::from(age - second) - 0.5, value(second))).collect();
        points.push((0.0, 100.0));
        let shape = of(&points);
        prop_assert!(matches!(shape, Shape::Steady { seconds } if seconds >= f64::from(flat) - 1.0), "{shape:?}: {points:?}");
    }

    #[test]
    fn points_at_any_times_show_the_same(steps in prop::collection::vec(0.2f64..4.0, 30..60), slope in 0.3f64..1.5) {
        let mut ago: f64 = steps.iter().sum();
        let mut points = Vec::new();
        for step in &steps {
            if ago <= 60.0 {
                points.push((ago, 100.0 - slope * ago));
            }
            ago -= step;
        }
        points.push((0.0, 100.0));
        let (growth, seconds) = growth_of(&points);
        prop_assert!((growth / seconds - slope).abs() < 0.01 && seconds > 25.0, "{growth} {seconds}");
    }
}
