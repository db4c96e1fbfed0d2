//! [`Latency`]: how long requests took, as servers tell it: counts by bucket edges of their own, or no more than a count and a sum.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// At most this many bucket edges are kept.
pub const EDGES: usize = 64;

/// What was timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LatencyStage)]
pub enum Stage {
    /// From the arrival of a request to its first token.
    FirstToken,
    /// Between two tokens.
    BetweenTokens,
    /// A whole request.
    EndToEnd,
    /// A request in the queue.
    Queue,
}

impl Stage {
    pub const ALL: [Stage; 4] = [Stage::FirstToken, Stage::BetweenTokens, Stage::EndToEnd, Stage::Queue];

    pub fn label(self) -> &'static str {
        ["first_token", "between_tokens", "end_to_end", "queue"][self as usize]
    }

    /// For people.
    pub fn title(self) -> &'static str {
        ["time to first token", "time between tokens", "end-to-end time", "time in the queue"][self as usize]
    }
}

/// Durations since the server started, or between two readings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    pub stage: Stage,
    /// The upper edges of the buckets in nanoseconds, rising, without the last (infinite) one. Empty if the server tells no more than a
    /// count and a sum.
    #[serde(default, skip_serializing_if = "<[u64]>::is_empty")]
    pub edges: Arc<[u64]>,
    /// How many durations are in each bucket, and above the last edge. Not cumulative. One more than the edges.
    pub counts: Vec<u64>,
    /// The sum of all durations in nanoseconds.
    pub sum: u64,
}

impl Latency {
    /// How many durations there are.
    pub fn count(&self) -> u64 {
        crate::count::sum(self.counts.iter().copied())
    }

    /// The mean duration in nanoseconds; `None` if there is none.
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum as f64 / count as f64)
    }

    /// What came since an older reading; `None` if the server started again in between, or has other buckets now.
    pub fn since(&self, older: &Latency) -> Option<Latency> {
        let same = self.stage == older.stage && self.edges == older.edges && self.counts.len() == older.counts.len();
        let mut grown = self.clone();
        for (count, before) in grown.counts.iter_mut().zip(&older.counts).filter(|_| same) {
            *count = count.checked_sub(*before)?;
        }
        grown.sum = self.sum.checked_sub(older.sum)?;
        same.then_some(grown)
    }

    /// The duration in nanoseconds below which a share (0 to 1) of all are: linear within a bucket, as Prometheus' `histogram_quantile`
    /// has it. `None` without durations or buckets, and above the last edge, where nothing is known but that it is more.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.count();
        if total == 0 || self.edges.is_empty() {
            return None;
        }
        let rank = share * total as f64;
        let (mut below, mut lower) = (0u64, 0u64);
        for (edge, count) in self.edges.iter().zip(&self.counts) {
            let with = below.saturating_add(*count);
            if *count > 0 && with as f64 >= rank {
                let part = ((rank - below as f64) / *count as f64).clamp(0.0, 1.0);
                return Some(lower as f64 + (*edge - lower) as f64 * part);
            }
            (below, lower) = (with, *edge);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(counts: &[u64], sum: u64) -> Latency {
        let edges: Vec<u64> = (1..counts.len() as u64).map(|edge| edge * 100).collect();
        Latency { stage: Stage::FirstToken, edges: edges.into(), counts: counts.to_vec(), sum }
    }

    #[test]
    fn quantiles_are_linear_within_a_bucket_and_unknown_above_the_last() {
        let all = latency(&[10, 0, 10, 0], 4000);
        assert_eq!([0.25, 0.5, 0.75, 1.0].map(|share| all.quantile(share)), [50.0, 100.0, 250.0, 300.0].map(Some));
        assert_eq!((all.count(), all.mean()), (20, Some(200.0)));
        let above = latency(&[1, 0, 9], 9000);
        assert_eq!((above.quantile(0.05), above.quantile(0.95)), (Some(50.0), None));
        assert_eq!((latency(&[0, 0], 0).quantile(0.5), latency(&[7], 70).quantile(0.5)), (None, None));
        assert_eq!(latency(&[7], 70).mean(), Some(10.0), "a count and a sum are enough for a mean");
    }

    #[test]
    fn growth_is_not_told_over_a_restart_or_other_buckets() {
        let (old, new) = (latency(&[1, 2, 0], 300), latency(&[1, 5, 1], 1300));
        assert_eq!(new.since(&old), Some(latency(&[0, 3, 1], 1000)));
        assert_eq!(old.since(&new), None);
        assert_eq!(new.since(&latency(&[1, 2], 300)), None);
        let other = Latency { stage: Stage::Queue, ..old.clone() };
        assert_eq!(new.since(&other), None);
    }
}
