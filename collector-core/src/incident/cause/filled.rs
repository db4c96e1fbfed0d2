//! Causes of OOM kills: what filled the limit.

use super::facts::{Facts, Reread};
use super::oom::KINDS;
use super::{Finding, Rule};
use crate::amount::{bytes, percent};
use crate::series::Series;

/// Pinned memory is named as a cause from this share of the limit, or of the host's memory.
const PINNED_SHARE: f64 = 0.25;

pub(super) const PINNED: Rule = Rule {
    name: "pinned_memory",
    kinds: KINDS,
    when: "The victim's workload had pinned a quarter or more of its limit (or of the host's memory) for GPUs, and pinned memory made up half or more of its growth.",
    find: |facts| {
        let figures = facts.figures()?;
        let pinned = figures.pinned_bytes?;
        let (whole, of) = match facts.own() {
            Some(hit) => (hit.bytes, "its limit"),
            None if facts.is_host() => (facts.evidence.host.total_bytes?, "the host's memory"),
            None => return None,
        };
        let growth = |series| {
            let points = facts.points(series);
            Some(points.last()?.1 - points.first()?.1)
        };
        let (grew, memory) = (growth(Series::Pinned)?, growth(Series::Memory)?);
        let share = pinned as f64 / whole as f64;
        if share < PINNED_SHARE || grew <= 0.0 || grew < memory / 2.0 {
            return None;
        }
        Some(Finding {
            sentence: format!(
                "{} had pinned {} of host memory for GPUs, {} of {of}, up by {} in the last minute. Pinned memory can neither be swapped nor dropped",
                figures.workload, bytes(pinned), percent(share), bytes(grew as u64),
            ),
            next: "Check for pinned buffers that are allocated repeatedly (offloading, data loaders with pin_memory). Shrink the pool, or raise the limit by what must stay pinned.".to_owned(),
            numbers: vec![
                ("pinned_bytes", Some(pinned as f64)),
                ("pinned_growth_bytes", Some(grew)),
                ("whole_bytes", Some(whole as f64)),
            ],
        })
    },
};

pub(super) const PAGE_CACHE: Rule = Rule {
    name: "page_cache",
    kinds: KINDS,
    when: "The victim's workload hit its own limit. Half or more of its memory was page cache (figures at most 30 s old), and it read more than that from disk in the last minute.",
    find: |facts| {
        let hit = facts.own()?;
        let Reread { cache, share, read } = facts.reread()?;
        Some(Finding {
            sentence: format!(
                "{} of the memory of {} was page cache, and it read {} in the last minute: its data does not fit into its limit of {}, so it keeps dropping and reading it",
                percent(share), hit.workload, bytes(read), bytes(hit.bytes),
            ),
            next: "Raise the limit by the size of what it keeps reading, or bypass the page cache (direct IO). Check whether it has many dirty or locked pages, which cannot be dropped.".to_owned(),
            numbers: vec![
                ("limit_bytes", Some(hit.bytes as f64)),
                ("cache_bytes", Some(cache as f64)),
                ("read_bytes", Some(read as f64)),
            ],
        })
    },
};
