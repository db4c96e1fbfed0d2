//! Draws series as lines of blocks.

use super::shown;
use super::spark::spark;
use super::text::{Paint, Text};
use crate::incident::Lines;
use crate::series::Series;

const NAME: usize = 22;
/// Fewer blocks than this are not drawn beside the range.
const LEAST: usize = 8;

/// A line of blocks, with the lowest and highest value, for each series that was ever above zero.
pub(super) fn lines(page: &mut Text, lines: &Lines) {
    let known =
        |series: &Series| lines.get(series.name()).is_some_and(|line| line.iter().flatten().any(|it| *it > 0.0));
    for series in Series::ALL.into_iter().filter(known) {
        if let Some(values) = lines.get(series.name()) {
            line(page, series.label(), series, values);
        }
    }
}

/// One series as a line of blocks.
pub(super) fn line(page: &mut Text, label: &str, series: Series, line: &[Option<f64>]) {
    let values = || line.iter().flatten().copied();
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    let range = match (shown(series, low), shown(series, high)) {
        (low, high) if low == high => low,
        (low, high) => format!("{low} … {high}"),
    };
    // A page too narrow for both shows only the blocks.
    let room = page.width.saturating_sub(NAME + 2);
    let (room, range) = match room.checked_sub(2 + range.chars().count()) {
        Some(room) if room >= LEAST => (room, range),
        _ => (room, String::new()),
    };
    let blocks = spark(line, room.min(line.len()));
    page.raw(Paint::Plain, &format!("  {label:NAME$}{blocks}  {range}"));
}
