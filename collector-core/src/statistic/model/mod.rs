//! Statistics of model servers: what a server says of itself and of each of its models. Knows neither how a server is found nor how it
//! is asked.

mod latency;
mod memory;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::cgroup::Id;
use crate::program::Flags;

pub use latency::{EDGES, Latency, Stage};
pub use memory::Memory;

super::statistics! {
    {
        /// Requests that it works on.
        RequestsRunning: Gauge = "requests_running",
        /// Requests that wait for a place.
        RequestsWaiting: Gauge = "requests_waiting",
        /// Requests that it finished.
        Requests: Counter = "requests",
        /// Requests that it refused because it was full.
        RequestsRejected: Counter = "requests_rejected",
        /// Requests that failed for other reasons.
        RequestsFailed: Counter = "requests_failed",
        /// How many requests it works on at once.
        Slots: Limit = "slots",
        /// Share of the KV cache in use, in millionths.
        KvUsed: Gauge = "kv_used",
        /// Size of the KV cache in tokens.
        KvTokens: Limit = "kv_tokens",
        /// Size of the KV cache in bytes.
        KvBytes: Limit = "kv_bytes",
        /// Requests whose KV cache was dropped to make room, and is computed again.
        Preemptions: Counter = "preemptions",
        /// Tokens of requests that were sent back to the queue for want of room.
        RetractedTokens: Counter = "retracted_tokens",
        /// Tokens of prompts that it was given.
        PromptTokens: Counter = "prompt_tokens",
        /// Tokens that it made.
        GeneratedTokens: Counter = "generated_tokens",
        /// Steps in which it made tokens. Some servers count tokens only when a request ends; steps show that they move.
        DecodeSteps: Counter = "decode_steps",
        /// Time in which it read prompts, in nanoseconds.
        PromptTime: Counter = "prompt_time",
        /// Time in which it made tokens, in nanoseconds.
        GenerateTime: Counter = "generate_time",
        /// Tokens of prompts that it looked for in its prefix cache.
        PrefixLookups: Counter = "prefix_lookups",
        /// Those that it found there.
        PrefixHits: Counter = "prefix_hits",
        /// Bytes of KV cache that it moved to host memory.
        OffloadStored: Counter = "offload_stored",
        /// Bytes of KV cache that it moved back.
        OffloadLoaded: Counter = "offload_loaded",
        /// Tokens that it found in host memory.
        OffloadHits: Counter = "offload_hits",
        /// Host memory that is configured for requests that are swapped out, and that this version of the server does not use, in bytes.
        UnusedSwapBytes: Limit = "unused_swap_bytes",
        /// Host memory for the KV cache as configured, in bytes.
        OffloadBytes: Limit = "offload_bytes",
        /// Host memory for weights, for each GPU, as configured, in bytes.
        WeightOffloadBytes: Limit = "weight_offload_bytes",
        /// Share of [`Statistic::OffloadBytes`] in use, in millionths.
        OffloadUsed: Gauge = "offload_used",
        /// Host memory that its prompt cache may take, in bytes.
        PromptCacheBytes: Limit = "prompt_cache_bytes",
        /// Size of its weights as the server says, in bytes.
        WeightBytes: Gauge = "weight_bytes",
        /// Share of a GPU's memory that it may take as configured, in millionths.
        GpuShare: Limit = "gpu_share",
        /// GPU memory that the server says the model takes, in bytes.
        GpuBytes: Gauge = "gpu_bytes",
        /// Host memory that the server says the model takes, in bytes.
        HostBytes: Gauge = "host_bytes",
        /// Pinned host memory that the server says it uses, in bytes.
        PinnedBytes: Gauge = "pinned_bytes",
        /// 1 if it sleeps: its weights are not loaded.
        Asleep: Gauge = "asleep",
    }
}

/// A whole of what is counted in millionths.
pub const WHOLE: u64 = 1_000_000;

/// At most this many models of a server are told.
pub const MODELS: usize = 16;
/// The longest name of a model, and of a server, in bytes.
pub const NAME: usize = 64;

/// Which program serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ModelServerKind)]
pub enum Kind {
    Vllm,
    Sglang,
    /// llama-server with one model; also a runner of Ollama, or of a router.
    LlamaCpp,
    /// llama-server that starts one child for each model.
    LlamaRouter,
    Ollama,
    Tgi,
    Tei,
    Triton,
    Lmdeploy,
}

impl Kind {
    pub const ALL: [Kind; 9] = [
        Kind::Vllm,
        Kind::Sglang,
        Kind::LlamaCpp,
        Kind::LlamaRouter,
        Kind::Ollama,
        Kind::Tgi,
        Kind::Tei,
        Kind::Triton,
        Kind::Lmdeploy,
    ];

    /// In labels and settings.
    pub const fn label(self) -> &'static str {
        ["vllm", "sglang", "llama_cpp", "llama_router", "ollama", "tgi", "tei", "triton", "lmdeploy"][self as usize]
    }

    /// As its makers write it.
    pub fn title(self) -> &'static str {
        ["vLLM", "SGLang", "llama.cpp", "llama.cpp router", "Ollama", "TGI", "TEI", "Triton", "LMDeploy"][self as usize]
    }
}

/// A model server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The label `server`: unique on this host, at most [`NAME`] bytes: `vllm:8000`.
    pub name: Arc<str>,
    /// Absent while nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Where it is asked: `http://127.0.0.1:8000`.
    pub url: Arc<str>,
    /// The process that listens. Absent if it was configured and is on another host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The memory cgroup of that process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Id>,
    /// The workload that it belongs to, as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Arc<str>>,
    /// The name of the server that started it: Ollama, or a router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Arc<str>>,
    /// Flags of its command line that can be advised.
    #[serde(default, skip_serializing_if = "has_none")]
    pub flags: Arc<Flags>,
}

fn has_none(flags: &Flags) -> bool {
    flags.is_empty()
}

/// How a server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ModelServerState)]
pub enum State {
    /// It answered, and serves.
    Up,
    /// It answered that it still loads.
    Loading,
    /// It answered that it sleeps.
    Asleep,
    /// It answered, but does not tell numbers: llama-server without `--metrics`, SGLang without `--enable-metrics`.
    Silent,
    /// It could not be asked: nothing listens, it took too long, or it said nothing that can be understood.
    Failed,
    /// It cannot be reached without entering a container: it listens on the container's loopback.
    Unreachable,
}

impl State {
    pub const ALL: [State; 6] =
        [State::Up, State::Loading, State::Asleep, State::Silent, State::Failed, State::Unreachable];

    pub fn label(self) -> &'static str {
        ["up", "loading", "asleep", "silent", "failed", "unreachable"][self as usize]
    }
}

/// One model, in absolute numbers as the server tells them. Several engines or ranks of one model are added up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The label `model`: its base name, at most [`NAME`] bytes, all of which can be shown.
    pub name: Arc<str>,
    #[serde(default, skip_serializing_if = "Values::is_empty")]
    pub values: Values,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latency: Vec<Latency>,
}

/// A server was asked, or is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    pub server: Arc<Server>,
    /// Absent if the server is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    pub state: State,
    /// Why it failed, or what is missing, for people: at most 200 bytes, all of which can be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Arc<str>>,
    /// Nanoseconds that asking it took.
    pub took: u64,
    /// What its processes hold; absent if nobody could read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// At most [`MODELS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<Model>,
}
