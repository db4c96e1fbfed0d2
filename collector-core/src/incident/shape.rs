//! Classifies how a series reached its last value: suddenly, slowly, or not at all. Works on the points of about a minute.

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Too few points.
    Unknown,
    /// It was near its last value all the time.
    Steady { seconds: f64 },
    /// It rose fast at the end.
    Spike { growth: f64, seconds: f64 },
    /// It rose slowly and evenly.
    Leak { growth: f64, seconds: f64 },
    /// None of these.
    Uneven,
}

/// A rise within this many seconds is sudden …
const SUDDEN: f64 = 10.0;
/// … if it is at least this share of the last value …
const PART: f64 = 0.3;
/// … and at least this many times faster than the rise before it.
const FASTER: f64 = 3.0;
/// An even rise is a spike if, at its rate, zero to the last value takes less than this, in seconds.
const FILLS: f64 = 60.0;
/// Slow shapes need points that reach back this far, in seconds.
const LONG: f64 = 15.0;
/// A leak grows by at least this share of the last value.
const LEAK: f64 = 0.03;
/// Share of the points' variance that a straight line must explain (R²).
const STRAIGHT: f64 = 0.9;
/// A series is steady if it stays within this share of its last value.
const BAND: f64 = 0.1;

/// The shape of points (seconds before the end, value), oldest first.
pub fn of(points: &[(f64, f64)]) -> Shape {
    let (&[(first, _), ..], Some(&(last, end))) = (points, points.last()) else { return Shape::Unknown };
    let span = first - last;
    if points.len() < 2 || span <= 0.0 || end <= 0.0 {
        return Shape::Unknown;
    }
    // The latest point that is at least SUDDEN old.
    let from = points.iter().rposition(|(ago, _)| ago - last >= SUDDEN).unwrap_or(0);
    let (sudden_from, before) = points[from];
    let (sudden, rise) = (sudden_from - last, end - before);
    let earlier = (before - points[0].1).max(0.0) / (first - sudden_from).max(1.0);
    if rise >= PART * end && rise / sudden >= FASTER * earlier {
        // The rise begins at the last point that is still low.
        let start = points[from..].iter().rposition(|(_, value)| *value <= before + rise * 0.1).unwrap_or(0) + from;
        return Shape::Spike { growth: end - points[start].1, seconds: points[start].0 - last };
    }
    if span < LONG {
        return Shape::Unknown;
    }
    let (slope, straight) = line(points);
    if slope > 0.0 && straight >= STRAIGHT && slope * span >= LEAK * end {
        let (growth, seconds) = (end - points[0].1, span);
        return if end / slope < FILLS { Shape::Spike { growth, seconds } } else { Shape::Leak { growth, seconds } };
    }
    match points.iter().all(|(_, value)| (value - end).abs() <= BAND * end) {
        true => Shape::Steady { seconds: span },
        false => Shape::Uneven,
    }
}

/// Slope per second of the least-squares line through the points, and its R².
fn line(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|point| -point.0), mean(|point| point.1));
    let sum = |of: &dyn Fn(f64, f64) -> f64| points.iter().map(|(x, y)| of(-x - x_mean, y - y_mean)).sum::<f64>();
    let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
    if xx <= 0.0 || yy <= 0.0 {
        return (0.0, 0.0);
    }
    (xy / xx, xy * xy / (xx * yy))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A point per second for a minute.
    fn minute(value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..60).map(|second| (59.0 - f64::from(second), value(f64::from(second)))).collect()
    }

    #[test]
    fn a_constant_series_is_steady() {
        assert_eq!(of(&minute(|_| 95.0)), Shape::Steady { seconds: 59.0 });
        let noisy = minute(|second| 95.0 + 4.0 * (second * 1.7).sin());
        assert_eq!(of(&noisy), Shape::Steady { seconds: 59.0 });
    }

    #[test]
    fn a_rise_in_the_last_seconds_is_a_spike() {
        let jump = minute(|second| if second < 56.0 { 20.0 } else { 20.0 + 20.0 * (second - 55.0) });
        assert_eq!(of(&jump), Shape::Spike { growth: 80.0, seconds: 4.0 });
        // A workload that has just started.
        assert_eq!(of(&[(1.5, 0.0), (0.0, 64.0)]), Shape::Spike { growth: 64.0, seconds: 1.5 });
    }

    #[test]
    fn a_slow_even_rise_is_a_leak() {
        let Shape::Leak { growth, seconds } = of(&minute(|second| 500.0 + second)) else { panic!("no leak") };
        assert_eq!((growth, seconds), (59.0, 59.0));
        let noisy = of(&minute(|second| 500.0 + second + 3.0 * (second * 2.3).sin()));
        assert!(matches!(noisy, Shape::Leak { .. }), "{noisy:?}");
    }

    #[test]
    fn an_even_rise_that_fills_within_a_minute_is_a_spike() {
        assert!(matches!(of(&minute(|second| 5.0 + 10.0 * second)), Shape::Spike { .. }));
    }

    #[test]
    fn a_sawtooth_is_uneven() {
        assert_eq!(of(&minute(|second| 50.0 + second % 20.0)), Shape::Uneven);
        assert_eq!(of(&minute(|second| 100.0 - second)), Shape::Uneven, "falling");
        // A leak too small to matter.
        assert_eq!(of(&minute(|second| 1000.0 + 0.1 * second)), Shape::Steady { seconds: 59.0 });
    }

    #[test]
    fn too_few_points_are_unknown() {
        for points in [vec![], vec![(0.0, 5.0)], vec![(5.0, 5.0), (0.0, 5.0)], vec![(3.0, 0.0), (0.0, 0.0)]] {
            assert_eq!(of(&points), Shape::Unknown, "{points:?}");
        }
        assert_eq!(of(&minute(|_| f64::NAN)[..1]), Shape::Unknown);
    }
}
