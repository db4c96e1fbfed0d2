//! [`Day`]: the last 24 hours of a model or a GPU, hour by hour, as the agent saw them. What advice rests on: a minute says nothing about
//! what usually happens. Kept in memory only, so it begins with the agent. Decides nothing.

mod alone;
mod gpu;
mod model;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::view::View;
pub use alone::Alone;
pub use gpu::GpuHours;
pub(super) use gpu::is_used;
pub use model::ModelHours;

const HOUR_NS: u64 = 3_600_000_000_000;
const HOURS: u64 = 24;
/// One step stands for this long at most, in nanoseconds: the agent may have slept.
const LONGEST_NS: u64 = 60_000_000_000;
/// At most this many models are kept.
const MODELS: usize = 512;

/// Hours, oldest first, each by its number since the Unix epoch.
#[derive(Clone, Debug, Default)]
pub struct Day<H>(VecDeque<(u64, H)>);

impl<H: Default> Day<H> {
    /// The hour that is now.
    fn hour(&mut self, time: u64) -> &mut H {
        let Day(hours) = self;
        let hour = time / HOUR_NS;
        // A clock that was set back: what is later than now belongs to no hour.
        while hours.back().is_some_and(|(last, _)| *last > hour) {
            hours.pop_back();
        }
        while hours.front().is_some_and(|(first, _)| first + HOURS <= hour) {
            hours.pop_front();
        }
        if hours.back().is_none_or(|(last, _)| *last < hour) {
            hours.push_back((hour, H::default()));
        }
        let last = hours.len() - 1;
        &mut hours[last].1
    }

    /// All hours together.
    fn total(&self, add: fn(&mut H, &H)) -> H {
        let mut total = H::default();
        self.0.iter().for_each(|(_, hour)| add(&mut total, hour));
        total
    }
}

/// A number over time: its mean, its maximum, and for how many seconds it was known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mean {
    pub seconds: f64,
    sum: f64,
    most: f64,
}

impl Mean {
    fn add(&mut self, value: Option<f64>, seconds: f64) {
        let Some(value) = value.filter(|value| value.is_finite()) else { return };
        self.most = if self.seconds > 0.0 { self.most.max(value) } else { value };
        self.seconds += seconds;
        self.sum += value * seconds;
    }

    fn merge(&mut self, other: &Mean) {
        if other.seconds <= 0.0 {
            return;
        }
        self.most = if self.seconds > 0.0 { self.most.max(other.most) } else { other.most };
        self.seconds += other.seconds;
        self.sum += other.sum;
    }

    pub fn mean(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.sum / self.seconds)
    }

    pub fn most(&self) -> Option<f64> {
        (self.seconds > 0.0).then_some(self.most)
    }
}

/// Of all models, by server and model, and of all GPUs, by uuid. Shared with snapshots.
#[derive(Clone, Debug, Default)]
pub(super) struct Days {
    models: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<model::Watch>>>,
    gpus: BTreeMap<Arc<str>, Arc<Day<GpuHours>>>,
}

impl Days {
    pub fn is_empty(&self) -> bool {
        self.models.is_empty() && self.gpus.is_empty()
    }

    pub fn model(&self, server: &str, model: &str) -> Option<ModelHours> {
        Some(self.models.get(server)?.get(model)?.day.total(ModelHours::merge))
    }

    pub fn gpu(&self, uuid: &str) -> Option<GpuHours> {
        Some(self.gpus.get(uuid)?.total(GpuHours::merge))
    }

    /// Adds what is so now, for the time since the step before.
    pub fn step(&mut self, time: u64, since: u64, view: &View) {
        let seconds = since.min(LONGEST_NS) as f64 / 1e9;
        self.models.retain(|server, models| {
            let Some(told) = view.models.servers.get(server) else { return false };
            // A server that does not answer now may answer again.
            models.retain(|model, _| !told.is_up() || told.models.contains_key(model));
            !models.is_empty()
        });
        let mut count: usize = self.models.values().map(BTreeMap::len).sum();
        for (server, told) in &view.models.servers {
            for (name, served) in &told.models {
                let known = self.models.get(server).is_some_and(|models| models.contains_key(name));
                if !known && count >= MODELS {
                    continue;
                }
                count += usize::from(!known);
                let models = self.models.entry(server.clone()).or_default();
                let watch = models.entry(name.clone()).or_default();
                Arc::make_mut(watch).step(time, seconds, view, told, &served.values);
            }
        }
        self.gpus.retain(|uuid, _| view.gpus.get(uuid).is_some());
        for gpu in view.gpus.iter() {
            let day = self.gpus.entry(gpu.device.uuid.clone()).or_default();
            Arc::make_mut(day).hour(time).add(seconds, gpu, gpu.owner(&view.workloads));
        }
    }
}
