//! What a number does over time: a leak, a step, a saw, a daily cycle, or nothing. The thresholds are of common practice for leaks
//! (half an hour after the start, rising minima, a line that explains four fifths, and growth that has not slowed down).

use super::fit::{self, Line};
use super::series::{self, Point, WINDOW_NS, Window};

const HOUR_NS: u64 = 60 * 60 * 1_000_000_000;
const DAY_NS: u64 = 24 * HOUR_NS;
/// After a start a program loads and fills its caches: that says nothing.
pub const WARM_NS: u64 = HOUR_NS / 2;
/// So much is judged.
pub const SPAN: usize = (2 * HOUR_NS / WINDOW_NS) as usize;
/// With fewer windows nothing is told.
pub const LEAST: usize = (HOUR_NS / WINDOW_NS) as usize;
/// A leak grows by 5 % of the limit an hour or more. A tenth less is for the noise of what was measured.
const LEAK: f64 = 0.045;
/// The line explains this share of a leak.
const EXPLAINED: f64 = 0.8;
/// This share of the windows lies above the one before.
const RISING: f64 = 0.7;
/// The last quarter still grows by this share of the whole.
const TAIL: f64 = 0.3;
/// A leak passes what was held before, by this share of the scale.
const BEYOND: f64 = 0.02;
/// Smaller changes, as shares of the scale, are none.
const SMALL: f64 = 0.05;
const TOOTH: f64 = 0.03;
/// Work that grew by this share while the number followed it explains the growth.
const MORE_WORK: f64 = 0.25;
const FOLLOWS: f64 = 0.8;
/// What repeats itself after a day does so by this much.
const DAILY: f64 = 0.6;

/// A number to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Number<'a> {
    /// Of a minute each, or of a quarter of an hour, oldest first.
    pub points: &'a [Point],
    /// What it is measured against: its limit, or all that there is. Above zero.
    pub scale: f64,
    /// When the work is known to have started, in nanoseconds since the Unix epoch.
    pub starts: &'a [u64],
    /// How much work was done meanwhile (CPU time, requests), if it is known: points of the same periods.
    pub work: &'a [Point],
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    NotEnoughData(Missing),
    /// It stays where it is.
    Flat,
    /// What it holds at least rises all the time, though the work does not.
    Leak(Leak),
    /// It rises with the work that is done.
    Work(Line),
    /// It rose or fell once.
    Step {
        /// In nanoseconds since the Unix epoch.
        at: u64,
        by: f64,
    },
    /// It rises and falls again within minutes.
    Saw {
        height: f64,
    },
    /// It repeats itself each day.
    Daily,
    /// None of these.
    Irregular,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Leak {
    /// The lows, in units an hour from the first window judged on.
    pub line: Line,
    /// The first window judged began then, in nanoseconds since the Unix epoch.
    pub since: u64,
    /// What it holds at least, at the end.
    pub level: f64,
}

/// What is missing for a trend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// There is nothing it could be measured against.
    Scale,
    /// Nanoseconds of readings, beside the first half hour after a start.
    Time { has: u64, needs: u64 },
}

/// What the number does at the end of its points.
pub fn judge(number: &Number<'_>) -> Shape {
    if !(number.scale > 0.0 && number.scale.is_finite()) {
        return Shape::NotEnoughData(Missing::Scale);
    }
    let run = series::since(number.points, number.starts, number.scale);
    let warm = run.start.map_or(0, |start| start.saturating_add(WARM_NS));
    let points = &run.points[run.points.partition_point(|point| point.time < warm)..];
    let windows = series::windows(points);
    if windows.len() < LEAST {
        let (has, needs) = (windows.len() as u64 * WINDOW_NS, LEAST as u64 * WINDOW_NS);
        return Shape::NotEnoughData(Missing::Time { has, needs });
    }
    let (before, span) = windows.split_at(windows.len().saturating_sub(SPAN));
    let held = before.iter().map(|window| window.low).reduce(f64::max);
    if let Some(leak) = leak(held, span, number.scale) {
        return match is_work(&beside(span, number.work)) {
            true => Shape::Work(leak.line),
            false => Shape::Leak(leak),
        };
    }
    if repeats(&windows) {
        return Shape::Daily;
    }
    still(span, number.scale)
}

/// Without growth that lasts.
fn still(span: &[Window], scale: f64) -> Shape {
    if let Some((at, by)) = step(span, scale) {
        return Shape::Step { at, by };
    }
    let mut heights: Vec<f64> = span.iter().map(|window| window.high - window.low).collect();
    heights.sort_unstable_by(f64::total_cmp);
    let height = fit::middle(&heights);
    let extent = |of: fn(&Window) -> f64| {
        let all = || span.iter().map(of);
        all().fold(f64::MIN, f64::max) - all().fold(f64::MAX, f64::min)
    };
    match extent(|window| window.low) < SMALL * scale {
        true if height >= TOOTH * scale => Shape::Saw { height },
        true if extent(|window| window.mean) < SMALL * scale => Shape::Flat,
        _ => Shape::Irregular,
    }
}

/// The leak that windows show, against what was held at least before them, as far as that is known. Allocates only where the number rose.
pub fn leak(held: Option<f64>, span: &[Window], scale: f64) -> Option<Leak> {
    let (first, last) = (span.first()?, span.last()?);
    let (since, level) = (first.time, last.low);
    let hours = |window: &Window| window.time.saturating_sub(since) as f64 / HOUR_NS as f64;
    // A line that rises so fast ends higher than half of that.
    let rose = level - first.low >= LEAK * scale * hours(last) / 2.0;
    // A cycle of a day, or a cache that fills again, comes back to what there was.
    let beyond = held.is_none_or(|held| level >= held + BEYOND * scale);
    if span.len() < LEAST || !rose || !beyond {
        return None;
    }
    let lows: Vec<(f64, f64)> = span.iter().map(|window| (hours(window), window.low)).collect();
    let line = fit::line(&lows)?;
    let rises = span.windows(2).filter(|pair| pair[1].low > pair[0].low).count();
    let tail = &lows[lows.len() - (lows.len() / 4).max(3)..];
    let is_one = line.slope >= LEAK * scale
        && line.between[0] > 0.0
        && line.explains >= EXPLAINED
        && rises as f64 >= RISING * (span.len() - 1) as f64
        && fit::line(tail)?.slope >= TAIL * line.slope;
    is_one.then_some(Leak { line, since, level })
}

/// The work that was done in windows, and what was held at least: where the work is known.
fn beside(span: &[Window], work: &[Point]) -> Vec<(f64, f64)> {
    let during = |window: &Window| {
        let from = work.partition_point(|point| point.time < window.time);
        let to = work.partition_point(|point| point.time < window.time + WINDOW_NS);
        let these = &work[from..to.max(from)];
        (!these.is_empty()).then(|| these.iter().map(|point| point.mean).sum::<f64>() / these.len() as f64)
    };
    span.iter().filter_map(|window| Some((during(window)?, window.low))).collect()
}

/// Whether the work grew too, and what was held with it: pairs of both, in the order of time.
pub fn is_work(pairs: &[(f64, f64)]) -> bool {
    let work: Vec<(f64, f64)> = pairs.iter().enumerate().map(|(x, (work, _))| (x as f64, *work)).collect();
    let Some(line) = fit::line(&work) else { return false };
    let mean = pairs.iter().map(|(work, _)| work).sum::<f64>() / pairs.len() as f64;
    let more = line.slope * (pairs.len() - 1) as f64;
    more >= MORE_WORK * mean && correlation(pairs) >= FOLLOWS
}

/// The one change that explains nearly all: when, and by how much.
fn step(span: &[Window], scale: f64) -> Option<(u64, f64)> {
    let spread = |windows: &[Window]| {
        let mean = windows.iter().map(|window| window.mean).sum::<f64>() / windows.len() as f64;
        (mean, windows.iter().map(|window| (window.mean - mean).powi(2)).sum::<f64>())
    };
    let (_, all) = spread(span);
    let splits = (1..span.len()).map(|place| {
        let ((before, left), (after, right)) = (spread(&span[..place]), spread(&span[place..]));
        (left + right, span[place].time, after - before)
    });
    let (left, at, by) = splits.min_by(|one, other| one.0.total_cmp(&other.0))?;
    (by.abs() >= SMALL * scale && left <= (1.0 - EXPLAINED) / 2.0 * all).then_some((at, by))
}

/// Whether it repeats itself after a day; that takes two days to be seen.
fn repeats(windows: &[Window]) -> bool {
    let (Some(first), Some(last)) = (windows.first(), windows.last()) else { return false };
    if last.time - first.time + WINDOW_NS < 2 * DAY_NS {
        return false;
    }
    let later = |window: &Window| {
        let found = windows.binary_search_by_key(&(window.time + DAY_NS), |other| other.time).ok()?;
        Some((window.mean, windows[found].mean))
    };
    let pairs: Vec<(f64, f64)> = windows.iter().filter_map(later).collect();
    pairs.len() >= SPAN && correlation(&pairs) >= DAILY
}

/// Pearson's; zero where one of both does not move.
fn correlation(pairs: &[(f64, f64)]) -> f64 {
    let count = pairs.len() as f64;
    let (x, y) = pairs.iter().fold((0.0, 0.0), |(x, y), pair| (x + pair.0 / count, y + pair.1 / count));
    let (mut both, mut xs, mut ys) = (0.0, 0.0, 0.0);
    for (one, other) in pairs {
        both += (one - x) * (other - y);
        xs += (one - x).powi(2);
        ys += (other - y).powi(2);
    }
    let size = (xs * ys).sqrt();
    if size > 0.0 { both / size } else { 0.0 }
}
