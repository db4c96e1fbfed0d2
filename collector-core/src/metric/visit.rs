//! A family's series as numbers, for rules to read. The same rows as in the exposition, without making text.

use std::fmt;

use collector_common::histogram;

use super::METRICS;
use super::row::{Kind, Level, Metric, Target, Value, seconds};
use crate::count::{Histogram, count};
use crate::view::View;

/// Which number of a series is read: the value, or of a histogram the sum or the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Whole,
    Sum,
    Count,
}

impl Part {
    /// The metric and the part that a name stands for. The name of a histogram's part ends in `_sum` or `_count`.
    pub fn find(name: &str) -> Option<(&'static Metric, Part)> {
        let named = |name: &str| METRICS.iter().find(|metric| metric.name == name);
        let part = |suffix, part| {
            let metric = named(name.strip_suffix(suffix)?).filter(|metric| metric.kind == Kind::Histogram)?;
            Some((metric, part))
        };
        let whole = named(name).filter(|metric| metric.kind != Kind::Histogram).map(|metric| (metric, Part::Whole));
        whole.or_else(|| part("_sum", Part::Sum)).or_else(|| part("_count", Part::Count))
    }

    /// Whether it only grows.
    pub fn grows(self, metric: &Metric) -> bool {
        matches!(metric.kind, Kind::Counter | Kind::Histogram)
    }
}

/// Calls `visit` for each series of a metric, with the values of its labels, its number, and the time when it started at zero,
/// in nanoseconds since the Unix epoch (zero if not known, or for a gauge). What this host cannot measure has no series.
pub fn visit(view: &View, metric: &'static Metric, part: Part, visit: &mut dyn FnMut(&[&str], f64, u64)) {
    // A visitor cannot fail.
    let _ = metric.write(view, Level::Full, &mut Visitor { part, visit });
}

struct Visitor<'a> {
    part: Part,
    visit: &'a mut dyn FnMut(&[&str], f64, u64),
}

impl Target for Visitor<'_> {
    fn counter(&mut self, _: &'static Metric, labels: &[&str], value: Value, created: u64) -> fmt::Result {
        (self.visit)(labels, value.number(), created);
        Ok(())
    }

    fn gauge(&mut self, _: &'static Metric, labels: &[&str], value: Value) -> fmt::Result {
        (self.visit)(labels, value.number(), 0);
        Ok(())
    }

    fn histogram(&mut self, _: &'static Metric, labels: &[&str], histogram: &Histogram, created: u64) -> fmt::Result {
        let number = match self.part {
            Part::Sum => seconds(histogram[histogram::SUM]),
            Part::Whole | Part::Count => count(histogram) as f64,
        };
        (self.visit)(labels, number, created);
        Ok(())
    }
}
