//! [`Timed`]: the buckets of one histogram, added up over all that told it.

use std::sync::Arc;

use super::{Row, To, whole};
use crate::model::exposition::Labels;
use crate::statistic::model::{EDGES, Latency, Stage};

/// Which series of a row's metric it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Value,
    Bucket,
    Sum,
    Count,
}

/// Whether a series is of this row's metric.
pub(super) fn part(name: &str, row: &Row) -> Option<Part> {
    let rest = name.strip_prefix(row.name)?;
    match (row.to, rest) {
        (To::Time(_), "_bucket") => Some(Part::Bucket),
        (To::Time(_), "_sum") => Some(Part::Sum),
        (To::Time(_), "_count") => Some(Part::Count),
        (To::Time(_), _) => None,
        (_, rest) => rest.is_empty().then_some(Part::Value),
    }
}

#[derive(Default)]
pub(super) struct Timed {
    /// By their upper edges in nanoseconds, rising.
    buckets: Vec<(u64, Added)>,
    /// The bucket without an edge.
    last: Added,
    sum: Added,
    count: Added,
    broken: bool,
}

/// A sum, and of how many.
#[derive(Clone, Copy, Default)]
struct Added {
    sum: f64,
    of: u32,
}

impl Added {
    fn take(&mut self, value: f64) {
        self.sum += value;
        self.of += 1;
    }
}

impl Timed {
    pub(super) fn take(&mut self, part: Part, labels: Labels<'_>, value: f64, scale: f64) {
        // Ranks tell the same: the first is enough.
        let first = |label| labels.raw(label).is_none_or(|rank| rank.is_empty() || rank == "0");
        if !["tp_rank", "pp_rank", "moe_ep_rank"].into_iter().all(first) {
            return;
        }
        if !value.is_finite() || value < 0.0 {
            self.broken = true;
            return;
        }
        match part {
            Part::Sum => self.sum.take(value * scale),
            Part::Count => self.count.take(value),
            Part::Bucket => match labels.raw("le").and_then(|edge| edge.parse::<f64>().ok()) {
                Some(f64::INFINITY) => self.last.take(value),
                edge => match edge.and_then(|edge| whole(edge * scale)) {
                    Some(edge) => self.bucket(edge, value),
                    None => self.broken = true,
                },
            },
            Part::Value => {}
        }
    }

    fn bucket(&mut self, edge: u64, value: f64) {
        match self.buckets.binary_search_by_key(&edge, |(edge, _)| *edge) {
            Ok(place) => self.buckets[place].1.take(value),
            Err(_) if self.buckets.len() == EDGES => self.broken = true,
            Err(place) => self.buckets.insert(place, (edge, Added { sum: value, of: 1 })),
        }
    }

    /// `None` if buckets fall, if those of several engines differ, or if there are too many.
    pub(super) fn finish(self, stage: Stage) -> Option<Latency> {
        let sum = (self.sum.of > 0).then_some(self.sum.sum).and_then(whole)?;
        let all = if self.last.of > 0 { self.last } else { self.count };
        let alike = self.buckets.iter().all(|(_, added)| added.of == all.of);
        // Without the bucket that has no edge, the count stands for it; a count alone is what some servers tell.
        if self.broken || all.of == 0 || !alike {
            return None;
        }
        let mut below = 0;
        let mut counts = Vec::with_capacity(self.buckets.len() + 1);
        for with in self.buckets.iter().map(|(_, added)| added.sum).chain([all.sum]) {
            let with = whole(with)?;
            counts.push(with.checked_sub(below)?);
            below = with;
        }
        let edges: Arc<[u64]> = self.buckets.iter().map(|(edge, _)| *edge).collect();
        Some(Latency { stage, edges, counts, sum })
    }
}
