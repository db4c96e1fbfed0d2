//! [`Minute`]: readings of one model in the last minute, and what happened between the first and the last of them.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::statistic::model::Statistic::{
    self, GenerateTime, GeneratedTokens, PromptTokens, Requests, RequestsRunning,
};
use crate::statistic::model::{Latency, Stage, Values};

/// How far back it reaches, in nanoseconds.
const REACH_NS: u64 = 60_000_000_000;
/// At most this many readings are kept: one each 10 s, and one older than the reach. A reading that comes sooner replaces the last.
const KEPT: usize = 8;
const APART_NS: u64 = REACH_NS / (KEPT as u64 - 2);

/// Readings, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Minute(VecDeque<Arc<Point>>);

#[derive(Debug)]
struct Point {
    time: u64,
    values: Values,
    latency: Arc<[Latency]>,
}

/// What happened between the first and the last reading of a minute.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Nanoseconds between them.
    pub ns: u64,
    /// Mean of the requests that it worked on.
    pub running: Option<f64>,
    /// Tokens in the prompt of a request, mean of those that ended.
    pub prompt: Option<f64>,
    /// Durations of this time, by stage.
    pub latency: Vec<Latency>,
    /// Mean seconds that a token took, of servers that give no histograms.
    pub token: Option<f64>,
}

impl Minute {
    pub(super) fn keep(&mut self, time: u64, values: &Values, latency: &Arc<[Latency]>) {
        let Minute(kept) = self;
        let is_new = |last: &Arc<Point>| time < last.time || time - last.time > REACH_NS || fell(&last.values, values);
        if kept.back().is_some_and(is_new) {
            // The clock was set back, it said nothing for long, or the server started again.
            kept.clear();
        }
        let [last, before] = [1, 2].map(|back| kept.len().checked_sub(back).map(|index| kept[index].time));
        if last.zip(before).is_some_and(|(last, before)| last - before < APART_NS) {
            kept.pop_back();
        }
        while kept.len() == KEPT || kept.get(1).is_some_and(|second| time - second.time >= REACH_NS) {
            kept.pop_front();
        }
        kept.push_back(Arc::new(Point { time, values: values.clone(), latency: latency.clone() }));
    }

    /// Growth of a counter in the minute; `None` unless the first and the last reading have it.
    pub fn growth(&self, counter: Statistic) -> Option<u64> {
        let (first, last) = self.ends()?;
        last.values.get(counter)?.checked_sub(first.values.get(counter)?)
    }

    /// What happened; `None` before there are two readings.
    pub fn span(&self) -> Option<Span> {
        let (first, last) = self.ends()?;
        let running: Vec<u64> = self.0.iter().skip(1).filter_map(|point| point.values.get(RequestsRunning)).collect();
        let each = |all: u64, number: u64| (number > 0).then(|| all as f64 / number as f64);
        let ended = self.growth(Requests).or_else(|| Some(self.latency(Stage::EndToEnd)?.count()));
        Some(Span {
            ns: last.time - first.time,
            running: each(crate::count::sum(running.iter().copied()), running.len() as u64),
            prompt: self.growth(PromptTokens).zip(ended).and_then(|(tokens, ended)| each(tokens, ended)),
            latency: Stage::ALL.into_iter().filter_map(|stage| self.latency(stage)).collect(),
            token: self
                .growth(GenerateTime)
                .zip(self.growth(GeneratedTokens))
                .and_then(|(ns, tokens)| each(ns, tokens).map(|ns| ns / 1e9)),
        })
    }

    /// Durations of the minute.
    pub fn latency(&self, stage: Stage) -> Option<Latency> {
        let (first, last) = self.ends()?;
        let of = |point: &Point| point.latency.iter().position(|latency| latency.stage == stage);
        last.latency[of(last)?].since(&first.latency[of(first)?])
    }

    fn ends(&self) -> Option<(&Point, &Point)> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        (first.time < last.time).then_some((first, last))
    }
}

/// Whether a counter fell to less than half: the server started again.
fn fell(before: &Values, now: &Values) -> bool {
    [PromptTokens, GeneratedTokens, Requests]
        .into_iter()
        .any(|counter| before.get(counter).zip(now.get(counter)).is_some_and(|(before, now)| now < before / 2))
}
