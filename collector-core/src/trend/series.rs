//! Points of one number over time, made fit to be judged: split where the work started anew, and folded into windows. Does
//! not know what the number is.

/// What one window stands for, in nanoseconds: longer than the usual cycle of a garbage collector or a batch, so that each window has a
/// low of it.
pub const WINDOW_NS: u64 = 12 * 60 * 1_000_000_000;
/// A fall by this share of the scale, to less than [`LEFT`] of what there was, is a new start.
const FALL: f64 = 0.1;
const LEFT: f64 = 0.5;

/// A number in a period: of a minute, or of a quarter of an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When the period began, in nanoseconds since the Unix epoch.
    pub time: u64,
    pub low: f64,
    pub mean: f64,
    pub high: f64,
}

/// Points since the work started last, and when that was.
#[derive(Clone, Debug, PartialEq)]
pub struct Since<'a> {
    /// In nanoseconds since the Unix epoch; absent if it is not known.
    pub start: Option<u64>,
    pub points: &'a [Point],
}

/// A window of points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// When it began, in nanoseconds since the Unix epoch.
    pub time: u64,
    pub low: f64,
    pub mean: f64,
    pub high: f64,
}

/// The points since the last start. `starts` are known ones, in any order; others show as a fall of the number against `scale`. Where
/// the clock was set back, what was before is left out.
pub fn since<'a>(points: &'a [Point], starts: &[u64], scale: f64) -> Since<'a> {
    let told = starts.iter().copied().filter(|start| points.last().is_some_and(|last| *start <= last.time)).max();
    let mut first = told.map_or(0, |start| points.partition_point(|point| point.time < start));
    let mut start = told;
    for (place, pair) in points.windows(2).enumerate() {
        let [before, now] = pair else { continue };
        let fell = before.mean - now.high >= FALL * scale && now.high < LEFT * before.mean;
        if (fell || now.time <= before.time) && place + 1 > first {
            (first, start) = (place + 1, fell.then_some(now.time));
        }
    }
    Since { start, points: &points[first.min(points.len())..] }
}

/// Windows of [`WINDOW_NS`] from the first point on. A window of which less than half is known is left out.
pub fn windows(points: &[Point]) -> Vec<Window> {
    let Some(first) = points.first().map(|point| point.time) else { return Vec::new() };
    let step = step(points);
    let mut windows = Vec::new();
    let mut rest = points;
    while let Some(point) = rest.first() {
        let place = (point.time - first) / WINDOW_NS;
        let end = first + (place + 1) * WINDOW_NS;
        let (these, later) = rest.split_at(rest.partition_point(|point| point.time < end));
        rest = later;
        if (these.len() as u64).saturating_mul(step) * 2 < WINDOW_NS {
            continue;
        }
        let fold = |of: fn(&Point) -> f64, pick: fn(f64, f64) -> f64| these.iter().map(of).reduce(pick);
        let mean = these.iter().map(|point| point.mean).sum::<f64>() / these.len() as f64;
        let (low, high) = (fold(|point| point.low, f64::min), fold(|point| point.high, f64::max));
        if let (Some(low), Some(high)) = (low, high) {
            windows.push(Window { time: first + place * WINDOW_NS, low, mean, high });
        }
    }
    windows
}

/// What a point stands for: the least time between two.
fn step(points: &[Point]) -> u64 {
    points
        .windows(2)
        .map(|pair| pair[1].time.saturating_sub(pair[0].time))
        .filter(|apart| *apart > 0)
        .min()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000_000;

    fn points(values: &[f64]) -> Vec<Point> {
        let point = |(minute, value): (usize, &f64)| Point {
            time: (minute as u64 + 1) * MINUTE,
            low: value - 1.0,
            mean: *value,
            high: value + 1.0,
        };
        values.iter().enumerate().map(point).collect()
    }

    #[test]
    fn what_was_before_a_start_is_left_out() {
        let all = points(&[50.0, 52.0, 54.0, 10.0, 12.0, 11.0]);
        let judged = since(&all, &[], 100.0);
        assert_eq!((judged.start, judged.points), (Some(4 * MINUTE), &all[3..]), "it fell");
        let judged = since(&all, &[5 * MINUTE, MINUTE], 100.0);
        assert_eq!((judged.start, judged.points), (Some(5 * MINUTE), &all[4..]), "it is known");
        let steady = points(&[50.0, 45.0, 50.0, 40.0]);
        assert_eq!(since(&steady, &[], 100.0), Since { start: None, points: &steady });
        assert_eq!(since(&steady, &[99 * MINUTE], 100.0).start, None, "a start that is still to come");
        let mut back = points(&[50.0, 51.0, 52.0]);
        back[2].time = 1;
        assert_eq!(since(&back, &[], 100.0).points, &back[2..], "the clock was set back");
        assert_eq!(since(&[], &[7], 100.0).points, []);
    }

    #[test]
    fn windows_have_the_lows_and_leave_out_what_is_hardly_known() {
        let mut all = points(&(0..36).map(|minute| f64::from(minute % 10)).collect::<Vec<_>>());
        let lows: Vec<f64> = windows(&all).iter().map(|window| window.low).collect();
        assert_eq!(lows, [-1.0, -1.0, -1.0]);
        // Two minutes of the second window are left.
        all.drain(14..24);
        let times: Vec<u64> = windows(&all).iter().map(|window| window.time).collect();
        assert_eq!(times, [MINUTE, MINUTE + 2 * WINDOW_NS]);
        assert_eq!(windows(&[]), []);
    }
}
