//! Numbers that model servers say of their models. What a server does not say has no series.

use std::fmt;

use super::model::{MODEL, gauge, models, servers, with};
use super::row::{Detail, Emit, Kind, Metric, Unit, Value};
use crate::statistic::model::Statistic::{self, *};
use crate::view::View;
use crate::view::model::Served;

const BY_KIND: &[&str] = &["workload", "namespace", "pod", "container", "server", "model", "kind"];
const BY_DIRECTION: &[&str] = &["workload", "namespace", "pod", "container", "server", "model", "direction"];
const TOKENS_BY: [&str; 2] = ["prompt", "generated"];

pub const REQUESTS_RUNNING: Metric = Metric {
    read: |view, emit| number(view, emit, RequestsRunning),
    ..gauge("headroom_model_requests_running", "Requests that the model server says it works on.")
};

pub const REQUESTS_WAITING: Metric = Metric {
    read: |view, emit| number(view, emit, RequestsWaiting),
    ..gauge("headroom_model_requests_waiting", "Requests that the model server says wait for a place.")
};

pub const SLOTS: Metric = Metric {
    detail: Detail::Used,
    read: |view, emit| number(view, emit, Slots),
    ..gauge("headroom_model_slots", "How many requests the model server works on at once.")
};

pub const REQUESTS: Metric = Metric {
    detail: Detail::Used,
    read: |view, emit| number(view, emit, Requests),
    ..counter("headroom_model_requests_total", "Requests that the model server finished since it started.")
};

pub const REQUESTS_REJECTED: Metric = Metric {
    read: |view, emit| number(view, emit, RequestsRejected),
    ..counter(
        "headroom_model_requests_rejected_total",
        "Requests that the model server refused because it was full, since it started.",
    )
};

pub const REQUESTS_FAILED: Metric = Metric {
    detail: Detail::Used,
    read: |view, emit| number(view, emit, RequestsFailed),
    ..counter(
        "headroom_model_requests_failed_total",
        "Requests that failed in the model server for other reasons, since it started.",
    )
};

pub const KV_USED: Metric = Metric {
    read: |view, emit| each(view, emit, |served| served.kv_used().map(Value::Float)),
    ..gauge(
        "headroom_model_kv_used_ratio",
        "Share (0 to 1) of the model's KV cache that the server says is in use. What llama.cpp keeps of requests that ended counts.",
    )
};

pub const KV_SIZE: Metric = Metric {
    unit: Some(Unit::Bytes),
    read: |view, emit| number(view, emit, KvBytes),
    ..gauge("headroom_model_kv_size_bytes", "Size of the model's KV cache as the server says.")
};

pub const KV_USED_BYTES: Metric = Metric {
    unit: Some(Unit::Bytes),
    read: |view, emit| {
        each(view, emit, |served| {
            let used = served.kv_used()?;
            Some(Value::Int((served.values.get(KvBytes)? as f64 * used) as u64))
        })
    },
    ..gauge(
        "headroom_model_kv_used_bytes",
        "Its share in use of the size of the model's KV cache. The server holds the whole in either case.",
    )
};

pub const KV_TOKENS: Metric = Metric {
    detail: Detail::Used,
    read: |view, emit| number(view, emit, KvTokens),
    ..gauge("headroom_model_kv_size_tokens", "Tokens for which the model's KV cache has room.")
};

pub const PREEMPTIONS: Metric = Metric {
    read: |view, emit| number(view, emit, Preemptions),
    ..counter(
        "headroom_model_preemptions_total",
        "Requests whose KV cache the server dropped to make room for others, since it started: it computes them again.",
    )
};

pub const RETRACTED_TOKENS: Metric = Metric {
    read: |view, emit| number(view, emit, RetractedTokens),
    ..counter(
        "headroom_model_retracted_tokens_total",
        "Tokens of requests that the server sent back to its queue for want of room, since it started.",
    )
};

pub const TOKENS: Metric = Metric {
    labels: BY_KIND,
    read: |view, emit| pair(view, emit, TOKENS_BY, [PromptTokens, GeneratedTokens]),
    ..counter(
        "headroom_model_tokens_total",
        "Tokens of prompts that the model server read, and tokens that it made, since it started. llama.cpp counts those of a request when that ends.",
    )
};

pub const TOKEN_TIME: Metric = Metric {
    unit: Some(Unit::Seconds),
    labels: BY_KIND,
    detail: Detail::Used,
    read: |view, emit| pair(view, emit, TOKENS_BY, [PromptTime, GenerateTime]),
    ..counter(
        "headroom_model_token_time_seconds_total",
        "Time that the model server spent on reading prompts and on making tokens, summed over requests, since it started.",
    )
};

pub const DECODE_STEPS: Metric = Metric {
    detail: Detail::Used,
    read: |view, emit| number(view, emit, DecodeSteps),
    ..counter(
        "headroom_model_decode_steps_total",
        "Steps that the model server took, each for all requests that it works on, since it started.",
    )
};

pub const PREFIX_LOOKUPS: Metric = Metric {
    detail: Detail::Used,
    read: |view, emit| number(view, emit, PrefixLookups),
    ..counter(
        "headroom_model_prefix_lookup_tokens_total",
        "Tokens of prompts that the model server looked for in its prefix cache, since it started.",
    )
};

pub const PREFIX_HITS: Metric = Metric {
    detail: Detail::Used,
    read: |view, emit| number(view, emit, PrefixHits),
    ..counter("headroom_model_prefix_hit_tokens_total", "Those that it found there, and did not compute.")
};

pub const OFFLOAD: Metric = Metric {
    unit: Some(Unit::Bytes),
    labels: BY_DIRECTION,
    detail: Detail::Used,
    read: |view, emit| pair(view, emit, ["to_host", "from_host"], [OffloadStored, OffloadLoaded]),
    ..counter(
        "headroom_model_kv_offload_bytes_total",
        "Bytes of KV cache that the model server moved to host memory and back, since it started.",
    )
};

pub const OFFLOAD_HITS: Metric = Metric {
    detail: Detail::Used,
    read: |view, emit| number(view, emit, OffloadHits),
    ..counter(
        "headroom_model_kv_offload_hit_tokens_total",
        "Tokens whose KV cache the model server found in host memory, since it started.",
    )
};

pub const OFFLOAD_EFFICIENCY: Metric = Metric {
    read: |view, emit| each(view, emit, |served| served.offload_efficiency().map(Value::Float)),
    ..gauge(
        "headroom_model_kv_offload_hit_tokens_per_byte",
        "Tokens that the model server found in host memory in the last minute, by bytes of KV cache that it moved there and back meanwhile; \
         absent if it moved none. What a token takes there is the most that can be won: far below one token for that, the traffic buys little.",
    )
};

pub const OFFLOAD_LIMIT: Metric = Metric {
    unit: Some(Unit::Bytes),
    read: |view, emit| number(view, emit, OffloadBytes),
    ..gauge("headroom_model_kv_offload_limit_bytes", "Host memory for the KV cache as configured in the model server.")
};

pub const OFFLOAD_OVER: Metric = Metric {
    labels: &["workload", "namespace", "pod", "container", "server"],
    read: |view, emit| {
        servers(view, |labels, told| {
            told.offload_over(view).map_or(Ok(()), |over| emit.gauge(&labels, Value::Float(over)))
        })
    },
    ..gauge(
        "headroom_model_kv_offload_over_ratio",
        "KV cache that the model server holds in host memory as a share of what is configured for that: 1.9 where PyTorch rounds each pinned \
         allocation up to a power of two.",
    )
};

pub const HOST_MEMORY: Metric = Metric {
    unit: Some(Unit::Bytes),
    labels: BY_KIND,
    read: |view, emit| {
        servers(view, |[name, namespace, pod, container, server], told| {
            // The processes of a server hold what all its models need.
            let model = if told.models.len() == 1 { told.models.keys().next() } else { None };
            let labels = [name, namespace, pod, container, server, model.map_or("", |model| model)];
            let held = told.held(view);
            let kinds = [
                ("weights", held.weights),
                ("kv_offload", held.kv_offload),
                ("prompt_cache", held.prompt_cache),
                ("pinned", held.pinned),
            ];
            kinds.into_iter().try_for_each(|(kind, bytes)| match bytes {
                Some(bytes) => emit.gauge(&with(labels, kind), Value::Int(bytes)),
                None => Ok(()),
            })
        })
    },
    ..gauge(
        "headroom_model_host_memory_bytes",
        "Host memory that the model server's processes hold, by the kernel's count. weights: mapped model files, the part that is in the page cache, or where no file is known at most the size that the server says; \
         kv_offload: of vLLM shared memory, where KV cache in host memory is configured, of others what they say they use; prompt_cache: growth of \
         anonymous memory where the server keeps old prompts, at most what is configured for them, without what was there before the agent \
         came; pinned: what drivers pin. model is absent if there are several.",
    )
};

pub const SAID_MEMORY: Metric = Metric {
    unit: Some(Unit::Bytes),
    labels: BY_KIND,
    detail: Detail::Used,
    read: |view, emit| {
        models(view, |labels, served| {
            let said = [("gpu", GpuBytes), ("host", HostBytes), ("weights", WeightBytes), ("pinned", PinnedBytes)];
            let prompts = [("prompt_cache_limit", PromptCacheBytes)];
            said.into_iter().chain(prompts).try_for_each(|(kind, statistic)| match served.values.get(statistic) {
                Some(bytes) => emit.gauge(&with(labels, kind), Value::Int(bytes)),
                None => Ok(()),
            })
        })
    },
    ..gauge(
        "headroom_model_said_memory_bytes",
        "Memory as the model server itself says: of the model on GPUs and in host memory, of its weights, pinned, and at most for old prompts.",
    )
};

pub const ASLEEP: Metric = Metric {
    read: |view, emit| number(view, emit, Asleep),
    ..gauge(
        "headroom_model_asleep",
        "1 if the model sleeps, with its weights off the GPU; else 0. Absent where a server does not say.",
    )
};

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { kind: Kind::Counter, labels: MODEL, ..gauge(name, help) }
}

fn number(view: &View, emit: &mut Emit<'_>, statistic: Statistic) -> fmt::Result {
    models(view, |labels, served| served.values.get(statistic).map_or(Ok(()), |number| emit.number(&labels, number)))
}

fn each(view: &View, emit: &mut Emit<'_>, value: impl Fn(&Served) -> Option<Value>) -> fmt::Result {
    models(view, |labels, served| value(served).map_or(Ok(()), |value| emit.gauge(&labels, value)))
}

fn pair(view: &View, emit: &mut Emit<'_>, names: [&str; 2], both: [Statistic; 2]) -> fmt::Result {
    models(view, |labels, served| {
        names.into_iter().zip(both).try_for_each(|(name, statistic)| match served.values.get(statistic) {
            Some(number) => emit.number(&with(labels, name), number),
            None => Ok(()),
        })
    })
}
