//! Metrics of vLLM: 0.33 and the names that older versions used (vllm/v1/metrics/loggers.py, vllm/engine/metrics.py,
//! vllm/distributed/kv_transfer/kv_connector/v1/offloading/metrics.py).

use crate::model::gather::{PARTS, Row, part, share, sum, time, whole};
use crate::statistic::model::Stage::{BetweenTokens, EndToEnd, FirstToken, Queue};
use crate::statistic::model::Statistic::*;
use crate::statistic::model::Values;

/// Parts: the cache in host memory of versions that swapped to it; newer ones say its size, and have no blocks there.
const SWAP_BYTES: usize = 0;
const SWAP_BLOCKS: usize = 1;

const GIB: f64 = 1_073_741_824.0;
/// A request that its client gave up is neither finished nor failed.
const FINISHED: &[&str] = &["stop", "length", "repetition"];

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    sum("vllm:num_requests_running", RequestsRunning),
    sum("vllm:num_requests_waiting", RequestsWaiting),
    sum("vllm:request_success_total", Requests).only("finished_reason", FINISHED),
    sum("vllm:request_success_total", RequestsFailed).only("finished_reason", &["error"]),
    sum("vllm:admission_rejections_total", RequestsRejected),
    share("vllm:kv_cache_usage_perc", KvUsed),
    share("vllm:gpu_cache_usage_perc", KvUsed).or(),
    sum("vllm:cache_config_info", KvTokens).label("kv_cache_size_tokens"),
    sum("vllm:cache_config_info", KvTokens).product("num_gpu_blocks", "block_size").or(),
    sum("vllm:cache_config_info", KvBytes).label("kv_cache_memory_bytes"),
    share("vllm:cache_config_info", GpuShare).label("gpu_memory_utilization"),
    sum("vllm:num_preemptions_total", Preemptions),
    sum("vllm:num_preemptions", Preemptions).or(),
    sum("vllm:prompt_tokens_total", PromptTokens),
    sum("vllm:generation_tokens_total", GeneratedTokens),
    // It counts tokens at each step: how many there were.
    sum("vllm:iteration_tokens_total_count", DecodeSteps),
    sum("vllm:prefix_cache_queries_total", PrefixLookups),
    sum("vllm:gpu_prefix_cache_queries_total", PrefixLookups).or(),
    sum("vllm:prefix_cache_hits_total", PrefixHits),
    sum("vllm:gpu_prefix_cache_hits_total", PrefixHits).or(),
    sum("vllm:kv_offload_store_bytes_total", OffloadStored),
    sum("vllm:kv_offload_total_bytes_total", OffloadStored).only("transfer_type", &["GPU_to_CPU"]).or(),
    sum("vllm:kv_offload_load_bytes_total", OffloadLoaded),
    sum("vllm:kv_offload_total_bytes_total", OffloadLoaded).only("transfer_type", &["CPU_to_GPU"]).or(),
    sum("vllm:prompt_tokens_cached_by_source_total", OffloadHits).only("source", &["host"]),
    sum("vllm:external_prefix_cache_hits_total", OffloadHits).or(),
    sum("vllm:kv_offload_config_info", OffloadBytes).label("cpu_kv_cache_size_bytes"),
    sum("vllm:cache_config_info", OffloadBytes).label("kv_offloading_size").times(GIB).or(),
    part("vllm:cache_config_info", SWAP_BYTES).label("swap_space_bytes"),
    part("vllm:cache_config_info", SWAP_BLOCKS).label("num_cpu_blocks"),
    // Before the cache in host memory was a connector's, this was how full it is. What newer versions call so is not.
    share("vllm:cpu_cache_usage_perc", OffloadUsed),
    Row::lacks("vllm:engine_sleep_state", Asleep).only("sleep_state", &["awake"]),
    time("vllm:time_to_first_token_seconds", FirstToken),
    time("vllm:inter_token_latency_seconds", BetweenTokens),
    time("vllm:time_per_output_token_seconds", BetweenTokens).or(),
    time("vllm:e2e_request_latency_seconds", EndToEnd),
    time("vllm:request_queue_time_seconds", Queue),
];

pub(super) fn finish(values: &mut Values, parts: [Option<f64>; PARTS]) {
    if values.get(OffloadBytes).is_none() && parts[SWAP_BLOCKS].is_some_and(|blocks| blocks > 0.0) {
        values.put(OffloadBytes, parts[SWAP_BYTES].and_then(whole));
    }
    // From the engine of version 1 on there are no blocks for it, whatever is configured (vllm/v1/core, removed in 0.18).
    if parts[SWAP_BLOCKS].is_none_or(|blocks| blocks == 0.0) && parts[SWAP_BYTES].is_some_and(|bytes| bytes > 0.0) {
        values.put(UnusedSwapBytes, parts[SWAP_BYTES].and_then(whole));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::table::read;
    use crate::statistic::model::Kind;

    #[test]
    fn swap_space_without_blocks_is_not_used_and_says_nothing_of_memory() {
        let told = |labels: &str| {
            let text = format!(
                "vllm:num_requests_running{{model_name=\"m\"}} 1\nvllm:cache_config_info{{engine=\"0\",{labels}}} 1\n"
            );
            let values = read(Kind::Vllm, text.as_bytes()).models[0].values.clone();
            [UnusedSwapBytes, OffloadBytes, GpuShare].map(|it| values.get(it))
        };
        let share = "gpu_memory_utilization=\"0.92\"";
        let swap = "swap_space_bytes=\"8589934592\"";
        assert_eq!(told(&format!("{share},{swap},num_cpu_blocks=\"None\"")), [Some(8 << 30), None, Some(920_000)]);
        assert_eq!(told(&format!("{swap},num_cpu_blocks=\"0\"")), [Some(8 << 30), None, None]);
        assert_eq!(told(&format!("{swap},num_cpu_blocks=\"2048\"")), [None, Some(8 << 30), None]);
        assert_eq!(told(&format!("{share},swap_space_bytes=\"0\"")), [None, None, Some(920_000)]);
    }
}
