//! [`Held`]: what the memory of a model server's processes is for: the kernel's numbers beside what the server says.

use std::collections::BTreeMap;

use super::Told;
use crate::statistic::model::Kind::Vllm;
use crate::statistic::model::Statistic::{self, OffloadBytes, OffloadUsed, PinnedBytes, PromptCacheBytes, WeightBytes};
use crate::statistic::model::{State, WHOLE};
use crate::statistic::model_file::{File, How};
use crate::statistic::workload::Statistic::MemoryShmem;
use crate::view::View;
use crate::view::model_file::Used;
use crate::view::number::{Known, Number};

/// In bytes. Absent where it cannot be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Mapped weights in memory.
    pub weights: Option<u64>,
    /// KV cache in host memory.
    pub kv_offload: Option<u64>,
    /// Old prompts. What was there before the agent saw the server does not count.
    pub prompt_cache: Option<u64>,
    /// Pinned by drivers.
    pub pinned: Option<u64>,
}

impl Told {
    /// What its processes hold in host memory.
    pub fn held(&self, view: &View) -> Held {
        let workload = self.workload(&view.workloads);
        let known = Known::of(&view.coverage);
        let grown = self.memory.zip(self.least).map(|(memory, least)| memory.anon.saturating_sub(least));
        // The driver's calls are counted for the workload: they are the server's if it has no other.
        let name = |told: &Told| told.workload(&view.workloads).map(|workload| workload.name.clone());
        let alone = || view.models.servers.values().filter(|other| name(other) == name(self)).count() == 1;
        let cuda = workload.and_then(|workload| Number::Pinned.of(workload, known)).filter(|_| alone());
        let pinned = [self.memory.map(|memory| memory.pinned), cuda, self.sum(PinnedBytes)];
        Held {
            weights: self.memory.zip(self.weights(view)).map(|(memory, bytes)| memory.file.min(bytes)),
            kv_offload: self.kv_offload(view),
            prompt_cache: self
                .sum(PromptCacheBytes)
                .filter(|bytes| *bytes > 0)
                .zip(grown)
                .map(|(most, it)| it.min(most)),
            pinned: pinned.into_iter().flatten().max(),
        }
    }

    /// KV cache in host memory as a share of what is configured for it.
    pub fn offload_over(&self, view: &View) -> Option<f64> {
        let configured = self.sum(OffloadBytes).filter(|bytes| *bytes > 0)?;
        self.kv_offload(view).map(|held| held as f64 / configured as f64)
    }

    /// vLLM has it in shared memory; others say how much of it they use.
    fn kv_offload(&self, view: &View) -> Option<u64> {
        if self.server.kind != Some(Vllm) {
            return self.offload_used();
        }
        self.sum(OffloadBytes).filter(|bytes| *bytes > 0)?;
        // While it sleeps its weights are in shared memory, too.
        if self.state == State::Asleep {
            return None;
        }
        let workload = self.workload(&view.workloads);
        let charged = workload.and_then(|workload| workload.statistics.get(MemoryShmem));
        self.memory.map(|memory| charged.map_or(memory.shmem, |all| all.min(memory.shmem)))
    }

    /// What is in memory of the model files that it maps, as far as that is known, or the size of the weights as it says.
    fn weights(&self, view: &View) -> Option<u64> {
        let own = |used: &&Used| used.process.server.as_ref() == Some(&self.server.name);
        let files = view.model_files.processes.values().filter(own).flat_map(|used| used.process.files.iter());
        let there = |file: &File| file.cached.map_or(file.bytes, |cached| cached.min(file.bytes));
        // Several processes of it map the same ones.
        let mapped: BTreeMap<_, u64> =
            files.filter(|file| file.how == How::Mapped).map(|file| (file.id, there(file))).collect();
        match mapped.is_empty() {
            true => self.sum(WeightBytes),
            false => Some(crate::count::sum(mapped.into_values())),
        }
    }

    /// Of all its models that tell it.
    fn sum(&self, statistic: Statistic) -> Option<u64> {
        let said = || self.models.values().filter_map(|served| served.values.get(statistic));
        said().next().map(|_| crate::count::sum(said()))
    }

    fn offload_used(&self) -> Option<u64> {
        let used = |values: &crate::statistic::model::Values| {
            let share = values.get(OffloadUsed)? as f64 / WHOLE as f64;
            values.get(OffloadBytes).map(|bytes| (bytes as f64 * share) as u64)
        };
        let said = || self.models.values().filter_map(|served| used(&served.values));
        said().next().map(|_| crate::count::sum(said()))
    }
}
