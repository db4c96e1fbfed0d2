//! Numbers as the metrics of each server have them.

use std::fmt::Write as _;

use collector_core::statistic::model::{Kind, Stage};

use super::manner::Manner;
use super::number::Numbers;

/// An exposition that grows.
struct Text<'a> {
    text: String,
    manner: &'a Manner,
    /// The labels of all series.
    labels: String,
}

impl Text<'_> {
    fn number(&mut self, kind: &str, name: &str, more: &str, value: f64) {
        let family = name.trim_end_matches("_total");
        if !self.text.contains(&format!("# TYPE {family} ")) {
            let _ = writeln!(self.text, "# HELP {family} Of a stand-in.\n# TYPE {family} {kind}");
        }
        self.line(name, more, value);
    }

    fn line(&mut self, name: &str, more: &str, value: f64) {
        let labels: Vec<&str> = [&*self.labels, more].into_iter().filter(|labels| !labels.is_empty()).collect();
        let labels = match labels.join(",") {
            labels if labels.is_empty() => labels,
            labels => format!("{{{labels}}}"),
        };
        let _ = writeln!(self.text, "{name}{labels} {}", self.manner.number(value));
    }

    fn gauge(&mut self, name: &str, value: f64) {
        self.number("gauge", name, "", value);
    }

    fn counter(&mut self, name: &str, value: u64) {
        self.number("counter", name, "", value as f64);
    }

    fn times(&mut self, name: &str, numbers: &Numbers, stage: Stage) {
        let times = &numbers.times[stage as usize];
        let _ = writeln!(self.text, "# HELP {name} Of a stand-in.\n# TYPE {name} histogram");
        let mut below = 0;
        for (index, count) in times.counts.iter().enumerate() {
            below += count;
            let edge = times.edges.get(index).map_or("+Inf".to_owned(), |edge| format!("{edge:?}"));
            self.line(&format!("{name}_bucket"), &format!("le=\"{edge}\""), below as f64);
        }
        self.line(&format!("{name}_count"), "", below as f64);
        self.line(&format!("{name}_sum"), "", times.sum);
    }
}

/// What a server of this kind answers to `GET /metrics`; `None` if it has no metrics.
pub(super) fn metrics(kind: Kind, numbers: &Numbers, manner: &Manner) -> Option<String> {
    let labels = match kind {
        Kind::Vllm => format!("engine=\"0\",model_name=\"{}\"", numbers.model),
        Kind::Sglang => {
            let ranks = "moe_ep_rank=\"0\",pp_rank=\"0\",tp_rank=\"0\"";
            format!("engine_type=\"unified\",model_name=\"{}\",{ranks}", numbers.model)
        }
        Kind::Lmdeploy => format!("engine=\"0\",model_name=\"{}\"", numbers.model),
        Kind::Triton => format!("model=\"{}\",version=\"1\"", numbers.model),
        Kind::LlamaCpp | Kind::Tgi | Kind::Tei => String::new(),
        Kind::LlamaRouter | Kind::Ollama => return None,
    };
    let mut text = Text { text: String::new(), manner, labels };
    match kind {
        Kind::Vllm => vllm(&mut text, numbers),
        Kind::Sglang => sglang(&mut text, numbers),
        Kind::Lmdeploy => lmdeploy(&mut text, numbers),
        Kind::Triton => triton(&mut text, numbers),
        Kind::LlamaCpp => super::llama::metrics(numbers, |kind, name, value| text.number(kind, name, "", value)),
        Kind::Tgi => tgi(&mut text, numbers),
        Kind::Tei => tei(&mut text, numbers),
        Kind::LlamaRouter | Kind::Ollama => {}
    }
    Some(text.text)
}

fn vllm(text: &mut Text<'_>, n: &Numbers) {
    text.gauge("vllm:num_requests_running", n.running as f64);
    text.gauge("vllm:num_requests_waiting", n.waiting as f64);
    let between = if n.old {
        text.gauge("vllm:gpu_cache_usage_perc", n.kv);
        text.counter("vllm:gpu_prefix_cache_queries_total", n.prefix_lookups);
        text.counter("vllm:gpu_prefix_cache_hits_total", n.prefix_hits);
        "vllm:time_per_output_token_seconds"
    } else {
        text.gauge("vllm:kv_cache_usage_perc", n.kv);
        text.counter("vllm:prefix_cache_queries_total", n.prefix_lookups);
        text.counter("vllm:prefix_cache_hits_total", n.prefix_hits);
        let awake = |state: &str, here: bool| (format!("sleep_state=\"{state}\""), f64::from(u8::from(here)));
        for (label, value) in
            [awake("awake", !n.asleep), awake("weights_offloaded", n.asleep), awake("discard_all", false)]
        {
            text.number("gauge", "vllm:engine_sleep_state", &label, value);
        }
        text.number("counter", "vllm:admission_rejections_total", "reason=\"max_num_queued_reqs\"", n.rejected as f64);
        "vllm:inter_token_latency_seconds"
    };
    text.counter("vllm:num_preemptions_total", n.preemptions);
    text.gauge("vllm:num_preemptions_created", 1.764e9);
    text.counter("vllm:prompt_tokens_total", n.prompt_tokens);
    text.counter("vllm:generation_tokens_total", n.generated_tokens);
    for (reason, count) in [("stop", n.requests), ("length", 0), ("abort", 0), ("error", n.failed)] {
        text.number("counter", "vllm:request_success_total", &format!("finished_reason=\"{reason}\""), count as f64);
    }
    text.line("vllm:iteration_tokens_total_count", "", n.steps as f64);
    let blocks = n.kv_tokens / 16;
    let config =
        format!("block_size=\"16\",cache_dtype=\"auto\",kv_cache_memory_bytes=\"None\",num_gpu_blocks=\"{blocks}\"");
    text.number("gauge", "vllm:cache_config_info", &config, 1.0);
    if n.offload_bytes > 0 {
        text.counter("vllm:kv_offload_store_bytes_total", n.offload_stored);
        text.counter("vllm:kv_offload_load_bytes_total", n.offload_loaded);
        text.number("counter", "vllm:prompt_tokens_cached_by_source_total", "source=\"host\"", n.offload_hits as f64);
        let size = format!("cpu_kv_cache_size_bytes=\"{}\"", n.offload_bytes);
        text.number("gauge", "vllm:kv_offload_config_info", &size, 1.0);
    }
    text.times("vllm:time_to_first_token_seconds", n, Stage::FirstToken);
    text.times(between, n, Stage::BetweenTokens);
    text.times("vllm:e2e_request_latency_seconds", n, Stage::EndToEnd);
    text.times("vllm:request_queue_time_seconds", n, Stage::Queue);
}

fn sglang(text: &mut Text<'_>, n: &Numbers) {
    text.gauge("sglang:num_running_reqs", n.running as f64);
    text.gauge("sglang:num_queue_reqs", n.waiting as f64);
    text.gauge("sglang:token_usage", n.kv);
    text.gauge("sglang:max_total_num_tokens", n.kv_tokens as f64);
    text.gauge("sglang:weight_memory_usage_gb", n.weights as f64 / 1_073_741_824.0);
    text.counter("sglang:prompt_tokens_total", n.prompt_tokens);
    text.counter("sglang:generation_tokens_total", n.generated_tokens);
    text.counter("sglang:num_requests_total", n.requests);
    text.counter("sglang:num_aborted_requests_total", n.failed);
    text.number("counter", "sglang:cached_tokens_total", "cache_source=\"device\"", n.prefix_hits as f64);
    text.counter("sglang:hicache_backup_bytes_total", n.offload_stored);
    text.counter("sglang:load_back_bytes_total", n.offload_loaded);
    text.counter("sglang:num_retracted_input_tokens_total", n.preemptions);
    text.times("sglang:time_to_first_token_seconds", n, Stage::FirstToken);
    text.times("sglang:inter_token_latency_seconds", n, Stage::BetweenTokens);
    text.times("sglang:e2e_request_latency_seconds", n, Stage::EndToEnd);
    text.times("sglang:queue_time_seconds", n, Stage::Queue);
}

fn lmdeploy(text: &mut Text<'_>, n: &Numbers) {
    text.gauge("lmdeploy:num_requests_running", n.running as f64);
    text.gauge("lmdeploy:num_requests_waiting", n.waiting as f64);
    text.gauge("lmdeploy:num_requests_failed", n.failed as f64);
    text.gauge("lmdeploy:gpu_cache_usage_perc", n.kv);
    text.counter("lmdeploy:request_success_total", n.requests);
    text.counter("lmdeploy:prompt_tokens_total", n.prompt_tokens);
    text.counter("lmdeploy:generation_tokens_total", n.generated_tokens);
    text.times("lmdeploy:time_to_first_token_seconds", n, Stage::FirstToken);
    text.times("lmdeploy:time_per_output_token_seconds", n, Stage::BetweenTokens);
    text.times("lmdeploy:e2e_request_latency_seconds", n, Stage::EndToEnd);
    text.times("lmdeploy:request_queue_time_seconds", n, Stage::Queue);
}

fn triton(text: &mut Text<'_>, n: &Numbers) {
    let micro = |stage: Stage| (n.times[stage as usize].sum * 1e6).round() as u64;
    text.counter("nv_inference_request_success", n.requests);
    for (reason, count) in [("REJECTED", n.rejected), ("CANCELED", 0), ("BACKEND", n.failed), ("OTHER", 0)] {
        text.number("counter", "nv_inference_request_failure", &format!("reason=\"{reason}\""), count as f64);
    }
    text.counter("nv_inference_exec_count", n.steps);
    text.counter("nv_inference_request_duration_us", micro(Stage::EndToEnd));
    text.counter("nv_inference_queue_duration_us", micro(Stage::Queue));
    text.gauge("nv_inference_pending_request_count", n.waiting as f64);
    text.labels.clear();
    text.gauge("nv_pinned_memory_pool_total_bytes", 268_435_456.0);
    text.gauge("nv_pinned_memory_pool_used_bytes", n.pinned as f64);
}

fn tgi(text: &mut Text<'_>, n: &Numbers) {
    text.gauge("tgi_batch_current_size", n.running as f64);
    text.gauge("tgi_queue_size", n.waiting as f64);
    text.gauge("tgi_batch_current_max_tokens", (n.kv * n.kv_tokens as f64).round());
    text.gauge("tgi_batch_max_total_tokens", n.kv_tokens as f64);
    text.counter("tgi_request_success", n.requests);
    text.number("counter", "tgi_request_failure", "err=\"overloaded\"", n.rejected as f64);
    text.number("counter", "tgi_request_failure", "err=\"generation\"", n.failed as f64);
    text.number("counter", "tgi_batch_inference_count", "method=\"decode\"", n.steps as f64);
    text.line("tgi_request_input_length_sum", "", n.prompt_tokens as f64);
    text.line("tgi_request_generated_tokens_sum", "", n.generated_tokens as f64);
    text.times("tgi_request_mean_time_per_token_duration", n, Stage::BetweenTokens);
    text.times("tgi_request_duration", n, Stage::EndToEnd);
    text.times("tgi_request_queue_duration", n, Stage::Queue);
}

fn tei(text: &mut Text<'_>, n: &Numbers) {
    text.gauge("te_queue_size", n.waiting as f64);
    text.number("counter", "te_request_success", "method=\"batch\"", n.requests as f64);
    text.number("counter", "te_request_failure", "err=\"overloaded\"", n.rejected as f64);
    text.times("te_request_duration", n, Stage::EndToEnd);
    text.times("te_request_queue_duration", n, Stage::Queue);
}
