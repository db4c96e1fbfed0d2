//! Which series fit into the bytes that an exposition may have: those with short labels. Whoever names cgroups decides how long labels
//! are, so the longest are left out first, and nobody with a short name pays for them. Of those that are about as long, the first in
//! order stay. Measures without writing anything.

use std::fmt;

use collector_core::metric::METRICS;
use collector_core::metric::row::{Buckets, Level, Metric, Target, Value};
use collector_core::view::View;

use super::Format;

/// What one exposition may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    pub series: usize,
    pub bytes: usize,
    /// Which of the catalogue's series it has.
    pub level: Level,
}

impl Cap {
    pub const NONE: Cap = Cap { series: usize::MAX, bytes: usize::MAX, level: Level::Full };
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

/// How many lines a series has.
pub fn lines(series: u64, created: u64, format: Format) -> u64 {
    series + u64::from(created > 0 && format == Format::OpenMetrics)
}

/// Bytes of these lines, about.
fn bytes(metric: &Metric, length: usize, lines: u64) -> u64 {
    lines * (metric.name.len() + length + REST) as u64
}

fn step(length: usize) -> usize {
    (length / STEP).min(STEPS - 1)
}

/// What fits.
#[derive(Clone, Copy, Debug)]
pub struct Fit {
    /// All series whose labels are shorter than this many steps.
    steps: usize,
    /// Bytes that are left for those of exactly as many.
    room: u64,
}

impl Fit {
    pub const ALL: Fit = Fit { steps: STEPS, room: 0 };
    pub const NONE: Fit = Fit { steps: 0, room: 0 };

    /// What of this view fits into the cap's bytes.
    pub fn of(view: &View, format: Format, cap: Cap) -> Result<Fit, fmt::Error> {
        let mut measure = Measure { lines: [0; STEPS], others: 0, format };
        for metric in METRICS {
            metric.write(view, cap.level, &mut measure)?;
        }
        let mut room = (cap.bytes as u64).saturating_sub(measure.others);
        for (steps, needed) in measure.lines.iter().enumerate() {
            match room.checked_sub(*needed) {
                Some(left) => room = left,
                None => return Ok(Fit { steps, room }),
            }
        }
        Ok(Fit::ALL)
    }

    /// Whether a series with this many lines fits. After the first of the last step that does not, none of that step does: so the
    /// cut is predictable.
    pub fn takes(&mut self, metric: &Metric, values: &[&str], lines: u64) -> bool {
        if self.steps == STEPS {
            return true;
        }
        let length = labels(metric, values);
        if step(length) != self.steps {
            return step(length) < self.steps;
        }
        let left = self.room.checked_sub(bytes(metric, length, lines));
        self.room = left.unwrap_or(0);
        left.is_some()
    }
}

struct Measure {
    /// Bytes of series whose number depends on the host, by the bytes of their labels.
    lines: [u64; STEPS],
    /// Bytes of the others.
    others: u64,
    format: Format,
}

impl Measure {
    fn add(&mut self, metric: &'static Metric, values: &[&str], series: u64, created: u64) -> fmt::Result {
        let length = labels(metric, values);
        let bytes = bytes(metric, length, lines(series, created, self.format));
        match metric.capped() {
            true => self.lines[step(length)] += bytes,
            false => self.others += bytes,
        }
        Ok(())
    }
}

impl Target for Measure {
    fn counter(&mut self, metric: &'static Metric, labels: &[&str], _: Value, created: u64) -> fmt::Result {
        self.add(metric, labels, 1, created)
    }

    fn gauge(&mut self, metric: &'static Metric, labels: &[&str], _: Value) -> fmt::Result {
        self.add(metric, labels, 1, 0)
    }

    fn histogram(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        buckets: Buckets<'_>,
        created: u64,
    ) -> fmt::Result {
        self.add(metric, labels, buckets.series(), created)
    }
}
