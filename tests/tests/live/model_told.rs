//! What is told of a model server: `/metrics`, `/api/v1/models` and alerts, beside what a stand-in's own exposition says.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use collector_core::api::models::Models;
use collector_core::statistic::model::{Kind, Stage};
use collector_tests::agent::{Agent, body};
use collector_tests::needs;
use collector_tests::require::is_root;
use collector_tests::serve::{Manner, Server};

const CONFIG: &str = "tick = \"100ms\"
[models]
interval = \"200ms\"
[[rule]]
alert = \"ModelServerDown\"
for = \"1s\"
[[rule]]
alert = \"ModelKvFull\"
for = \"1s\"
";

/// An agent that asks a stand-in.
fn agent(server: &Server) -> Agent {
    Agent::start(&format!("{CONFIG}[[model_server]]\nurl = \"{}\"\nworkload = \"mine\"\n", server.url()))
}

/// What the stand-in answers to this test. It keeps a connection until the client has no more to ask.
fn said(server: &Server) -> String {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The buckets of a histogram in an exposition: numbers by upper edge.
fn buckets(text: &str, name: &str, wanted: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix("_bucket{")?.split_once("} "));
    let of = |(labels, count): (&str, &str)| {
        let edge = labels.split("le=\"").nth(1)?.split('"').next()?;
        let edge = edge.parse::<f64>().ok()?;
        labels.contains(wanted).then(|| (format!("{edge:e}"), count.parse().unwrap()))
    };
    lines.filter_map(of).collect()
}

#[test]
fn what_is_told_is_what_the_server_says() {
    needs!(is_root(), "programs need root");
    let server = Server::start(Kind::Vllm);
    server.change(|numbers| {
        (numbers.running, numbers.waiting, numbers.kv, numbers.preemptions) = (7, 3, 0.5, 2);
        (numbers.requests, numbers.prompt_tokens, numbers.generated_tokens) = (60, 9000, 4500);
        (numbers.offload_stored, numbers.offload_loaded, numbers.offload_hits) = (1 << 20, 1 << 19, 300);
        numbers.offload_bytes = 1 << 30;
        numbers.observe(Stage::FirstToken, 0.03, 90);
        numbers.observe(Stage::BetweenTokens, 0.02, 4000);
        numbers.observe(Stage::EndToEnd, 2.0, 60);
    });
    let agent = agent(&server);
    let name = server.address.to_string();
    let about = [("server", &*name), ("model", "m"), ("workload", "mine")];
    agent.scrape_until("the server's numbers", |page| page.has("headroom_model_requests_running", &about));
    // In the last minute: a hundred that took between 0.1 and 0.25 s, and what is made of them.
    server.change(|numbers| {
        numbers.observe(Stage::FirstToken, 0.2, 100);
        numbers.generated_tokens += 600;
        (numbers.offload_loaded, numbers.offload_hits) = ((1 << 19) + 4096, 300 + 64);
    });
    let p95 = [&about[..], &[("stage", "first_token"), ("quantile", "0.95")]].concat();
    let page = agent
        .scrape_until("quantiles of the last minute", |page| page.has("headroom_model_latency_quantile_seconds", &p95));
    // 95 % of the way through the only bucket that has any.
    let seconds = page.sum("headroom_model_latency_quantile_seconds", &p95);
    assert!((seconds - (0.1 + 0.15 * 0.95)).abs() < 1e-9, "{seconds}");
    let mean = [&about[..], &[("stage", "first_token"), ("quantile", "mean")]].concat();
    assert!((page.sum("headroom_model_latency_quantile_seconds", &mean) - 0.2).abs() < 1e-9);
    let numbers = server.numbers();
    let kind = |kind| [&about[..], &[("kind", kind)]].concat();
    let direction = |direction| [&about[..], &[("direction", direction)]].concat();
    for (metric, labels, expected) in [
        ("headroom_model_up", about[..1].to_vec(), 1.0),
        ("headroom_model_requests_running", about.to_vec(), 7.0),
        ("headroom_model_requests_waiting", about.to_vec(), 3.0),
        ("headroom_model_requests_total", about.to_vec(), numbers.requests as f64),
        ("headroom_model_kv_used_ratio", about.to_vec(), 0.5),
        ("headroom_model_kv_short_ratio", about.to_vec(), 0.5),
        ("headroom_model_kv_size_tokens", about.to_vec(), numbers.kv_tokens as f64),
        ("headroom_model_preemptions_total", about.to_vec(), 2.0),
        ("headroom_model_tokens_total", kind("prompt"), 9000.0),
        ("headroom_model_tokens_total", kind("generated"), 5100.0),
        ("headroom_model_kv_offload_bytes_total", direction("to_host"), numbers.offload_stored as f64),
        ("headroom_model_kv_offload_bytes_total", direction("from_host"), numbers.offload_loaded as f64),
        ("headroom_model_kv_offload_hit_tokens_total", about.to_vec(), 364.0),
        ("headroom_model_kv_offload_hit_tokens_per_byte", about.to_vec(), 64.0 / 4096.0),
        ("headroom_model_kv_offload_limit_bytes", about.to_vec(), numbers.offload_bytes as f64),
        ("headroom_model_asleep", about.to_vec(), 0.0),
    ] {
        assert_eq!(page.values(metric, &labels), [expected], "{metric} {labels:?}");
    }
    // Bucket by bucket, with the server's own edges.
    let theirs = said(&server);
    let ours = body(&agent.address, "/metrics", "");
    for (stage, family) in [
        ("first_token", "vllm:time_to_first_token_seconds"),
        ("between_tokens", "vllm:inter_token_latency_seconds"),
        ("end_to_end", "vllm:e2e_request_latency_seconds"),
    ] {
        let [told, said] = [
            buckets(&ours, "headroom_model_latency_seconds", &format!("stage=\"{stage}\"")),
            buckets(&theirs, family, ""),
        ];
        assert!(said.len() > 15 && told == said, "{stage}: {told:?}, {said:?}");
    }
    let models: Models = serde_json::from_str(&body(&agent.address, "/api/v1/models", "")).unwrap();
    let line = models.servers.iter().find(|line| line.server == name).unwrap();
    assert_eq!((line.kind, line.workload.as_deref(), &*line.url), (Some(Kind::Vllm), Some("mine"), &*server.url()));
    let model = &line.models[0];
    assert_eq!((&*model.model, model.requests_running, model.requests_waiting), ("m", Some(7), Some(3)));
    let first = model.latency.iter().find(|it| it.stage == Stage::FirstToken).unwrap();
    assert_eq!((first.count, first.p95_seconds), (Some(100), Some(seconds)));
    assert!(server.asked().iter().all(|asked| asked.method == "GET"));
}

#[test]
fn alerts_fire_for_a_cache_that_is_full_and_for_a_server_that_falls_silent() {
    needs!(is_root(), "programs need root");
    let server = Server::start(Kind::Vllm);
    server.change(|numbers| (numbers.running, numbers.kv) = (9, 0.97));
    let agent = agent(&server);
    let about = [("server", &*server.address.to_string())].map(|(name, value)| (name, value.to_owned()));
    let about: Vec<(&str, &str)> = about.iter().map(|(name, value)| (*name, &**value)).collect();
    let fires = |alert: &'static str| [&about[..], &[("alert", alert)]].concat();
    let page = agent.scrape_until("its numbers", |page| page.has("headroom_model_kv_short_ratio", &about));
    assert_eq!(page.values("headroom_model_kv_short_ratio", &about), [0.0], "nobody waits");
    server.change(|numbers| numbers.waiting = 4);
    agent.scrape_until("an alert", |page| page.has("headroom_alerts", &fires("ModelKvFull")));
    server.manner(Manner::Status(500));
    let page = agent.scrape_until("an alert", |page| page.has("headroom_alerts", &fires("ModelServerDown")));
    assert_eq!(page.values("headroom_model_up", &about), [0.0]);
    assert!(!page.has("headroom_model_requests_running", &about), "what it said before is not told as if it were now");
    server.manner(Manner::Well);
    agent.scrape_until("no alert", |page| !page.has("headroom_alerts", &fires("ModelServerDown")));
}
