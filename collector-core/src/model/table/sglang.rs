//! Metrics of SGLang 0.5 (sglang/srt/observability/metrics_collector.py).

use crate::model::gather::{PARTS, Row, part, share, sum, time, whole};
use crate::statistic::model::Stage::{BetweenTokens, EndToEnd, FirstToken, Queue};
use crate::statistic::model::Statistic::*;
use crate::statistic::model::{Values, WHOLE};

/// What it writes as GB is 2³⁰ bytes.
const GIB: f64 = 1_073_741_824.0;

/// Parts: tokens of the cache in host memory.
const HOST_USED: usize = 0;
const HOST_TOTAL: usize = 1;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    sum("sglang:num_running_reqs", RequestsRunning),
    sum("sglang:num_queue_reqs", RequestsWaiting),
    sum("sglang:num_requests_total", Requests),
    sum("sglang:num_aborted_requests_total", RequestsFailed),
    share("sglang:token_usage", KvUsed),
    sum("sglang:max_total_num_tokens", KvTokens),
    sum("sglang:kv_cache_memory_usage_gb", KvBytes).times(GIB),
    sum("sglang:num_retracted_input_tokens_total", RetractedTokens),
    sum("sglang:num_retracted_output_tokens_total", RetractedTokens),
    sum("sglang:prompt_tokens_total", PromptTokens),
    sum("sglang:generation_tokens_total", GeneratedTokens),
    sum("sglang:prompt_tokens_total", PrefixLookups),
    sum("sglang:cached_tokens_total", PrefixHits),
    sum("sglang:hicache_backup_bytes_total", OffloadStored),
    sum("sglang:load_back_bytes_total", OffloadLoaded),
    sum("sglang:cached_tokens_total", OffloadHits).only("cache_source", &["host"]),
    sum("sglang:load_back_tokens_total", OffloadHits).or(),
    sum("sglang:weight_memory_usage_gb", WeightBytes).times(GIB),
    part("sglang:hicache_host_used_tokens", HOST_USED),
    part("sglang:hicache_host_total_tokens", HOST_TOTAL),
    time("sglang:time_to_first_token_seconds", FirstToken),
    time("sglang:inter_token_latency_seconds", BetweenTokens),
    time("sglang:time_per_output_token_seconds", BetweenTokens).or(),
    time("sglang:e2e_request_latency_seconds", EndToEnd),
    time("sglang:queue_time_seconds", Queue),
];

/// The cache in host memory holds tokens of the same size as that of the GPU.
pub(super) fn finish(values: &mut Values, parts: [Option<f64>; PARTS]) {
    let Some(total) = parts[HOST_TOTAL].filter(|total| *total > 0.0) else { return };
    let used = parts[HOST_USED].map(|used| (used / total).min(1.0) * WHOLE as f64);
    values.put(OffloadUsed, used.and_then(whole));
    let token = values.get(KvBytes).zip(values.get(KvTokens).filter(|tokens| *tokens > 0));
    values.put(OffloadBytes, token.and_then(|(bytes, tokens)| whole(total * bytes as f64 / tokens as f64)));
}
