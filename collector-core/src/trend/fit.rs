//! A straight line through points, that a few wild ones do not bend: the median of the slopes between all pairs (Theil 1950, Sen 1968).
//! Knows nothing of what the points mean.

/// Of a standard normal, for an interval that holds the true slope nine times in ten.
const Z90: f64 = 1.645;

/// A line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// Growth for each unit of x.
    pub slope: f64,
    /// An interval that holds the true slope nine times in ten, as far as the points are independent of each other.
    pub between: [f64; 2],
    /// The share (0 to 1) of the points' variance that the line explains.
    pub explains: f64,
}

/// The line through points (x, y) of rising x; `None` of fewer than three. It costs the square of their number.
pub fn line(points: &[(f64, f64)]) -> Option<Line> {
    if points.len() < 3 {
        return None;
    }
    let mut slopes: Vec<f64> = Vec::with_capacity(points.len() * (points.len() - 1) / 2);
    for (place, (x, y)) in points.iter().enumerate() {
        let later = points[place + 1..].iter().filter(|(later, _)| later > x);
        slopes.extend(later.map(|(later, value)| (value - y) / (later - x)));
    }
    if slopes.is_empty() {
        return None;
    }
    slopes.sort_unstable_by(f64::total_cmp);
    let slope = middle(&slopes);
    let mut rest: Vec<f64> = points.iter().map(|(x, y)| y - slope * x).collect();
    rest.sort_unstable_by(f64::total_cmp);
    let origin = middle(&rest);
    Some(Line { slope, between: between(&slopes, points.len()), explains: explained(points, slope, origin) })
}

/// Sen's interval: the slopes at the ranks that Kendall's variance gives.
fn between(sorted: &[f64], points: usize) -> [f64; 2] {
    let n = points as f64;
    let reach = Z90 * (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    let last = sorted.len() - 1;
    let rank = |rank: f64| (rank.max(0.0) as usize).min(last);
    let count = sorted.len() as f64;
    [sorted[rank((count - reach) / 2.0)], sorted[rank(((count + reach) / 2.0).ceil())]]
}

fn explained(points: &[(f64, f64)], slope: f64, origin: f64) -> f64 {
    let mean = points.iter().map(|(_, y)| y).sum::<f64>() / points.len() as f64;
    let all: f64 = points.iter().map(|(_, y)| (y - mean).powi(2)).sum();
    let left: f64 = points.iter().map(|(x, y)| (y - origin - slope * x).powi(2)).sum();
    if all > 0.0 { (1.0 - left / all).max(0.0) } else { 0.0 }
}

/// The median of sorted numbers, of which there is at least one.
pub fn middle(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    match sorted.len() % 2 {
        0 => f64::midpoint(sorted[half - 1], sorted[half]),
        _ => sorted[half],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_though_some_points_are_wild() {
        let mut points: Vec<(f64, f64)> = (0..20).map(|x| (f64::from(x), 3.0 + 2.0 * f64::from(x))).collect();
        let line = super::line(&points).unwrap();
        assert_eq!((line.slope, line.explains, line.between), (2.0, 1.0, [2.0, 2.0]));
        for wild in [3, 9, 15] {
            points[wild].1 = 1000.0;
        }
        let line = super::line(&points).unwrap();
        assert!((line.slope - 2.0).abs() < 0.3 && line.between[0] <= 2.0 && line.between[1] >= 2.0, "{line:?}");
    }

    #[test]
    fn nothing_is_told_of_too_few_points() {
        assert_eq!(line(&[(0.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(line(&[(1.0, 1.0); 5]), None);
        let flat = line(&[(0.0, 7.0), (1.0, 7.0), (2.0, 7.0)]).unwrap();
        assert_eq!((flat.slope, flat.explains), (0.0, 0.0));
    }

    #[test]
    fn the_interval_holds_the_slope_nine_times_in_ten() {
        // A generator of its own, so that the test is the same everywhere.
        let mut state = 1u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1u32 << 31) - 0.5
        };
        let held = (0..1000).filter(|_| {
            let points: Vec<(f64, f64)> = (0..12).map(|x| (f64::from(x), 0.2 * f64::from(x) + noise())).collect();
            let [low, high] = line(&points).unwrap().between;
            low <= 0.2 && 0.2 <= high
        });
        let held = held.count();
        assert!((850..=960).contains(&held), "{held}");
    }
}
