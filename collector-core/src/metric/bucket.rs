//! [`Buckets`]: durations by length, as a row of the catalogue hands them on. The edges are those that the programs count by, or those of
//! whoever counted.

use collector_common::histogram;

use crate::count::{self, Histogram};
use crate::statistic::model::Latency;

/// How many durations are in each bucket, and their sum.
#[derive(Clone, Copy, Debug)]
pub struct Buckets<'a> {
    /// Absent for those of [`histogram`].
    edges: Option<&'a [u64]>,
    counts: &'a [u64],
    sum: u64,
}

impl<'a> From<&'a Histogram> for Buckets<'a> {
    fn from(histogram: &'a Histogram) -> Buckets<'a> {
        Buckets { edges: None, counts: &histogram[..histogram::BUCKETS], sum: histogram[histogram::SUM] }
    }
}

impl<'a> From<&'a Latency> for Buckets<'a> {
    fn from(latency: &'a Latency) -> Buckets<'a> {
        Buckets { edges: Some(&latency.edges), counts: &latency.counts, sum: latency.sum }
    }
}

impl<'a> Buckets<'a> {
    /// Not cumulative. The last one has no upper edge.
    pub fn counts(&self) -> &'a [u64] {
        self.counts
    }

    /// Whether the edges are those of [`histogram`].
    pub fn has_common_edges(&self) -> bool {
        self.edges.is_none()
    }

    /// The upper edge of a bucket in nanoseconds; `None` for the last.
    pub fn edge_ns(&self, index: usize) -> Option<u64> {
        self.edges.map_or_else(|| histogram::edge_ns(index), |edges| edges.get(index).copied())
    }

    /// Number of durations.
    pub fn count(&self) -> u64 {
        count::sum(self.counts.iter().copied())
    }

    /// The sum of all durations in nanoseconds.
    pub fn sum_ns(&self) -> u64 {
        self.sum
    }

    /// Number of series: buckets, sum and count.
    pub fn series(&self) -> u64 {
        self.counts.len() as u64 + 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistic::model::Stage;

    #[test]
    fn edges_are_those_of_whoever_counted() {
        let mut histogram = Histogram::default();
        (histogram[3], histogram[histogram::SUM]) = (7, 50);
        let common = Buckets::from(&histogram);
        assert_eq!((common.count(), common.sum_ns(), common.series()), (7, 50, histogram::BUCKETS as u64 + 2));
        assert_eq!([0, 1, histogram::EDGES].map(|index| common.edge_ns(index)), [Some(1000), Some(2000), None]);
        let latency = Latency { stage: Stage::Queue, edges: [5, 9].into(), counts: vec![1, 2, 3], sum: 44 };
        let own = Buckets::from(&latency);
        assert_eq!((own.count(), own.sum_ns(), own.series(), own.has_common_edges()), (6, 44, 5, false));
        assert_eq!([0, 1, 2].map(|index| own.edge_ns(index)), [Some(5), Some(9), None]);
    }
}
