//! Metrics of text-embeddings-inference (router/src/http/server.rs, core/src/infer.rs): it has no KV cache and makes no tokens.

use crate::model::gather::{Row, sum, time};
use crate::statistic::model::Stage::{EndToEnd, Queue};
use crate::statistic::model::Statistic::*;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    sum("te_queue_size", RequestsWaiting),
    sum("te_request_success", Requests),
    sum("te_request_failure", RequestsRejected).only("err", &["overloaded"]),
    sum("te_request_failure", RequestsFailed).only("err", &["tokenization", "inference", "validation", "empty", "backend"]),
    sum("te_request_input_length_sum", PromptTokens),
    time("te_request_duration", EndToEnd),
    time("te_request_queue_duration", Queue),
];
