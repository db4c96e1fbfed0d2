//! [`Learnt`]: what a server told once and need not tell again, and what its command line adds to what it tells.

use std::sync::Arc;

use super::Asker;
use crate::model::get::Get;
use crate::model::setting::PromptCache;
use crate::statistic::model::Statistic::{
    self, Asleep, GpuShare, OffloadBytes, PromptCacheBytes, Slots, WeightBytes, WeightOffloadBytes,
};
use crate::statistic::model::{Kind, Model, State};

/// llama-server keeps a prompt cache of this size if its command line does not say another. Versions that say whether they sleep have it.
const CACHE_BYTES: u64 = 8192 << 20;

/// What does not change from round to round.
#[derive(Clone, Debug, Default)]
pub(super) struct Learnt {
    /// Its kind was recognised once.
    pub known: bool,
    /// Name of its model.
    pub name: Option<Arc<str>>,
    /// Bytes of its weights, as it says.
    pub weights: Option<u64>,
    pub slots: Option<u64>,
    /// It has a prompt cache by default.
    pub caches_prompts: bool,
    /// What it does not answer, and from when it is asked again.
    pub lacks: Vec<(Get, u64)>,
    /// What it told last, for the time in which it is not asked.
    pub last: Option<Model>,
    /// Edges of buckets that came before, to be shared.
    pub edges: Vec<Arc<[u64]>>,
}

impl Asker {
    /// Adds what was learnt and what its command line says, and shares edges.
    pub(super) fn complete(&mut self, model: &mut Model) {
        let mut absent = |statistic: Statistic, value: Option<u64>| {
            if model.values.get(statistic).is_none() {
                model.values.put(statistic, value);
            }
        };
        absent(OffloadBytes, self.settings.offload);
        absent(WeightOffloadBytes, self.settings.weight_offload);
        absent(GpuShare, self.settings.gpu_share);
        if self.kind != Some(Kind::LlamaRouter) {
            absent(Slots, self.learnt.slots.or(self.settings.slots));
            absent(WeightBytes, self.learnt.weights);
        }
        if self.kind == Some(Kind::LlamaCpp) {
            absent(PromptCacheBytes, self.prompt_cache());
            if self.rest.sleeps() {
                absent(Asleep, Some(u64::from(self.round.state == State::Asleep)));
            }
        }
        if model.name.is_empty()
            && matches!(self.kind, Some(Kind::Tgi | Kind::Tei))
            && let Some(name) = &self.learnt.name
        {
            model.name = name.clone();
        }
        for latency in &mut model.latency {
            let edges = &mut self.learnt.edges;
            match edges.iter().find(|edges| **edges == latency.edges) {
                Some(known) => latency.edges = known.clone(),
                None => {
                    // Servers have a few sets of edges; one that has others each time is not followed.
                    edges.truncate(7);
                    edges.insert(0, latency.edges.clone());
                }
            }
        }
    }

    fn prompt_cache(&self) -> Option<u64> {
        match self.settings.prompt_cache? {
            PromptCache::Bytes(bytes) => Some(bytes),
            PromptCache::Default => self.learnt.caches_prompts.then_some(CACHE_BYTES),
            PromptCache::Unlimited => None,
        }
    }
}
