//! Metrics of llama-server (llama.cpp, tools/server/server-task.cpp), which has no labels and no histograms. What it tells of its KV cache
//! stands elsewhere (`json/llama.rs`); old versions had it here.

use crate::model::gather::{Row, share, sum};
use crate::statistic::model::Statistic::*;
use crate::statistic::model::Values;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    sum("llamacpp:requests_processing", RequestsRunning),
    sum("llamacpp:requests_deferred", RequestsWaiting),
    share("llamacpp:kv_cache_usage_ratio", KvUsed),
    // Without those from its cache.
    sum("llamacpp:prompt_tokens_total", PromptTokens),
    // Moves only when a request ends.
    sum("llamacpp:tokens_predicted_total", GeneratedTokens),
    sum("llamacpp:n_decode_total", DecodeSteps),
    sum("llamacpp:prompt_seconds_total", PromptTime).times(1e9),
    sum("llamacpp:tokens_predicted_seconds_total", GenerateTime).times(1e9),
    sum("llamacpp:prompt_tokens_cached_total", PrefixHits),
];

/// It looks for each prompt in its cache, and counts what it found apart from what it read.
pub(super) fn finish(values: &mut Values) {
    let looked = values.get(PrefixHits).zip(values.get(PromptTokens)).map(|(hits, read)| hits.saturating_add(read));
    values.put(PrefixLookups, looked);
}
