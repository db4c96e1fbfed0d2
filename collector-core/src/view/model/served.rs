//! [`Served`]: a model of a server: what is known of it now, of its last minute, and since when it makes no progress.

use std::sync::Arc;

use super::minute::Minute;
use super::standing::Standing;
use crate::statistic::Statistic as _;
use crate::statistic::model::Statistic::{
    self, Asleep, DecodeSteps, GenerateTime, GeneratedTokens, KvUsed, OffloadHits, OffloadLoaded, OffloadStored,
    PromptTime, PromptTokens, Requests, RequestsRunning, RequestsWaiting,
};
use crate::statistic::model::{EDGES, Latency, Model, Stage, Values, WHOLE};

/// What moves while a server works. A long prompt may move none but the share of the KV cache for some time.
const PROGRESS: [Statistic; 7] =
    [GeneratedTokens, DecodeSteps, PromptTokens, PromptTime, GenerateTime, Requests, KvUsed];

/// A model of a server.
#[derive(Clone, Debug, Default)]
pub struct Served {
    pub values: Values,
    /// Its durations since the server started, a stage once.
    pub latency: Arc<[Latency]>,
    /// Its last minute.
    pub minute: Minute,
    /// How its latency compares with its own of the last hours.
    pub standing: Standing,
    /// When it last moved, or had nothing to do, in nanoseconds since the Unix epoch.
    moved: u64,
    /// When it was last told.
    told: u64,
}

impl Served {
    /// Returns the requests and tokens since it was last told.
    pub(super) fn fold(&mut self, time: u64, model: &Model) -> [u64; 2] {
        let before = self.values.clone();
        self.values.advance(&model.values);
        self.latency = sound(&model.latency, &self.latency);
        self.minute.keep(time, &self.values, &self.latency);
        let moves = |statistic: Statistic| before.get(statistic) != self.values.get(statistic);
        let idle = self.values.get(RequestsRunning) == Some(0) || self.values.get(Asleep) == Some(1);
        if self.told == 0 || time < self.told || idle || PROGRESS.into_iter().any(moves) {
            self.moved = time;
        }
        let known = std::mem::replace(&mut self.told, time) > 0;
        if known { growth(&before, &self.values) } else { [0; 2] }
    }

    /// For how many nanoseconds requests ran and nothing moved. Absent if the server does not tell both.
    pub fn stuck(&self) -> Option<u64> {
        let tells = |statistic: &Statistic| {
            statistic.kind() == crate::statistic::Kind::Counter && self.values.get(*statistic).is_some()
        };
        self.values.get(RequestsRunning)?;
        PROGRESS.iter().any(tells).then(|| self.told.saturating_sub(self.moved))
    }

    /// Share of the KV cache in use, 0 to 1.
    pub fn kv_used(&self) -> Option<f64> {
        self.values.get(KvUsed).map(|used| used as f64 / WHOLE as f64)
    }

    /// Tokens found in host memory, by bytes of KV cache moved there and back, in the last minute; `None` if none was moved.
    pub fn offload_efficiency(&self) -> Option<f64> {
        let hits = self.minute.growth(OffloadHits)?;
        let moved = [OffloadStored, OffloadLoaded].map(|direction| self.minute.growth(direction));
        let moved = crate::count::sum(moved.into_iter().flatten());
        (moved > 0).then(|| hits as f64 / moved as f64)
    }

    /// Share of the KV cache in use while requests wait, else 0: a full cache is no shortage as long as nobody waits for it.
    pub fn kv_short(&self) -> Option<f64> {
        let waiting = self.values.get(RequestsWaiting)?;
        self.kv_used().map(|used| if waiting > 0 { used } else { 0.0 })
    }
}

/// By how much requests and tokens grew. A server that started again counts from zero.
fn growth(before: &Values, now: &Values) -> [u64; 2] {
    let of = |statistic| {
        let (before, now) = (before.get(statistic)?, now.get(statistic)?);
        Some(now.checked_sub(before).unwrap_or(now))
    };
    let tokens = [PromptTokens, GeneratedTokens].into_iter().filter_map(of);
    [of(Requests).unwrap_or(0), crate::count::sum(tokens)]
}

/// The histograms that can be true. What did not change since the last time is shared with it.
fn sound(told: &[Latency], before: &Arc<[Latency]>) -> Arc<[Latency]> {
    if *told == **before {
        return before.clone();
    }
    let is_sound = |latency: &&Latency| {
        let edges = &latency.edges;
        let rising = edges.windows(2).all(|pair| pair[0] < pair[1]);
        edges.len() <= EDGES && latency.counts.len() == edges.len() + 1 && rising
    };
    let of = |stage: Stage| told.iter().filter(is_sound).find(|latency| latency.stage == stage);
    let sharing = |latency: &Latency| {
        let known = before.iter().find(|before| before.edges == latency.edges);
        let edges = known.map_or_else(|| latency.edges.clone(), |before| before.edges.clone());
        Latency { edges, ..latency.clone() }
    };
    Stage::ALL.into_iter().filter_map(of).map(sharing).collect()
}
