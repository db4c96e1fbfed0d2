//! Metrics of LMDeploy (lmdeploy/metrics/loggers.py).

use crate::model::gather::{Row, share, sum, time};
use crate::statistic::model::Stage::{BetweenTokens, EndToEnd, FirstToken, Queue};
use crate::statistic::model::Statistic::*;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    sum("lmdeploy:num_requests_running", RequestsRunning),
    sum("lmdeploy:num_requests_waiting", RequestsWaiting),
    sum("lmdeploy:request_success_total", Requests),
    // A gauge that only grows.
    sum("lmdeploy:num_requests_succeeded", Requests).or(),
    sum("lmdeploy:num_requests_failed", RequestsFailed),
    share("lmdeploy:gpu_cache_usage_perc", KvUsed),
    sum("lmdeploy:prompt_tokens_total", PromptTokens),
    sum("lmdeploy:generation_tokens_total", GeneratedTokens),
    time("lmdeploy:time_to_first_token_seconds", FirstToken),
    time("lmdeploy:inter_token_latency_seconds", BetweenTokens),
    time("lmdeploy:time_per_output_token_seconds", BetweenTokens).or(),
    time("lmdeploy:e2e_request_latency_seconds", EndToEnd),
    time("lmdeploy:request_queue_time_seconds", Queue),
];
