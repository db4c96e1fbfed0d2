//! The figures of the answer, compared with the metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::engine::Engine;
use crate::engine::test::{ID, engine};
use crate::metric::METRICS;
use crate::metric::visit::{Part, visit};
use crate::sample::{Reading, Sample};
use crate::statistic::Statistic as _;
use crate::statistic::model::{Answer, Memory, Model, Reading as Said, Server, Values, WHOLE};

const S: u64 = 1_000_000_000;

fn server(name: &str) -> Arc<Server> {
    let (name, url) = (name.into(), "http://127.0.0.1:8000".into());
    let (kind, pid) = (Some(Kind::Vllm), Some(7));
    Arc::new(Server { name, kind, url, pid, cgroup: Some(ID), workload: None, parent: None, flags: Arc::default() })
}

fn tell(engine: &mut Engine, time: u64, model: Model) {
    let memory = Some(Memory { anon: 900, shmem: 800, file: 700, pinned: 600 });
    let answer = Answer { state: State::Up, why: None, took: S / 4, memory, models: vec![model] };
    let reading = Said { server: server("vllm:8000"), answer: Some(answer) };
    engine.apply(&Sample { time, reading: Reading::Model(reading) });
}

/// A number of its own for each statistic, and twice that.
fn model(times: u64) -> Model {
    let of = |statistic: &Statistic| match statistic {
        KvUsed | OffloadUsed => WHOLE / 4,
        RequestsRunning => 3,
        Asleep => 0,
        other => times * (1000 + other.index() as u64),
    };
    let values: Values = Statistic::ALL.iter().map(|statistic| (*statistic, of(statistic))).collect();
    let stage = |stage, count: u64| Latency {
        stage,
        edges: [S / 10, S].into(),
        counts: vec![times * count, times * 30, 0],
        sum: times * 9 * S,
    };
    let latency = vec![stage(Stage::FirstToken, 10), stage(Stage::EndToEnd, 70)];
    Model { name: "llama".into(), values, latency }
}

/// The series of a metric that has all these values of labels.
fn series(view: &View, name: &str, wanted: &[&str]) -> Option<f64> {
    let metric = METRICS.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name}"));
    let mut found = None;
    visit(view, metric, Part::Whole, &mut |labels, number, _| {
        if wanted.iter().all(|label| labels.contains(label)) {
            assert_eq!(labels[0], "/a");
            found = Some(number);
        }
    });
    found
}

#[test]
fn each_figure_equals_the_metric_of_its_name() {
    let mut engine = engine();
    tell(&mut engine, 10 * S, model(1));
    tell(&mut engine, 20 * S, model(2));
    let view = engine.view();
    let all = Models::of(view);
    let line = &all.servers[0];
    assert_eq!((&*line.server, line.workload.as_deref(), line.asked), ("vllm:8000", Some("/a"), 20 * S));
    assert_eq!(Some(line.answer_seconds), series(view, "headroom_model_answer_seconds", &[]));

    let json = serde_json::to_value(&line.models[0]).unwrap();
    let mut figures: BTreeMap<&str, f64> =
        json.as_object().unwrap().iter().filter_map(|(name, value)| Some((&**name, value.as_f64()?))).collect();
    // Since its start in the metrics, and here a second: what grew in ten.
    let rates = [
        ("requests_per_second", "headroom_model_requests_total", ""),
        ("prompt_tokens_per_second", "headroom_model_tokens_total", "prompt"),
        ("generated_tokens_per_second", "headroom_model_tokens_total", "generated"),
        ("preemptions_per_second", "headroom_model_preemptions_total", ""),
        ("kv_offload_stored_bytes_per_second", "headroom_model_kv_offload_bytes_total", "to_host"),
        ("kv_offload_loaded_bytes_per_second", "headroom_model_kv_offload_bytes_total", "from_host"),
    ];
    for (field, metric, label) in rates {
        let labels = if label.is_empty() { vec![] } else { vec![label] };
        let half = series(view, metric, &labels).unwrap() / 2.0;
        assert_eq!(figures.remove(field), Some(half / 10.0), "{field}");
    }
    let renamed = [
        ("requests_rejected", "headroom_model_requests_rejected_total", ""),
        ("requests_failed", "headroom_model_requests_failed_total", ""),
        ("preemptions", "headroom_model_preemptions_total", ""),
        ("retracted_tokens", "headroom_model_retracted_tokens_total", ""),
        ("prompt_cache_limit_bytes", "headroom_model_said_memory_bytes", "prompt_cache_limit"),
        ("weight_bytes", "headroom_model_said_memory_bytes", "weights"),
        ("gpu_bytes", "headroom_model_said_memory_bytes", "gpu"),
        ("host_bytes", "headroom_model_said_memory_bytes", "host"),
    ];
    for (field, metric, label) in renamed {
        let labels = if label.is_empty() { vec![] } else { vec![label] };
        assert_eq!(figures.remove(field), series(view, metric, &labels), "{field}");
    }
    let index = |statistic: Statistic| 1000.0 + statistic.index() as f64;
    let [hits, lookups] = [PrefixHits, PrefixLookups].map(index);
    assert_eq!(figures.remove("prefix_hit_ratio"), Some(hits / lookups));
    assert_eq!(figures.remove("minute_seconds"), Some(10.0));
    for (field, value) in &figures {
        assert_eq!(Some(*value), series(view, &format!("headroom_model_{field}"), &[]), "{field}");
    }
    assert!(figures.len() >= 9, "{figures:?}");
    assert_eq!((&json["asleep"], &json["requests_running"]), (&false.into(), &3.into()));

    // Between tokens there is the mean of GenerateTime alone.
    for stage in line.models[0].latency.iter().filter(|stage| stage.count.is_some()) {
        let quantiles = [
            ("0.5", stage.p50_seconds),
            ("0.95", stage.p95_seconds),
            ("0.99", stage.p99_seconds),
            ("mean", Some(stage.mean_seconds)),
        ];
        for (quantile, seconds) in quantiles {
            let labels = [stage.stage.label(), quantile];
            assert!(seconds.is_some(), "{labels:?}");
            assert_eq!(series(view, "headroom_model_latency_quantile_seconds", &labels), seconds, "{labels:?}");
        }
    }
    let counts: Vec<_> = line.models[0].latency.iter().map(|it| it.count).collect();
    assert_eq!(counts, [Some(40), None, Some(100)]);
    let held = [
        ("weights", line.memory.weights_bytes),
        ("kv_offload", line.memory.kv_offload_bytes),
        ("prompt_cache", line.memory.prompt_cache_bytes),
        ("pinned", line.memory.pinned_bytes),
    ];
    for (kind, bytes) in held {
        let bytes = bytes.map(|bytes| bytes as f64);
        assert_eq!(series(view, "headroom_model_host_memory_bytes", &[kind]), bytes, "{kind}");
        assert!(bytes.is_some(), "{kind}");
    }
    assert_eq!(series(view, "headroom_model_kv_offload_over_ratio", &[]), line.memory.kv_offload_over_ratio);
    assert_eq!(serde_json::from_value::<Models>(serde_json::to_value(&all).unwrap()).unwrap(), all);
}

#[test]
fn what_a_server_does_not_say_is_absent_and_a_mean_is_a_mean() {
    let mut engine = engine();
    let llama = |times: u64| {
        let values = [(GenerateTime, times * 2 * S), (GeneratedTokens, times * 50)].into_iter().collect();
        Model { name: "m".into(), values, latency: Vec::new() }
    };
    tell(&mut engine, 10 * S, llama(1));
    let view = engine.view();
    let line = &Models::of(view).servers[0].models[0];
    let json = serde_json::to_value(line).unwrap();
    assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["model"], "one answer has no minute");
    for name in ["kv_used_ratio", "kv_short_ratio", "requests_running", "stuck_seconds", "latency_quantile_seconds"] {
        assert_eq!(series(view, &format!("headroom_model_{name}"), &[]), None, "{name}");
    }
    tell(&mut engine, 20 * S, llama(2));
    let view = engine.view();
    let [latency] = &Models::of(view).servers[0].models[0].latency[..] else { panic!() };
    assert_eq!((latency.stage, latency.mean_seconds, latency.count), (Stage::BetweenTokens, 0.04, None));
    assert_eq!(latency.p95_seconds, None);
    let of = |quantile| series(view, "headroom_model_latency_quantile_seconds", &["between_tokens", quantile]);
    assert_eq!((of("mean"), of("0.95")), (Some(0.04), None));
}
