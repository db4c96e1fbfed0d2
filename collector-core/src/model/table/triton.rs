//! Metrics of Triton (server docs/user_guide/metrics.md): counters of microseconds, which give no more than means, per model and version.
//! Those of its vLLM backend stand beside them.

use crate::model::gather::{PARTS, Row, part, share, sum, time, whole};
use crate::statistic::model::Stage::{BetweenTokens, EndToEnd, FirstToken, Queue};
use crate::statistic::model::Statistic::*;
use crate::statistic::model::{Latency, Model};

/// Parts: nanoseconds of all requests that succeeded, and those that they waited.
const ALL: usize = 0;
const WAITED: usize = 1;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    sum("vllm:num_requests_running", RequestsRunning),
    sum("nv_inference_pending_request_count", RequestsWaiting),
    sum("nv_inference_request_success", Requests),
    sum("nv_inference_request_failure", RequestsRejected).only("reason", &["REJECTED"]),
    sum("nv_inference_request_failure", RequestsFailed).only("reason", &["BACKEND", "OTHER"]),
    sum("nv_inference_exec_count", DecodeSteps),
    sum("nv_pinned_memory_pool_used_bytes", PinnedBytes),
    part("nv_inference_request_duration_us", ALL).times(1e3),
    part("nv_inference_queue_duration_us", WAITED).times(1e3),
    share("vllm:kv_cache_usage_perc", KvUsed),
    share("vllm:gpu_cache_usage_perc", KvUsed).or(),
    time("nv_inference_first_response_histogram_ms", FirstToken).times(1e6),
    time("vllm:time_to_first_token_seconds", FirstToken).or(),
    time("vllm:inter_token_latency_seconds", BetweenTokens),
    time("vllm:time_per_output_token_seconds", BetweenTokens).or(),
];

/// Durations without buckets: their sum, and how many.
pub(super) fn finish(model: &mut Model, parts: [Option<f64>; PARTS]) {
    let Some(count) = model.values.get(Requests) else { return };
    for (stage, sum) in [(EndToEnd, parts[ALL]), (Queue, parts[WAITED])] {
        let sum = sum.and_then(whole);
        model.latency.extend(sum.map(|sum| Latency { stage, edges: [].into(), counts: vec![count], sum }));
    }
}
