//! Metrics of text-generation-inference (router/src/server.rs, docs/source/reference/metrics.md): no label says the model, and no name the
//! unit.

use crate::model::gather::{PARTS, Row, part, sum, time, whole};
use crate::statistic::model::Stage::{BetweenTokens, EndToEnd, Queue};
use crate::statistic::model::Statistic::*;
use crate::statistic::model::{Values, WHOLE};

/// Parts: tokens that the requests of the batch may need, and those that there is room for, by its two names.
const TOKENS: usize = 0;
const ROOM: usize = 1;
const ROOM_OLD: usize = 2;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    sum("tgi_batch_current_size", RequestsRunning),
    sum("tgi_queue_size", RequestsWaiting),
    sum("tgi_request_success", Requests),
    sum("tgi_request_failure", RequestsRejected).only("err", &["overloaded"]),
    sum("tgi_request_failure", RequestsFailed).only("err", &["generation", "validation", "template", "tool_error", "stream_chunk_error"]),
    part("tgi_batch_current_max_tokens", TOKENS),
    part("tgi_batch_max_total_tokens", ROOM),
    part("tgi_batch_total_tokens", ROOM_OLD),
    sum("tgi_request_input_length_sum", PromptTokens),
    sum("tgi_request_generated_tokens_sum", GeneratedTokens),
    sum("tgi_batch_inference_count", DecodeSteps).only("method", &["decode"]),
    time("tgi_request_mean_time_per_token_duration", BetweenTokens),
    time("tgi_request_duration", EndToEnd),
    time("tgi_request_queue_duration", Queue),
];

/// It keeps room for all that a request may become: this is how much of the cache is taken.
pub(super) fn finish(values: &mut Values, parts: [Option<f64>; PARTS]) {
    let Some(room) = parts[ROOM].or(parts[ROOM_OLD]).filter(|room| *room > 0.0) else { return };
    values.put(KvTokens, whole(room));
    let used = parts[TOKENS].map(|tokens| (tokens / room).min(1.0) * WHOLE as f64);
    values.put(KvUsed, used.and_then(whole));
}
