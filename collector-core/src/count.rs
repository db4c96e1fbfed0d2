//! Counters that only grow, and histograms of durations as the kernel side counts them.

use collector_common::histogram;

/// A histogram, or its growth, as the kernel counts it: [`histogram::BUCKETS`] counts, then the sum in nanoseconds.
pub type Histogram = [u64; histogram::WORDS];

/// Adds growth to a counter. A huge amount from a broken source saturates instead of wrapping.
pub fn grow(counter: &mut u64, growth: u64) {
    *counter = counter.saturating_add(growth);
}

/// Adds growth to a histogram.
pub fn grow_histogram(histogram: &mut Histogram, growth: &Histogram) {
    histogram.iter_mut().zip(growth).for_each(|(word, growth)| grow(word, *growth));
}

/// Number of durations in a histogram.
pub fn count(histogram: &Histogram) -> u64 {
    sum(histogram[..histogram::BUCKETS].iter().copied())
}

/// The saturating sum of amounts: a recording may contain anything.
pub fn sum(amounts: impl Iterator<Item = u64>) -> u64 {
    amounts.fold(0, u64::saturating_add)
}
