//! `headroom mcp`, used by a client of the Model Context Protocol's official SDK for Python.

use std::process::Command;

use collector_tests::agent::{Agent, body, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::needs;
use collector_tests::require::{is_root, tools};
use serde_json::{Value, json};

/// Calls these tools of a server that asks an agent at this address.
pub(crate) fn call(address: &str, calls: &Value) -> Value {
    let server = headroom("mcp");
    let mut client = Command::new(tools().join("python/venv/bin/python"));
    client.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/python/client.py")).arg(calls.to_string());
    client.arg(server.get_program()).args(["mcp", "--listen", address]);
    let output = client.output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && errors.is_empty(), "{said}\n{errors}");
    serde_json::from_str(&said).unwrap()
}

/// The answer of a call that did not fail, as JSON.
pub(crate) fn text(result: &Value) -> Value {
    assert_eq!(result["failed"], false, "{result}");
    serde_json::from_str(result["text"].as_str().unwrap()).unwrap()
}

#[test]
fn a_client_of_the_model_context_protocol_reads_what_the_api_has_and_changes_nothing() {
    needs!(is_root(), "loading eBPF programs needs root");
    needs!(
        tools().join("python/installed").is_file(),
        "Python's packages are not installed: cargo xtask test --require"
    );
    let agent = Agent::start("tick = \"500ms\"\n");
    let cgroup = Cgroup::new("assistant");
    cgroup.limit(64 << 20);
    let path = cgroup.path.as_str();
    agent.await_rounds();
    let calls = json!([
        ["status", {}],
        ["workload", { "name": path }],
        ["workloads", {}],
        ["workload", { "name": "no such workload" }],
        ["alerts", { "severity": "loud" }],
        ["workload", {}],
        ["cleanup", {}],
        ["explain", { "id": "last" }],
        ["history", { "window_seconds": 7776000, "points": 3, "series": "memory_bytes" }],
    ]);
    let answer = call(&agent.address, &calls);
    assert_eq!(answer["name"], "headroom");
    for tool in answer["tools"].as_array().unwrap() {
        let hints = &tool["annotations"];
        assert_eq!((&hints["readOnlyHint"], &hints["destructiveHint"]), (&true.into(), &false.into()), "{tool}");
    }
    let results = answer["results"].as_array().unwrap();
    let direct: Value = serde_json::from_str(&body(&agent.address, "/api/v1/status", "")).unwrap();
    let status = text(&results[0]);
    assert_eq!(status["memory"]["total_bytes"], direct["memory"]["total_bytes"], "{status}");
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&status), keys(&direct));
    let workload = text(&results[1]);
    assert!(workload.to_string().contains(&format!("\"memory_limit_bytes\":{}", 64 << 20)), "{workload}");
    let names = text(&results[2]);
    assert!(names["workloads"].as_array().unwrap().iter().any(|line| line["workload"] == path), "{names}");
    // What is wrong is said, so that the assistant can do better.
    for (result, part) in [(3, "no such workload"), (4, "severity"), (5, "name is missing")] {
        let result = &results[result];
        assert!(result["failed"] == true && result["text"].as_str().unwrap().contains(part), "{result}");
    }
    assert!(results[6]["refused"].as_str().unwrap().contains("cleanup"), "there is nothing that changes the host");
    let explained = results[7]["text"].as_str().unwrap();
    assert!(explained.contains("there is no incident") || explained.contains("\nHow to check\n"), "{explained}");
    let history = text(&results[8]);
    assert!(history["series"][0]["times"].as_array().unwrap().len() <= 4, "{history}");
    let address = agent.address.clone();
    agent.stop();
    let answer = call(&address, &json!([["status", {}]]));
    let result = &answer["results"][0];
    assert!(result["failed"] == true && result["text"].as_str().unwrap().contains("does not run"), "{result}");
}
