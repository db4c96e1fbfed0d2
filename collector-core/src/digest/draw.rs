//! What the parts of a report have in common: for whom it is, its period, and its charts.

use super::axis::{self, Unit};
use super::block::{Block, Chart, Curve, Line, Picture, Stroke};
use super::words::{bytes, shown};
use super::{Digest, Figures};
use crate::zone::Zone;

/// Where and for whom a report is written.
#[derive(Clone, Debug)]
pub struct Setting {
    pub host: String,
    pub zone: Zone,
    pub listed: Listed,
}

/// Which workloads are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Those that matter.
    Important,
    /// So many, whether they matter or not.
    First(usize),
    All,
}

/// When it was, and whose time that is.
pub(super) fn period(digest: &Digest, zone: &Zone) -> String {
    let (from, to) = (zone.minute(digest.from), zone.minute(digest.to));
    format!("{from} to {to} {}", zone.name(digest.from, digest.to))
}

/// Most and mean against the limit in force at the time.
pub(super) fn memory_chart(
    title: &str,
    limit: &str,
    figures: &Figures,
    digest: &Digest,
    zone: &Zone,
    marks: Vec<(u64, String)>,
) -> Option<Block> {
    figures.memory_bytes.max?;
    let mut curves = vec![
        curve("most in each quarter of an hour", Stroke::Solid, &figures.memory),
        curve("mean", Stroke::Thin, &figures.memory_mean),
    ];
    if figures.limit.iter().any(|(_, limit)| limit.is_some()) {
        curves.push(curve(limit, Stroke::Dashed, &figures.limit));
    }
    let chart = chart(title.to_owned(), Unit::Bytes, curves, digest, zone);
    Some(Block::Chart(Chart { marks, most: shown(figures.memory_bytes.max, bytes), ..chart }))
}

pub(super) fn curve(name: &str, stroke: Stroke, line: &Line) -> Curve {
    Curve { name: name.to_owned(), stroke, line: line.clone() }
}

pub(super) fn most(curves: &[Curve]) -> f64 {
    curves.iter().flat_map(|curve| &curve.line).filter_map(|(_, value)| *value).fold(0.0, f64::max)
}

pub(super) fn chart(title: String, unit: Unit, curves: Vec<Curve>, digest: &Digest, zone: &Zone) -> Chart {
    let most = most(&curves);
    let (top, heights) = axis::heights(unit, most);
    let span = (digest.from, digest.to);
    let picture = Picture { span, top, curves };
    let edges = [digest.from, digest.to].map(|time| zone.minute(time));
    let times = axis::times(span, zone);
    Chart { title, picture, heights, times, marks: Vec::new(), most: unit.shown(most), edges }
}

/// A time as a share of the time for which the host was watched.
pub(super) fn share(digest: &Digest, time: f64) -> f64 {
    time / (digest.known_seconds as f64).max(1.0)
}
