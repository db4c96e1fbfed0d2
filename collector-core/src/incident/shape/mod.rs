//! Classifies how a series reached its last value: at once, steadily, or not at all. Works on the points of about a minute.

#[cfg(test)]
mod tests;

/// Seconds before the end, and value.
pub type Point = (f64, f64);

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Too few points.
    Unknown,
    /// It was near its last value for this long, up to the end.
    Steady { seconds: f64 },
    /// It rose at the end, by much more than before in the same time.
    Spike { growth: f64, seconds: f64 },
    /// It rose in a straight line up to the end, to where it had not been before.
    Growth { growth: f64, seconds: f64 },
    /// None of these.
    Uneven,
}

/// A rise within this many seconds is sudden …
pub const SUDDEN: f64 = 10.0;
/// … if it is more than this share of the last value …
const PART: f64 = 0.15;
/// … and this many times what the series usually rises in the same time.
const FASTER: f64 = 3.0;
/// What it usually rises: more than at this share of all times.
const USUAL: f64 = 0.9;
/// The first seconds of a young series up to this share of its level before the rise are its start …
const STARTED: f64 = 0.9;
/// … unless it went on rising within this many seconds before.
const SETTLED: f64 = 3.0;
/// Slow shapes last this long or longer, in seconds.
const LONG: f64 = 15.0;
/// Growth is at least this share of the last value.
const GROWTH: f64 = 0.03;
/// Share of the points' variance that a straight line must explain (R²).
const STRAIGHT: f64 = 0.9;
/// A longer line is preferred to a straighter one whose R² is better by no more than this.
const STRAIGHTER: f64 = 0.01;
/// Its last seconds rise by at least this share of its slope.
const STILL: f64 = 0.3;
/// Before a straight rise the series may have been as high as this share of the rise.
const BEFORE: f64 = 0.5;
/// A series is steady if it stays within this share of its last value.
pub const BAND: f64 = 0.15;
/// Fewer points than this show neither a line nor a level.
const LEAST: usize = 4;
/// A rise takes this many seconds at least.
const INSTANT: f64 = 0.001;
/// Points closer than this, in seconds, are neighbours: what lies between them may have come at once.
const NEXT: f64 = 1.5;

/// The shape of points, oldest first. `young`: the series began with the first of them.
pub fn of(points: &[Point], young: bool) -> Shape {
    let (Some((first, _)), Some((last, end))) = (points.first(), points.last()) else { return Shape::Unknown };
    let span = first - last;
    let known = points.iter().all(|(ago, value)| ago.is_finite() && value.is_finite());
    if !known || points.len() < 2 || span <= 0.0 || *end <= 0.0 {
        return Shape::Unknown;
    }
    let uneven = if span < LONG { Shape::Unknown } else { Shape::Uneven };
    spike(points, young).or_else(|| growth(points)).or_else(|| steady(points)).unwrap_or(uneven)
}

/// The rise from the lowest of the last seconds, if it is sudden.
fn spike(points: &[Point], young: bool) -> Option<Shape> {
    let (last, end) = *points.last()?;
    // From the latest point that is at least SUDDEN old.
    let from = points.iter().rposition(|(ago, _)| ago - last >= SUDDEN).unwrap_or(0);
    let low = points[from..].iter().map(|(_, value)| *value).fold(end, f64::min);
    let start = from + points[from..].iter().rposition(|(_, value)| *value <= low + (end - low) * 0.1)?;
    let (seconds, growth) = ((points[start].0 - last).max(INSTANT), end - points[start].1);
    let sudden = seconds < LONG && growth > PART * end;
    (sudden && growth >= FASTER * usual(&points[..=start], seconds, young)).then_some(Shape::Spike { growth, seconds })
}

/// What the points usually rise within some seconds, at most times less. The start of a young series does not count.
fn usual(points: &[Point], seconds: f64, young: bool) -> f64 {
    let (Some((first, _)), Some((last, level))) = (points.first(), points.last()) else { return 0.0 };
    let started = |(ago, value): &Point| first - ago >= SUDDEN || *value >= STARTED * level;
    let started = if young { points.iter().position(started).unwrap_or(0) } else { 0 };
    // A rise that goes on until the last point is no start.
    let goes_on = points.iter().rposition(|(ago, _)| ago - last >= SETTLED).unwrap_or(0);
    let points = &points[started.min(goes_on)..];
    let (first, lowest) = points[0];
    if first - last < seconds {
        // Known for a shorter time: as much as if it had gone on like that.
        return if first > *last { (level - lowest).max(0.0) * seconds / (first - last) } else { 0.0 };
    }
    let allowed = seconds.max(NEXT);
    let rise = |at: usize| {
        let (from, low) = points[at];
        let later = points[at + 1..].iter().take_while(|(to, _)| from - to <= allowed);
        let highest = later.map(|(_, high)| high - low).fold(0.0, f64::max);
        // Of a longer step, the part that may have come in this time.
        let (to, high) = points[at + 1];
        highest.max((high - low) * (allowed / (from - to)).min(1.0))
    };
    let mut rises: Vec<f64> = (0..points.len() - 1).map(rise).collect();
    rises.sort_unstable_by(f64::total_cmp);
    rises[(rises.len() as f64 * USUAL) as usize]
}

/// The longest straight rise up to the end, if it still goes on and the series was never nearly as high before it.
fn growth(points: &[Point]) -> Option<Shape> {
    let (last, end) = *points.last()?;
    let long = |start: &usize| points[*start].0 - last >= LONG && points.len() - start >= LEAST;
    let lines = (0..points.len()).take_while(long).map(|start| (start, line(&points[start..])));
    let rising = lines.clone().filter(|(_, line)| line.slope > 0.0);
    let best = rising.clone().map(|(_, line)| line.straight).fold(0.0, f64::max);
    let (start, longest) = rising.clone().find(|(_, line)| line.straight >= STRAIGHT.max(best - STRAIGHTER))?;
    let (_, shortest) = lines.last()?;
    let (ago, low) = points[start];
    let growth = end - low;
    let before = points[..start].iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let new = growth >= GROWTH * end && before <= low + BEFORE * growth;
    let on = shortest.slope >= STILL * longest.slope;
    (new && on).then_some(Shape::Growth { growth, seconds: ago - last })
}

/// How long it has been near its last value. A longer gap between two points may hide anything.
fn steady(points: &[Point]) -> Option<Shape> {
    let (last, end) = *points.last()?;
    let near = |value: f64| (value - end).abs() <= BAND * end;
    let breaks = |pair: &[Point]| !near(pair[0].1) || pair[0].0 - pair[1].0 > LONG;
    let first = points.windows(2).rposition(breaks).map_or(0, |at| at + 1);
    let seconds = points[first].0 - last;
    (seconds >= LONG && points.len() - first >= LEAST).then_some(Shape::Steady { seconds })
}

#[derive(Clone, Copy)]
struct Line {
    /// Per second.
    slope: f64,
    /// R²: 1 if all points are on it.
    straight: f64,
}

/// The least-squares line through the points.
fn line(points: &[Point]) -> Line {
    let count = points.len() as f64;
    let mean = |of: fn(&Point) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(|point| -point.0), mean(|point| point.1));
    let sum = |of: &dyn Fn(f64, f64) -> f64| points.iter().map(|(x, y)| of(-x - x_mean, y - y_mean)).sum::<f64>();
    let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
    if xx <= 0.0 || yy <= 0.0 {
        return Line { slope: 0.0, straight: 0.0 };
    }
    Line { slope: xy / xx, straight: xy * xy / (xx * yy) }
}
