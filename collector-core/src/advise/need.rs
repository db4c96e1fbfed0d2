//! How much memory a workload needs: the peaks of its last days of what the kernel cannot drop, the newest days first. Common practice for
//! such sizes: eight days, each of which counts half of the one after it, the ninth decile or the most, and 15 % more. Knows no rule.

use std::collections::BTreeMap;

use crate::past::{DAY_NS, Day, Past};
use crate::statistic::model::Statistic::{OffloadBytes, PromptCacheBytes};
use crate::statistic::model_file::How;
use crate::statistic::workload::Statistic;
use crate::view::View;
use crate::view::slow::{Fact, is_shared};
use crate::view::workload::{OTHER, Workload};

/// So many days count.
pub(super) const DAYS: u64 = 8;
pub(super) const DAY_SECONDS: u64 = 24 * 60 * 60;
/// The share of the weight of all days that lies at or below the number that counts.
const PERCENTILE: f64 = 0.9;
/// What is added to it.
pub(super) const MARGIN: f64 = 1.15;

/// In bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Need {
    /// The most of all days.
    pub peak: f64,
    /// With the margin, and never less than the peak.
    pub target: f64,
    /// Between this and the target little data cannot tell too much from enough.
    pub upper: f64,
    /// For how many seconds of these days anything is known.
    pub seconds: u64,
    /// Page cache could not be told apart on some of these days: it may be less.
    pub with_cache: bool,
}

impl Need {
    pub(super) fn days(&self) -> f64 {
        self.seconds as f64 / DAY_SECONDS as f64
    }

    /// Whether there is a day of it: with less nothing is judged.
    pub(super) fn is_enough(&self) -> bool {
        self.seconds >= DAY_SECONDS
    }
}

/// What workloads hold besides: model files that they map, and what their servers may still take. In bytes.
#[derive(Debug, Default)]
pub(super) struct Servers<'a>(BTreeMap<&'a str, Served>);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Served {
    /// Size of the model files that it maps.
    pub mapped: f64,
    /// What of them is in the page cache, as far as that is known.
    pub cached: f64,
    /// What of them was read again after it was dropped, since they were first seen.
    pub again: f64,
    /// What its prompt cache and its KV cache in host memory may still grow by.
    pub promised: f64,
    /// It serves a model.
    pub serves: bool,
}

impl<'a> Servers<'a> {
    pub(super) fn of(view: &'a View) -> Servers<'a> {
        let mut all = BTreeMap::<&str, Served>::new();
        for (([workload, ..], _, _), line) in view.model_files.lines(&view.workloads) {
            let served = all.entry(workload).or_default();
            if line.how == How::Mapped {
                served.mapped += line.bytes as f64;
                served.cached += line.cached.unwrap_or(0) as f64;
                served.again += line.again as f64;
            }
        }
        for told in view.models.servers.values() {
            let Some(workload) = told.workload(&view.workloads) else { continue };
            let served = all.entry(&*workload.name).or_default();
            served.serves = true;
            let held = told.held(view);
            for (statistic, has) in [(PromptCacheBytes, held.prompt_cache), (OffloadBytes, held.kv_offload)] {
                let may: u64 = told.models.values().filter_map(|model| model.values.get(statistic)).sum();
                served.promised += may.saturating_sub(has.unwrap_or(0)) as f64;
            }
        }
        Servers(all)
    }

    pub(super) fn get(&self, workload: &str) -> Served {
        self.0.get(workload).copied().unwrap_or_default()
    }
}

/// Bytes a second that are read again count from here.
const AGAIN: f64 = 1e6;
/// So much of what it maps was read again, or so many bytes.
const AGAIN_SHARE: f64 = 0.1;
const AGAIN_LEAST: f64 = (64u64 << 20) as f64;
/// How far back it is judged.
pub(super) const REACH_NS: u64 = 180_000_000_000;

/// Whether a workload reads model files again that it maps, because they do not stay in the page cache, now and not only once.
pub(super) fn reads_again(view: &View, workload: &Workload, served: &Served) -> bool {
    if served.mapped == 0.0 || served.again < (AGAIN_SHARE * served.mapped).max(AGAIN_LEAST) {
        return false;
    }
    let since = view.time.saturating_sub(REACH_NS);
    let trail = view.slow.workload(&workload.name);
    match trail.and_then(|trail| trail.means(Fact::RefaultFile, since, view.time)) {
        Some(means) => means.now >= AGAIN,
        // Where nobody counts that, it lacks some of them now.
        None => served.cached < 0.95 * served.mapped,
    }
}

/// Workloads that something can be advised about: they exist, and what they use is their own.
pub(super) fn sized(view: &View) -> impl Iterator<Item = &Workload> {
    view.workloads.iter().filter(|workload| *workload.name != *OTHER && workload.is_alive() && !is_shared(workload))
}

/// The days of it that count, with their weights: the newest is the last.
pub(super) fn recent<'p>(past: &'p Past, days: &'p [Day]) -> impl Iterator<Item = (&'p Day, f64)> {
    let age = |day: &Day| past.time.saturating_sub(day.time) / DAY_NS;
    days.iter().filter(move |day| age(day) < DAYS).map(move |day| {
        let known = (f64::from(day.seconds) / DAY_SECONDS as f64).min(1.0);
        (day, (-(age(day) as f64)).exp2() * known)
    })
}

/// What it needs by its last days; `None` if nothing is known of them.
pub(super) fn need(past: &Past, workload: &Workload) -> Option<Need> {
    let days = &past.workloads.get(&workload.name)?.days;
    let get = |statistic| workload.statistics.get(statistic).map(|bytes| bytes as f64);
    // What is neither anonymous nor page cache has no history; it is taken as it is now, and so is what is in swap.
    let rest =
        get(Statistic::MemoryWithoutCache).zip(get(Statistic::MemoryAnon)).map(|(all, anon)| (all - anon).max(0.0));
    let swap = get(Statistic::MemorySwap).unwrap_or(0.0);
    let mut with_cache = false;
    let mut seconds = 0;
    let mut peaks: Vec<(f64, f64)> = Vec::new();
    for (day, weight) in recent(past, days) {
        let Some(most) = day.memory.map(|[.., most]| most) else { continue };
        let peak = match (day.anon, rest) {
            (Some([.., anon]), Some(rest)) => (anon + rest).min(most),
            _ => {
                with_cache = true;
                most
            }
        };
        seconds += u64::from(day.seconds);
        peaks.push((peak + swap, weight));
    }
    let peak = peaks.iter().map(|(peak, _)| *peak).reduce(f64::max)?;
    let target = (percentile(peaks) * MARGIN).max(peak);
    let days = seconds as f64 / DAY_SECONDS as f64;
    Some(Need { peak, target, upper: target * (1.0 + 1.0 / days.max(0.1)), seconds, with_cache })
}

fn percentile(mut peaks: Vec<(f64, f64)>) -> f64 {
    peaks.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let all: f64 = peaks.iter().map(|(_, weight)| weight).sum();
    let mut sum = 0.0;
    for (peak, weight) in &peaks {
        sum += weight;
        if sum >= PERCENTILE * all {
            return *peak;
        }
    }
    peaks.last().map_or(0.0, |(peak, _)| *peak)
}

/// Up to a size that people would write: finer than a sixteenth of it.
pub(super) fn round_up(bytes: f64) -> u64 {
    const MIB: f64 = (1 << 20) as f64;
    let step = MIB.max((bytes.max(1.0) / 16.0).log2().floor().exp2());
    ((bytes / step).ceil() * step) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: f64 = (1u64 << 30) as f64;

    #[test]
    fn a_day_counts_half_of_the_one_after_it_and_the_most_is_the_least_that_is_needed() {
        let peaks = |newest_last: &[f64]| {
            let count = newest_last.len();
            newest_last.iter().enumerate().map(|(at, peak)| (*peak, (-((count - 1 - at) as f64)).exp2())).collect()
        };
        assert_eq!(percentile(peaks(&[10.0, 1.0, 1.0, 1.0, 1.0])), 1.0, "a peak of four days ago is an outlier");
        assert_eq!(percentile(peaks(&[1.0, 1.0, 1.0, 10.0, 1.0])), 10.0, "one of yesterday is none");
        assert_eq!(percentile(Vec::new()), 0.0);
    }

    #[test]
    fn sizes_are_round_and_hardly_larger() {
        for bytes in [1.0, 5e6, 1e9, 3.3e9, 17e9, 2e12] {
            let round = round_up(bytes) as f64;
            assert!(round >= bytes && (round <= bytes * 1.07 || round <= GIB / 1024.0), "{bytes} {round}");
        }
        assert_eq!(round_up(11.9 * GIB), (12.0 * GIB) as u64);
        assert_eq!(round_up(12.0 * GIB), (12.0 * GIB) as u64);
    }

    #[test]
    fn days_that_are_too_old_do_not_count() {
        let past = Past { time: 30 * DAY_NS, ..Past::default() };
        let days: Vec<Day> =
            (10..=30).map(|day| Day { time: day * DAY_NS, seconds: 86_400, ..Day::default() }).collect();
        let weights: Vec<f64> = recent(&past, &days).map(|(_, weight)| weight).collect();
        assert_eq!((weights.len(), weights[7], weights[6]), (8, 1.0, 0.5));
        let short = [Day { time: 30 * DAY_NS, seconds: 8640, ..Day::default() }];
        assert_eq!(recent(&past, &short).next().unwrap().1, 0.1, "a day of which little is known says little");
    }
}
