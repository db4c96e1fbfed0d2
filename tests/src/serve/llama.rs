//! What llama-server answers: metrics, slots, its properties, and the models of a router.

use serde_json::{Value, json};

use super::number::Numbers;

pub(super) fn metrics(n: &Numbers, mut put: impl FnMut(&str, &str, f64)) {
    put("counter", "llamacpp:prompt_tokens_total", n.prompt_tokens as f64);
    put("counter", "llamacpp:prompt_tokens_cached_total", n.prefix_hits as f64);
    put("counter", "llamacpp:prompt_seconds_total", n.prompt_seconds);
    put("counter", "llamacpp:tokens_predicted_total", n.generated_tokens as f64);
    put("counter", "llamacpp:tokens_predicted_seconds_total", n.generate_seconds);
    put("counter", "llamacpp:n_decode_total", n.steps as f64);
    put("gauge", "llamacpp:requests_processing", n.running as f64);
    put("gauge", "llamacpp:requests_deferred", n.waiting as f64);
}

/// Each slot has its own part of the cache; the first ones are busy.
pub(super) fn slots(n: &Numbers) -> Value {
    let size = n.kv_tokens / n.slots.max(1);
    let used = (n.kv * n.kv_tokens as f64).round() as u64;
    let slot = |id: u64| {
        let tokens = used.saturating_sub(id * size).min(size);
        json!({"id": id, "n_ctx": size, "speculative": false, "is_processing": id < n.running, "id_task": id, "n_prompt_tokens": tokens})
    };
    (0..n.slots).map(slot).collect()
}

pub(super) fn props(n: &Numbers, metrics: bool) -> Value {
    json!({
        "default_generation_settings": {"params": {"seed": 1}, "n_ctx": n.kv_tokens / n.slots.max(1)},
        "total_slots": n.slots, "model_alias": n.model, "model_path": format!("/models/{}", n.model), "model_ftype": "all F32",
        "endpoint_metrics": metrics, "endpoint_slots": true, "is_sleeping": n.asleep, "build_info": "b11434-1234567",
    })
}

pub(super) fn models(n: &Numbers) -> Value {
    json!({"object": "list", "data": [{"id": n.model, "meta": {"n_ctx": n.kv_tokens, "size": n.weights}}]})
}

/// A router with one model that is loaded, or sleeps, and one that is not loaded.
pub(super) fn routed(n: &Numbers) -> Value {
    let status = if n.asleep { "sleeping" } else { "loaded" };
    json!({"object": "list", "data": [
        {"id": n.model, "status": {"value": status, "args": ["llama-server"]}},
        {"id": "other", "status": {"value": "unloaded"}},
    ]})
}
