//! The screen: which parts it has, and how the lines there are go to them. Every part has its least; the rest goes to those that want
//! more, the most important first.

use super::degraded::degraded;
use super::part;
use super::picture::{Part, Picture};
use crate::cli::sheet::{Line, Paint};
use crate::cli::state;
use crate::zone;

/// The narrowest and the widest screen.
const WIDTHS: (usize, usize) = (40, 200);
/// The lowest screen.
const HEIGHT: usize = 16;
/// Lines if stdout is no terminal: more of each part than anybody has would be too long to read.
const LONG: usize = 80;
/// From this height on, empty lines stand between parts.
const ROOMY: usize = 22;

#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub width: usize,
    /// `None` if there is no end.
    pub height: Option<usize>,
}

pub fn screen(picture: &Picture, size: Size, colour: bool) -> String {
    let width = size.width.clamp(WIDTHS.0, WIDTHS.1);
    let height = size.height.unwrap_or(LONG).max(HEIGHT);
    let parts = [
        Part { lines: vec![head(picture, width)], least: 1, order: 0, apart: false },
        part::reasons(picture, width),
        part::totals(picture, width),
        part::filesystems(picture, width),
        part::waiting(picture, width),
        degraded(picture, width),
        part::disks(picture, width),
        part::network(picture, width),
        part::gpus(picture, width),
        part::workloads(picture, width),
        part::last(picture, width),
    ];
    let lines = fill(parts, height);
    lines.iter().map(|line| line.render(width, colour) + "\n").collect()
}

/// The lines of all parts that fit.
fn fill<const N: usize>(parts: [Part; N], height: usize) -> Vec<Line> {
    let mut given: Vec<usize> = parts.iter().map(|part| part.least.min(part.lines.len())).collect();
    let apart = |index: usize| parts[index].apart && !parts[index].lines.is_empty();
    let gaps = if height >= ROOMY { (0..N).filter(|index| apart(*index)).count() } else { 0 };
    let mut room = height.saturating_sub(given.iter().sum::<usize>() + gaps);
    let mut order: Vec<usize> = (0..N).collect();
    order.sort_by_key(|index| parts[*index].order);
    while room > 0 {
        let before = room;
        for index in &order {
            if room > 0 && given[*index] < parts[*index].lines.len() {
                given[*index] += 1;
                room -= 1;
            }
        }
        if room == before {
            break;
        }
    }
    let mut lines = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        if gaps > 0 && apart(index) {
            lines.push(Line::default());
        }
        lines.extend(part.lines.iter().take(given[index]).cloned());
    }
    lines.truncate(height);
    lines
}

/// The host, its health, and when.
fn head(picture: &Picture, width: usize) -> Line {
    let Picture { host, agent, status, .. } = picture;
    let (paint, health) = state::health(status.health);
    let fires = match status.alerts.is_empty() && !agent {
        true => "read without an agent".to_owned(),
        false => state::fires(&status.alerts),
    };
    let clock = zone::named(status.time, picture.utc);
    let version = status.version.as_ref().filter(|_| *agent).map(|version| format!("headroom {version}  "));
    let line = Line::new(Paint::Bold, host).and(Paint::Plain, "  ").and(paint, health.to_uppercase());
    let line = line.and(Paint::Plain, "  ").and(Paint::Plain, fires);
    line.ending(width, Paint::Dim, version.unwrap_or_default() + &clock)
}

#[cfg(test)]
mod tests;
