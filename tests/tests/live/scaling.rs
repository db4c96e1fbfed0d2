//! The queries that docs/scaling.md gives autoscalers: a real Prometheus evaluates them against an agent, which asks a stand-in for a server.

use collector_core::statistic::model::Kind;
use collector_tests::agent::Agent;
use collector_tests::monitor::Server as Monitor;
use collector_tests::needs;
use collector_tests::require::{installed, is_root};
use collector_tests::scaling::manifests;
use collector_tests::scratch::scratch;
use collector_tests::serve::Server;
use serde_json::Value;

/// Both slots are busy; with one server there are fewer than the least.
const CONFIG: &str = "tick = \"100ms\"\n[models]\ninterval = \"200ms\"\n[scaling]\nleast = 3\n";

/// What KEDA and prometheus-adapter ask Prometheus.
fn queries() -> [String; 2] {
    let parsed: Vec<Value> = manifests().iter().map(|text| serde_norway::from_str(text).unwrap()).collect();
    let query = |value: &Value| value.as_str().unwrap().to_owned();
    [
        query(&parsed[0]["spec"]["triggers"][0]["metadata"]["query"]),
        query(&parsed[1]["externalRules"][0]["metricsQuery"]),
    ]
}

#[test]
fn an_autoscaler_that_asks_prometheus_gets_the_agents_number() {
    needs!(is_root(), "loading eBPF programs needs root");
    needs!(installed("prometheus"), "prometheus is not installed: cargo xtask setup");
    let server = Server::start(Kind::LlamaCpp);
    server.change(|numbers| {
        numbers.model = "llama3:8b".to_owned();
        numbers.running = numbers.slots;
    });
    let agent = Agent::start(&format!("{CONFIG}[[model_server]]\nurl = \"{}\"\nworkload = \"mine\"\n", server.url()));
    let rules = scratch();
    let prometheus = Monitor::prometheus(&agent.address, &rules.join("none.yml"), "");
    let value = |query: &str, wanted: &str| {
        let is_right =
            |answer: &Value| answer["status"] == "success" && answer["data"]["result"][0]["value"][1] == wanted;
        let answer = prometheus.query(query, is_right);
        // An autoscaler takes one number.
        assert_eq!(answer["data"]["result"].as_array().map(Vec::len), Some(1), "{answer}");
        assert_eq!(answer["data"]["result"][0]["metric"], serde_json::json!({}), "{answer}");
    };
    value("max(headroom_scaling_load_ratio{model=\"llama3:8b\"})", "1");
    for query in queries() {
        value(&query, "3");
    }
    // Another model has no number: that is not zero.
    let other = queries()[0].replace("llama3:8b", "other");
    let none = prometheus.query(&other, |answer| answer["status"] == "success");
    assert_eq!(none["data"]["result"], serde_json::json!([]));
    agent.stop();
}
