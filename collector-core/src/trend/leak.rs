//! Whether memory leaks, by what it held in windows. The thresholds are common practice for leaks: half an hour after the start, rising
//! minima, a line that explains four fifths of them, and growth that has not slowed down.

use serde::{Deserialize, Serialize};

use super::fit::{self, Line};

const HOUR_NS: u64 = 60 * 60 * 1_000_000_000;
/// Length of a window in nanoseconds: longer than the usual cycle of a garbage collector or a batch, so that each window has its low.
pub const WINDOW_NS: u64 = 12 * 60 * 1_000_000_000;
/// The most windows that are judged.
pub const SPAN: usize = (2 * HOUR_NS / WINDOW_NS) as usize;
/// With fewer windows there is not enough data.
const LEAST: usize = (HOUR_NS / WINDOW_NS) as usize;
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
/// Work that grew by this share while memory followed it explains the growth.
const MORE_WORK: f64 = 0.25;
const FOLLOWS: f64 = 0.8;
/// Of so many windows at least its work is known, and it grew by less than this share: then it is the same work.
const KNOWN: usize = 3;
const SAME_WORK: f64 = 0.1;

/// What was held during one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// When it began, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// The least that was held.
    pub low: f64,
    /// The work that was done, in any unit; absent if it is not known.
    pub work: Option<f64>,
}

/// How leaks are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Length of a window in nanoseconds.
    pub window: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { window: WINDOW_NS }
    }
}

impl Settings {
    /// How long after a start nothing is judged, in nanoseconds: a program loads and fills its caches. Half an hour with the usual window.
    pub fn warm(self) -> u64 {
        self.window.saturating_mul(5) / 2
    }
}

/// Whether the lows may become a leak: whoever is to say what grew must look before that is sure.
pub fn rises(span: &[Window], scale: f64) -> bool {
    let (Some(first), Some(last)) = (span.first(), span.last()) else { return false };
    let hours = last.time.saturating_sub(first.time) as f64 / HOUR_NS as f64;
    // A line that rises so fast as a leak ends higher than half of that.
    span.len() > 1 && last.low > first.low && last.low - first.low >= LEAK * scale * hours / 2.0
}

/// The line of a leak through the lows of windows, in units an hour. `held` is the most that any window before had as its low, `scale`
/// what there is. `None` if it is no leak, or there is not enough data. Allocates only if the lows rose.
pub fn leak(held: Option<f64>, span: &[Window], scale: f64) -> Option<Line> {
    let (first, last) = (span.first()?, span.last()?);
    let hours = |window: &Window| window.time.saturating_sub(first.time) as f64 / HOUR_NS as f64;
    // A cycle of a day, or a cache that fills again, comes back to what there was.
    let beyond = held.is_none_or(|held| last.low >= held + BEYOND * scale);
    if span.len() < LEAST || !rises(span, scale) || !beyond {
        return None;
    }
    let lows: Vec<(f64, f64)> = span.iter().map(|window| (hours(window), window.low)).collect();
    let line = fit::line(&lows)?;
    let rising = span.windows(2).filter(|pair| pair[1].low > pair[0].low).count();
    let tail = &lows[lows.len() - (lows.len() / 4).max(3)..];
    let grows = line.slope >= LEAK * scale
        && line.between[0] > 0.0
        && line.explains >= EXPLAINED
        && rising as f64 >= RISING * (span.len() - 1) as f64
        && fit::line(tail)?.slope >= TAIL * line.slope;
    (grows && !follows_work(span)).then_some(line)
}

/// Whether the work stayed the same, or became less; `None` where too little is known of it.
pub fn is_steady(span: &[Window]) -> Option<bool> {
    let pairs = with_work(span);
    let more = more_work(&pairs).filter(|_| pairs.len() >= KNOWN)?;
    Some(more < SAME_WORK)
}

/// Whether the work grew too, and the lows with it.
fn follows_work(span: &[Window]) -> bool {
    let pairs = with_work(span);
    more_work(&pairs).is_some_and(|more| more >= MORE_WORK) && correlation(&pairs) >= FOLLOWS
}

/// The work and the low of each window of which the work is known.
fn with_work(span: &[Window]) -> Vec<(f64, f64)> {
    span.iter().filter_map(|window| Some((window.work?, window.low))).collect()
}

/// By which share of its mean the work grew.
fn more_work(pairs: &[(f64, f64)]) -> Option<f64> {
    let work: Vec<(f64, f64)> = pairs.iter().enumerate().map(|(x, (work, _))| (x as f64, *work)).collect();
    let line = fit::line(&work)?;
    let mean = pairs.iter().map(|(work, _)| work).sum::<f64>() / pairs.len() as f64;
    let more = line.slope * (pairs.len() - 1) as f64;
    Some(if mean > 0.0 { more / mean } else { 0.0 })
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
