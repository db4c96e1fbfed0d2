//! [`Window`]: what a model said at the beginning of a window, and what its requests took until now. Judges nothing.

use std::sync::Arc;

use crate::latency::{Limits, MEASURES, Measure, Quantile, Timed};
use crate::statistic::model::Statistic::{
    GenerateTime, GeneratedTokens, PromptTokens, Requests, RequestsRunning, RequestsWaiting,
};
use crate::statistic::model::{Latency, Stage, Statistic, Values};
use crate::view::model::{Load, Served};

/// So many durations between tokens, or tokens, count as one request …
const TOKENS: u64 = 10;
/// … but of fewer requests than this part of the least number there are too few: those of one request are alike.
const PART: u64 = 3;
/// A window with too few requests becomes up to so many times as long.
pub(super) const LONGEST: u64 = 5;

/// A window that is not over.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub began: u64,
    /// The last answer in it.
    last: u64,
    values: Values,
    latency: Arc<[Latency]>,
    running: Sum,
    waiting: Sum,
}

/// A gauge in a window.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    answers: f64,
    all: f64,
    squares: f64,
}

impl Sum {
    fn add(&mut self, value: Option<u64>) {
        let Some(value) = value.map(|value| value as f64) else { return };
        *self = Sum { answers: self.answers + 1.0, all: self.all + value, squares: self.squares + value * value };
    }

    fn mean(self) -> Option<f64> {
        (self.answers > 0.0).then(|| self.all / self.answers)
    }

    /// The mean that one of them sees. Where a window has a busy and a calm half, most requests are in the busy one.
    fn seen(self) -> Option<f64> {
        (self.all > 0.0).then(|| self.squares / self.all).or(self.mean())
    }
}

/// A window that is over.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub began: u64,
    /// Since when the requests that ended in it may have run: earlier than its beginning, if too few ended for a while.
    pub since: u64,
    pub ended: u64,
    pub load: Load,
    /// How many requests ran, as one of them saw it.
    pub seen: Option<f64>,
    /// Seconds, by [`Measure::index`]; NaN where there were too few requests, or the server does not tell.
    pub seconds: [f32; MEASURES],
    /// The edges of the buckets of each [`Timed`], where there are any.
    edges: [Option<Arc<[u64]>>; Timed::ALL.len()],
}

impl Window {
    pub fn begin(time: u64, model: &Served) -> Window {
        Window {
            began: time,
            last: time,
            values: model.values.clone(),
            latency: model.latency.clone(),
            running: Sum::default(),
            waiting: Sum::default(),
        }
    }

    /// When the last answer came.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Whether requests ran in it.
    pub fn works(&self) -> bool {
        self.running.all > 0.0
    }

    /// Adds an answer. `None` if what came since the beginning is not known: the server started again, or changed.
    pub fn add(&mut self, time: u64, model: &Served) -> Option<()> {
        let values = &model.values;
        let same = self.latency.len() == model.latency.len()
            && self.latency.iter().zip(&*model.latency).all(|(old, new)| grew(old, new));
        let counters = [PromptTokens, GeneratedTokens, Requests, GenerateTime];
        let grew = counters.into_iter().all(|counter| match (self.values.get(counter), values.get(counter)) {
            (Some(old), Some(new)) => new >= old,
            (old, new) => old.is_none() && new.is_none(),
        });
        if time < self.last || !same || !grew {
            return None;
        }
        self.last = time;
        self.running.add(values.get(RequestsRunning));
        self.waiting.add(values.get(RequestsWaiting));
        Some(())
    }

    /// The window as it is with this answer, if it is long enough and there were enough requests.
    pub fn end(&self, limits: &Limits, model: &Served) -> Option<Point> {
        let values = &model.values;
        let ns = self.last - self.began;
        if ns < limits.window_ns.max(1) {
            return None;
        }
        let grown = |counter: Statistic| Some(values.get(counter)?.saturating_sub(self.values.get(counter)?));
        let stage = |stage: Stage| {
            let of = |all: &[Latency]| all.iter().position(|latency| latency.stage == stage);
            model.latency[of(&model.latency)?].since(&self.latency[of(&self.latency)?])
        };
        let whole = stage(Stage::EndToEnd);
        let requests = grown(Requests).or_else(|| Some(whole.as_ref()?.count()));
        let tokens = grown(GeneratedTokens);
        let each = |all: Option<u64>| {
            let (all, number) = all.zip(requests.filter(|number| *number > 0))?;
            Some(all as f64 / number as f64)
        };
        let load = Load {
            running: self.running.mean(),
            waiting: self.waiting.mean(),
            prompt: each(grown(PromptTokens)),
            output: each(tokens),
            rate: tokens.or(requests).map(|number| number as f64 * 1e9 / ns as f64),
            requests,
        };
        let mut point = Point {
            began: self.began,
            since: self.began,
            ended: self.last,
            load,
            seen: self.running.seen(),
            seconds: [f32::NAN; MEASURES],
            edges: [const { None }; Timed::ALL.len()],
        };
        for timed in Timed::ALL {
            let latency = match timed.stage() {
                Some(Stage::EndToEnd) => whole.clone(),
                Some(of) => stage(of),
                None => None,
            };
            let Some(latency) = latency else { continue };
            let number = match timed {
                Timed::BetweenTokens => {
                    (latency.count() / TOKENS).min(requests.map_or(u64::MAX, |ended| ended.saturating_mul(PART)))
                }
                _ => latency.count(),
            };
            point.durations(timed, &latency, number, limits.requests);
        }
        if let Some((ns, tokens)) = grown(GenerateTime).zip(tokens).filter(|(_, n)| n / TOKENS >= limits.requests) {
            point.tokens(ns, tokens, self.last - self.began);
        }
        point.seconds.iter().any(|seconds| !seconds.is_nan()).then_some(point)
    }
}

/// Whether these can be the same durations and some more.
fn grew(old: &Latency, new: &Latency) -> bool {
    let same = old.stage == new.stage && old.edges == new.edges && old.counts.len() == new.counts.len();
    same && old.counts.iter().zip(&new.counts).all(|(old, new)| new >= old)
}

impl Point {
    /// Seconds of a measure, if there were enough requests.
    pub fn get(&self, measure: Measure) -> Option<f64> {
        let seconds = self.seconds[measure.index()];
        (!seconds.is_nan()).then(|| f64::from(seconds))
    }

    /// The bucket that a duration is in, in seconds: of a quantile no more is known than that. `None` without buckets.
    pub fn bucket(&self, timed: Timed, seconds: f64) -> Option<(f64, f64)> {
        let edges = self.edges[timed as usize].as_ref()?;
        // A quantile on an edge may be a little above it by rounding.
        let ns = seconds * (1.0 - 1e-6) * 1e9;
        let place = edges.iter().position(|edge| *edge as f64 >= ns);
        let lower = place.unwrap_or(edges.len()).checked_sub(1).map_or(0.0, |below| edges[below] as f64 / 1e9);
        Some((lower, place.map_or(f64::INFINITY, |upper| edges[upper] as f64 / 1e9)))
    }

    fn put(&mut self, timed: Timed, quantile: Quantile, seconds: f64) {
        self.seconds[Measure { timed, quantile }.index()] = seconds as f32;
    }

    fn durations(&mut self, timed: Timed, latency: &Latency, requests: u64, least: u64) {
        let Some(mean) = latency.mean().filter(|_| requests >= least) else { return };
        self.put(timed, Quantile::Mean, mean / 1e9);
        let Some(last) = latency.edges.last() else { return };
        self.edges[timed as usize] = Some(latency.edges.clone());
        for quantile in [Quantile::P95, Quantile::P99] {
            let share = quantile.share().filter(|_| requests / quantile.requests() >= least);
            let Some(share) = share else { continue };
            // Above the last edge it is known to be more than that.
            self.put(timed, quantile, latency.quantile(share).unwrap_or(*last as f64) / 1e9);
        }
    }

    /// Of servers that tell no durations of requests: what a token took, and what it took with its share of the waits in the queue. What
    /// waits on average, divided by how many leave in a second, is how long each waited (Little's law).
    fn tokens(&mut self, ns: u64, tokens: u64, window: u64) {
        let each = ns as f64 / tokens as f64 / 1e9;
        let mean = |timed| Measure { timed, quantile: Quantile::Mean };
        if self.get(mean(Timed::BetweenTokens)).is_none() {
            self.put(Timed::BetweenTokens, Quantile::Mean, each);
        }
        let waiting = self.load.waiting.filter(|_| self.get(mean(Timed::EndToEnd)).is_none());
        if let Some(waiting) = waiting {
            self.put(Timed::Token, Quantile::Mean, each + waiting * window as f64 / tokens as f64 / 1e9);
        }
    }
}
