//! A family's series as numbers, for rules to read. The same rows as in the exposition, without making text.

use std::fmt;

use super::METRICS;
use super::row::{Buckets, Kind, Level, Metric, Target, Value, seconds};
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

/// A series as it is now.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// The slot of the workload that it is about, if only that workload, and what this host can measure, change its number or
    /// whether there is one.
    pub workload: Option<usize>,
    /// The values of its labels.
    pub labels: &'a [&'a str],
    pub number: f64,
    /// When it started at zero, in nanoseconds since the Unix epoch; zero if not known, or for a gauge.
    pub created: u64,
}

/// Calls `visit` for each series of a metric, with the values of its labels, its number, and when it started at zero. What this
/// host cannot measure has no series.
pub fn visit(view: &View, metric: &'static Metric, part: Part, visit: &mut dyn FnMut(&[&str], f64, u64)) {
    each(view, metric, part, false, &mut |seen| visit(seen.labels, seen.number, seen.created));
}

/// The same; if `moved`, without the series of workloads that did not move since the last tick.
pub(crate) fn each(view: &View, metric: &'static Metric, part: Part, moved: bool, visit: &mut dyn FnMut(Seen<'_>)) {
    // A visitor cannot fail.
    let _ = metric.emit(view, moved, Level::Full, &mut Visitor { part, workload: None, visit });
}

struct Visitor<'a> {
    part: Part,
    workload: Option<usize>,
    visit: &'a mut dyn FnMut(Seen<'_>),
}

impl Visitor<'_> {
    fn see(&mut self, metric: &'static Metric, labels: &[&str], number: f64, created: u64) -> fmt::Result {
        debug_assert_eq!(labels.len(), metric.labels.len(), "{}", metric.name);
        (self.visit)(Seen { workload: self.workload, labels, number, created });
        Ok(())
    }
}

impl Target for Visitor<'_> {
    fn counter(&mut self, metric: &'static Metric, labels: &[&str], value: Value, created: u64) -> fmt::Result {
        self.see(metric, labels, value.number(), created)
    }

    fn gauge(&mut self, metric: &'static Metric, labels: &[&str], value: Value) -> fmt::Result {
        self.see(metric, labels, value.number(), 0)
    }

    fn about(&mut self, workload: Option<usize>) {
        self.workload = workload;
    }

    fn histogram(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        buckets: Buckets<'_>,
        created: u64,
    ) -> fmt::Result {
        let number = match self.part {
            Part::Sum => seconds(buckets.sum_ns()),
            Part::Whole | Part::Count => buckets.count() as f64,
        };
        self.see(metric, labels, number, created)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Id;
    use crate::engine::Engine;
    use crate::engine::test::{ID, start};
    use crate::metric::memory::CURRENT;
    use crate::sample::{Reading, Sample, Start, Statistics};
    use crate::signal::cgroup;
    use crate::statistic::workload::Statistic;

    #[test]
    fn only_series_of_workloads_that_moved_are_read() {
        let mut engine = Engine::new();
        let mut apply = |reading| drop(engine.apply(&Sample { time: 10, reading }));
        apply(Reading::Start(Start { workload_max: 10, ..start() }));
        let ids = [77, 78, 79].map(|id| Id { id, ..ID });
        for (id, path) in ids.into_iter().zip(["/a", "/b", "/c"]) {
            apply(Reading::Cgroup(cgroup::Reading::Born { id, path: path.into() }));
        }
        let mut moved = |numbers: [u64; 3]| {
            for (cgroup, number) in ids.into_iter().zip(numbers) {
                let values = [(Statistic::MemoryCurrent, number)].into_iter().collect();
                let reading = Reading::Statistics(Statistics { cgroup, values, turn: true });
                engine.apply(&Sample { time: 20, reading });
            }
            let metric = METRICS.iter().find(|metric| metric.name == CURRENT.name).unwrap();
            let mut seen = Vec::new();
            each(engine.view(), metric, Part::Whole, true, &mut |it| seen.push((it.labels[0].to_owned(), it.number)));
            engine.apply(&Sample { time: 30, reading: Reading::Tick });
            seen
        };
        assert_eq!(moved([1, 2, 3]).len(), 3);
        assert_eq!(moved([1, 2, 3]), []);
        assert_eq!(moved([1, 9, 3]), [("/b".to_owned(), 9.0)]);
    }
}
