//! The model servers at one moment: the answer of `/api/v1/models`, and what `headroom models` prints. Figures are the same as in the
//! metrics. What a server does not say is absent.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::model_file::{self, ModelFile, ModelStore};
use super::model_next::next;
use crate::statistic::model::Statistic::{self, *};
use crate::statistic::model::{Kind, Latency, Stage, State};
use crate::view::View;
use crate::view::model::{Served, Span, Told};

#[cfg(test)]
mod tests;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Models {
    /// Time in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Sorted by name.
    pub servers: Vec<ModelServer>,
    /// Model files that servers and other holders of GPU memory use, the largest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ModelFile>,
    /// Places where models are kept, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<ModelStore>,
}

/// A model server, and what it said last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelServer {
    /// Its name on this host: `vllm:8000`.
    pub server: String,
    /// The program; absent while nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Where it is asked.
    pub url: String,
    pub state: State,
    /// Why it failed, or what is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The workload that it runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// The process that listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The server that started it: Ollama, or a router of llama.cpp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// When it was last asked, in nanoseconds since the Unix epoch.
    pub asked: u64,
    /// How long it took to answer.
    pub answer_seconds: f64,
    /// Host memory that its processes hold.
    #[serde(default, skip_serializing_if = "ModelMemory::is_empty")]
    pub memory: ModelMemory,
    /// Sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelLine>,
}

/// Host memory of a server's processes, as the kernel counts it, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelMemory {
    /// Mapped weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_bytes: Option<u64>,
    /// KV cache in host memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_offload_bytes: Option<u64>,
    /// The same as a share of what is configured for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_offload_over_ratio: Option<f64>,
    /// Old prompts, without what was there before the agent came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_cache_bytes: Option<u64>,
    /// Pinned by drivers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned_bytes: Option<u64>,
    /// Anonymous memory of its processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anon_bytes: Option<u64>,
    /// Shared memory of its processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shmem_bytes: Option<u64>,
    /// Mapped files of its processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
}

/// A model of a server. Rates, shares of hits and latencies are of the last minute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelLine {
    pub model: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_running: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_waiting: Option<u64>,
    /// How many it works on at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<f64>,
    /// Refused because it was full, since it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_rejected: Option<u64>,
    /// Failed for other reasons, since it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_failed: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_tokens_per_second: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated_tokens_per_second: Option<f64>,
    /// Share (0 to 1) of the KV cache in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_used_ratio: Option<f64>,
    /// Size of the KV cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_size_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_size_tokens: Option<u64>,
    /// Since it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preemptions: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preemptions_per_second: Option<f64>,
    /// Tokens of requests that were sent back to the queue, since it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retracted_tokens: Option<u64>,
    /// Share (0 to 1) of the tokens looked for in the prefix cache that were there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_hit_ratio: Option<f64>,
    /// KV cache moved to host memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_offload_stored_bytes_per_second: Option<f64>,
    /// KV cache moved back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_offload_loaded_bytes_per_second: Option<f64>,
    /// Tokens found in host memory by bytes moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_offload_hit_tokens_per_byte: Option<f64>,
    /// Host memory for the KV cache as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_offload_limit_bytes: Option<u64>,
    /// Host memory that old prompts may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_cache_limit_bytes: Option<u64>,
    /// Size of the weights as the server says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_bytes: Option<u64>,
    /// GPU memory that the model takes as the server says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_bytes: Option<u64>,
    /// Host memory that the model takes as the server says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asleep: Option<bool>,
    /// For how long requests have run while nothing moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck_seconds: Option<f64>,
    /// How long the numbers of the last minute really reach back; absent before there are two readings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minute_seconds: Option<f64>,
    /// How long requests took in the last minute; empty if none ended a stage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latency: Vec<StageLatency>,
}

/// How long requests took for a stage in the last minute. A quantile is absent where only the mean is known, and above the last edge of
/// the server's histogram.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StageLatency {
    pub stage: Stage,
    /// Number of durations; absent where only their mean is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    pub mean_seconds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_seconds: Option<f64>,
}

impl Models {
    pub fn of(view: &View) -> Models {
        let servers = view.models.servers.values().map(|told| ModelServer::of(view, told)).collect();
        Models { time: view.time, servers, files: model_file::files(view), stores: model_file::stores(view) }
    }
}

impl ModelServer {
    fn of(view: &View, told: &Told) -> ModelServer {
        let server = &told.server;
        ModelServer {
            server: server.name.to_string(),
            kind: server.kind,
            url: server.url.to_string(),
            state: told.state,
            why: told.why.as_deref().map(str::to_owned),
            next: next(server.kind, told.state, told.why.as_deref()).map(str::to_owned),
            workload: Some(told.labels(&view.workloads)[0]).filter(|name| !name.is_empty()).map(str::to_owned),
            pid: server.pid,
            parent: server.parent.as_deref().map(str::to_owned),
            asked: told.time,
            answer_seconds: told.took as f64 / 1e9,
            memory: ModelMemory::of(view, told),
            models: told.models.iter().map(|(name, served)| ModelLine::of(name, served)).collect(),
        }
    }
}

impl ModelMemory {
    fn of(view: &View, told: &Told) -> ModelMemory {
        let held = told.held(view);
        ModelMemory {
            weights_bytes: held.weights,
            kv_offload_bytes: held.kv_offload,
            kv_offload_over_ratio: told.offload_over(view),
            prompt_cache_bytes: held.prompt_cache,
            pinned_bytes: held.pinned,
            anon_bytes: told.memory.map(|memory| memory.anon),
            shmem_bytes: told.memory.map(|memory| memory.shmem),
            file_bytes: told.memory.map(|memory| memory.file),
        }
    }

    fn is_empty(&self) -> bool {
        *self == ModelMemory::default()
    }
}

impl ModelLine {
    fn of(name: &str, served: &Served) -> ModelLine {
        let get = |statistic: Statistic| served.values.get(statistic);
        let span = served.minute.span();
        let seconds = span.as_ref().map(|span| span.ns as f64 / 1e9);
        let rate =
            |counter| seconds.zip(served.minute.growth(counter)).map(|(seconds, growth)| growth as f64 / seconds);
        let looked = served.minute.growth(PrefixLookups).filter(|looked| *looked > 0);
        let found = looked.zip(served.minute.growth(PrefixHits));
        ModelLine {
            model: name.to_owned(),
            requests_running: get(RequestsRunning),
            requests_waiting: get(RequestsWaiting),
            slots: get(Slots),
            requests_per_second: rate(Requests),
            requests_rejected: get(RequestsRejected),
            requests_failed: get(RequestsFailed),
            prompt_tokens_per_second: rate(PromptTokens),
            generated_tokens_per_second: rate(GeneratedTokens),
            kv_used_ratio: served.kv_used(),
            kv_size_bytes: get(KvBytes),
            kv_size_tokens: get(KvTokens),
            preemptions: get(Preemptions),
            preemptions_per_second: rate(Preemptions),
            retracted_tokens: get(RetractedTokens),
            prefix_hit_ratio: found.map(|(looked, found)| found as f64 / looked as f64),
            kv_offload_stored_bytes_per_second: rate(OffloadStored),
            kv_offload_loaded_bytes_per_second: rate(OffloadLoaded),
            kv_offload_hit_tokens_per_byte: served.offload_efficiency(),
            kv_offload_limit_bytes: get(OffloadBytes),
            prompt_cache_limit_bytes: get(PromptCacheBytes),
            weight_bytes: get(WeightBytes),
            gpu_bytes: get(GpuBytes),
            host_bytes: get(HostBytes),
            asleep: get(Asleep).map(|asleep| asleep > 0),
            stuck_seconds: served.stuck().map(|ns| ns as f64 / 1e9),
            minute_seconds: seconds,
            latency: span.as_ref().map(stages).unwrap_or_default(),
        }
    }
}

fn stages(span: &Span) -> Vec<StageLatency> {
    let mut stages: Vec<StageLatency> = span.latency.iter().filter_map(StageLatency::of).collect();
    if let Some(mean_seconds) = span.token
        && !stages.iter().any(|it| it.stage == Stage::BetweenTokens)
    {
        stages.push(StageLatency {
            stage: Stage::BetweenTokens,
            count: None,
            mean_seconds,
            p50_seconds: None,
            p95_seconds: None,
            p99_seconds: None,
        });
    }
    stages.sort_by_key(|it| it.stage);
    stages
}

impl StageLatency {
    fn of(latency: &Latency) -> Option<StageLatency> {
        let quantile = |share| latency.quantile(share).map(|ns| ns / 1e9);
        Some(StageLatency {
            stage: latency.stage,
            count: Some(latency.count()),
            mean_seconds: latency.mean()? / 1e9,
            p50_seconds: quantile(0.5),
            p95_seconds: quantile(0.95),
            p99_seconds: quantile(0.99),
        })
    }
}
