//! [`ModelHours`]: what a model of a server did: how full its KV cache was, who waited, what its GPUs did meanwhile, and what was moved to
//! host memory and found there.

use super::super::read::holds;
use super::{Day, Mean};
use crate::statistic::gpu::Statistic::Utilization;
use crate::statistic::model::Statistic::{
    self, GeneratedTokens, KvUsed, OffloadHits, OffloadLoaded, OffloadStored, Preemptions, PrefixHits, PrefixLookups,
    RequestsRunning, RequestsWaiting, RetractedTokens, Slots,
};
use crate::statistic::model::{Values, WHOLE};
use crate::view::View;
use crate::view::model::Told;

/// A KV cache is full from this share of it.
const FULL: f64 = 0.9;

const COUNTERS: [Statistic; 8] = [
    Preemptions,
    RetractedTokens,
    GeneratedTokens,
    PrefixLookups,
    PrefixHits,
    OffloadStored,
    OffloadLoaded,
    OffloadHits,
];

/// Sums over an hour, or a day.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelHours {
    /// In which anything was known.
    pub seconds: f64,
    /// Share of its KV cache in use.
    pub kv: Mean,
    pub running: Mean,
    pub waiting: Mean,
    /// Utilization (0 to 1) of its GPUs while requests waited.
    pub utilization: Mean,
    /// In which requests waited; and meanwhile 90 % or more of its KV cache was in use; and meanwhile it worked on as many as it does at once.
    pub waiting_seconds: f64,
    pub full_seconds: f64,
    pub placed_seconds: f64,
    grown: [Option<u64>; COUNTERS.len()],
}

/// A model, and its counters as last seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    pub day: Day<ModelHours>,
    last: [Option<u64>; COUNTERS.len()],
}

impl Watch {
    pub fn step(&mut self, time: u64, seconds: f64, view: &View, told: &Told, values: &Values) {
        let last = &mut self.last;
        let hour = self.day.hour(time);
        let get = |statistic| values.get(statistic).map(|value| value as f64);
        let (running, waiting) = (get(RequestsRunning), get(RequestsWaiting));
        let kv = get(KvUsed).map(|used| used / WHOLE as f64);
        if running.is_some() || waiting.is_some() || kv.is_some() {
            hour.seconds += seconds;
        }
        hour.kv.add(kv, seconds);
        hour.running.add(running, seconds);
        hour.waiting.add(waiting, seconds);
        if waiting >= Some(1.0) {
            hour.waiting_seconds += seconds;
            hour.utilization.add(utilization(view, told), seconds);
            if kv >= Some(FULL) {
                hour.full_seconds += seconds;
            }
            if get(Slots).zip(running).is_some_and(|(slots, running)| slots > 0.0 && running >= slots) {
                hour.placed_seconds += seconds;
            }
        }
        for ((counter, last), grown) in COUNTERS.into_iter().zip(last).zip(&mut hour.grown) {
            let now = values.get(counter);
            // A server that started again counts from zero: what it did before its first reading is not known.
            if let Some((now, before)) = now.zip(*last).filter(|(now, before)| now >= before) {
                *grown = Some(grown.unwrap_or(0).saturating_add(now - before));
            }
            *last = now;
        }
    }
}

impl ModelHours {
    /// Growth of a counter; `None` if it was not seen twice, or is not kept.
    pub fn grown(&self, counter: Statistic) -> Option<u64> {
        self.grown[COUNTERS.iter().position(|it| *it == counter)?]
    }

    pub(super) fn merge(&mut self, other: &ModelHours) {
        self.seconds += other.seconds;
        let means = [&mut self.kv, &mut self.running, &mut self.waiting, &mut self.utilization];
        let others = [&other.kv, &other.running, &other.waiting, &other.utilization];
        means.into_iter().zip(others).for_each(|(mean, other)| mean.merge(other));
        self.waiting_seconds += other.waiting_seconds;
        self.full_seconds += other.full_seconds;
        self.placed_seconds += other.placed_seconds;
        for (grown, more) in self.grown.iter_mut().zip(other.grown) {
            if let Some(more) = more {
                *grown = Some(grown.unwrap_or(0).saturating_add(more));
            }
        }
    }
}

/// Of the GPUs that its workload holds memory of, on average.
fn utilization(view: &View, told: &Told) -> Option<f64> {
    let workload = told.workload(&view.workloads)?;
    let gpus = view.gpus.iter().filter(|gpu| holds(view, gpu, workload));
    let used = gpus.filter_map(|gpu| gpu.values.get(Utilization));
    let (sum, count) = used.fold((0, 0u32), |(sum, count), percent| (sum + percent, count + 1));
    (count > 0).then(|| sum as f64 / f64::from(count) / 100.0)
}
