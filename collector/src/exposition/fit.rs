//! Which series fit into the bytes that an exposition may have: those with short labels. Whoever names cgroups decides how long labels
//! are, so the longest are left out first, and nobody with a short name pays for them. Measures without writing anything.

use std::fmt;

use collector_common::histogram;
use collector_core::count::Histogram;
use collector_core::metric::METRICS;
use collector_core::metric::row::{Metric, Target, Value};
use collector_core::view::View;

use super::Format;

/// What one exposition may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    pub series: usize,
    pub bytes: usize,
}

impl From<usize> for Cap {
    fn from(series: usize) -> Cap {
        Cap { series, bytes: usize::MAX }
    }
}

/// Label lengths are told apart in steps of this many bytes.
const STEP: usize = 32;
/// Lengths from here on count as one: a cgroup's path has 4 KiB at most, and escaping can double it.
const STEPS: usize = 512;
/// Punctuation, value and line end of a line, about.
const REST: usize = 24;
/// Quotes, `=` and comma of a label.
const LABEL: usize = 4;

/// Bytes of labels, names included.
pub fn labels(metric: &Metric, values: &[&str]) -> usize {
    let written = metric.labels.iter().zip(values).filter(|(_, value)| !value.is_empty());
    written.map(|(name, value)| name.len() + value.len() + LABEL).sum()
}

/// The number of label bytes above which series have to be left out.
pub fn longest(view: &View, format: Format, bytes: usize) -> Result<usize, fmt::Error> {
    let mut measure = Measure { lines: [0; STEPS], others: 0, format };
    for metric in METRICS {
        metric.write(view, &mut measure)?;
    }
    let mut room = (bytes as u64).saturating_sub(measure.others);
    for (step, needed) in measure.lines.iter().enumerate() {
        match room.checked_sub(*needed) {
            Some(left) => room = left,
            None => return Ok(step * STEP),
        }
    }
    Ok(usize::MAX)
}

struct Measure {
    /// Bytes of series whose number depends on the host, by the bytes of their labels.
    lines: [u64; STEPS],
    /// Bytes of the others.
    others: u64,
    format: Format,
}

impl Measure {
    fn add(&mut self, metric: &'static Metric, values: &[&str], lines: usize) -> fmt::Result {
        let length = labels(metric, values);
        let bytes = (lines * (metric.name.len() + length + REST)) as u64;
        match metric.capped() {
            true => self.lines[(length / STEP).min(STEPS - 1)] += bytes,
            false => self.others += bytes,
        }
        Ok(())
    }

    /// Lines of `_created`.
    fn created(&self, created: u64) -> usize {
        usize::from(created > 0 && self.format == Format::OpenMetrics)
    }
}

impl Target for Measure {
    fn counter(&mut self, metric: &'static Metric, labels: &[&str], _: Value, created: u64) -> fmt::Result {
        self.add(metric, labels, 1 + self.created(created))
    }

    fn gauge(&mut self, metric: &'static Metric, labels: &[&str], _: Value) -> fmt::Result {
        self.add(metric, labels, 1)
    }

    fn histogram(&mut self, metric: &'static Metric, labels: &[&str], _: &Histogram, created: u64) -> fmt::Result {
        self.add(metric, labels, histogram::BUCKETS + 2 + self.created(created))
    }
}
