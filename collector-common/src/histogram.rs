//! The buckets of histograms: one definition for the programs that count and the collector that publishes.
//!
//! Bucket `i` holds durations up to and including 2^i microseconds; the last one holds all longer ones. The edges are
//! the same in the kernel and in the exposition, so no sample moves from one bucket to another.

/// Buckets with an upper edge, from 1 µs to 2^25 µs (33.6 s).
pub const EDGES: usize = 26;
/// All buckets, including the open one.
pub const BUCKETS: usize = EDGES + 1;
/// 64-bit words of a histogram in a map: the buckets, then the sum in nanoseconds.
pub const WORDS: usize = BUCKETS + 1;
/// Index of the sum.
pub const SUM: usize = BUCKETS;

/// The bucket that holds a duration of `ns` nanoseconds.
#[inline(always)]
pub const fn bucket(ns: u64) -> usize {
    let us = ns.div_ceil(1000);
    if us <= 1 {
        return 0;
    }
    let index = (u64::BITS - (us - 1).leading_zeros()) as usize;
    if index < EDGES { index } else { EDGES }
}

/// Upper edge of bucket `index` in nanoseconds, inclusive; `None` for the open bucket.
pub const fn edge_ns(index: usize) -> Option<u64> {
    if index < EDGES { Some(1000 << index) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edge_is_the_last_value_of_its_bucket() {
        for index in 0..EDGES {
            let edge = edge_ns(index).unwrap();
            assert_eq!(bucket(edge), index, "edge of {index}");
            assert_eq!(bucket(edge + 1), index + 1, "just past the edge of {index}");
        }
    }

    #[test]
    fn the_ends_of_the_range_have_a_bucket() {
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(1), 0);
        assert_eq!(bucket(u64::MAX), EDGES);
        assert_eq!(edge_ns(EDGES), None);
    }
}
