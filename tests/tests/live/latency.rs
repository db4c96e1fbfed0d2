//! A model server that gets slower: what it tells about its requests jumps, and the incident says by how much. The witness is what the
//! test itself made the server tell.

use std::time::{Duration, Instant};

use collector_core::statistic::model::{Kind, Stage};
use collector_tests::agent::{Agent, PATIENCE, body};
use collector_tests::needs;
use collector_tests::require::is_root;
use collector_tests::serve::Server;
use serde_json::Value;

const CONFIG: &str = "tick = \"100ms\"\nkernel.disable = [\"fault\", \"block\"]\n[models]\ninterval = \"200ms\"\n\
    [latency]\nwindow = \"2s\"\nlearn = 3\nrequests = 5\n";

fn json(agent: &Agent, path: &str) -> Value {
    serde_json::from_str(&body(&agent.address, path, "")).unwrap()
}

/// The incidents about latency, the newest first, each as a whole.
fn incidents(agent: &Agent) -> Vec<Value> {
    let all = json(agent, "/api/v1/incidents");
    let all = all["incidents"].as_array().cloned().unwrap_or_default();
    let ours = all.into_iter().filter(|it| it["kind"] == "latency");
    ours.map(|it| json(agent, &format!("/api/v1/incidents/{}", it["id"].as_str().unwrap()))).collect()
}

/// The value of a series whose labels contain these.
fn series(agent: &Agent, name: &str, labels: &[&str]) -> Option<f64> {
    let page = body(&agent.address, "/metrics", "");
    let line = page.lines().find(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Lets the server tell of requests whose first token takes so long, until something is seen.
fn serve_until<T>(agent: &Agent, server: &Server, first: f64, seen: impl Fn(&Agent) -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        server.change(|numbers| {
            (numbers.running, numbers.requests) = (4, numbers.requests + 20);
            numbers.prompt_tokens += 20 * 100;
            numbers.generated_tokens += 20 * 10;
            // Around the edges of its buckets.
            for around in [0.5, 0.9, 1.0, 1.1] {
                numbers.observe(Stage::FirstToken, first * around, 5);
            }
        });
        if let Some(seen) = seen(agent) {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "{first}: {:?}\n{}", incidents(agent), agent.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_server_whose_first_tokens_take_longer_is_an_incident_until_they_do_not() {
    needs!(is_root(), "loading eBPF programs needs root");
    let server = Server::start(Kind::Vllm);
    let port = server.address.port();
    let agent = Agent::start(&format!(
        "{CONFIG}[[model_server]]\nurl = \"{}\"\nkind = \"vllm\"\nworkload = \"mine\"\n",
        server.url()
    ));
    let state = |state: &str| format!("state=\"{state}\"");
    let holds = |wanted: &str| {
        let labels = [state(wanted), format!("{port}")];
        move |agent: &Agent| {
            let labels = labels.each_ref().map(String::as_str);
            series(agent, "headroom_model_latency_state", &labels).filter(|value| *value == 1.0)
        }
    };
    serve_until(&agent, &server, 0.4, holds("ok"));
    assert_eq!(incidents(&agent), [] as [Value; 0]);
    let usual =
        series(&agent, "headroom_model_latency_baseline_seconds", &["stage=\"first_token\"", "quantile=\"0.95\""]);
    // The longest are 0.44 s: in the bucket up to half a second.
    assert!(usual.is_some_and(|usual| (0.4..=0.5).contains(&usual)), "{usual:?}");

    // Now three times as long: in the bucket from one second to 2.5.
    let incident = serve_until(&agent, &server, 1.2, |agent| incidents(agent).pop());
    assert_eq!((&incident["labels"]["workload"], &incident["labels"]["model"]), (&"mine".into(), &"m".into()));
    let title = incident["title"].as_str().unwrap();
    assert!(title.contains("time to first token p9") && title.contains(" at like load"), "{title}");
    let slowdown = &incident["evidence"]["latency"];
    let measures = slowdown["measures"].as_array().unwrap();
    assert!(measures.iter().all(|it| it["timed"] == "first_token"), "{slowdown}");
    let Some(slower) = measures.iter().find(|it| it["quantile"] == "p95") else { panic!("{slowdown}") };
    let now = slower["now_seconds"].as_f64().unwrap();
    assert!((1.0..=2.5).contains(&now), "{slowdown}");
    assert_eq!(series(&agent, "headroom_model_latency_state", &[&state("worse")]), Some(1.0));

    // And as ever.
    let id = incident["id"].clone();
    let over = serve_until(&agent, &server, 0.4, |agent| incidents(agent).pop().filter(|it| it["complete"] == true));
    assert_eq!((&over["id"], &over["evidence"]["latency"]["over"]), (&id, &true.into()));
    serve_until(&agent, &server, 0.4, holds("ok"));
    assert_eq!(incidents(&agent).len(), 1);
}
