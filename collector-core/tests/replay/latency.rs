//! A vLLM server from its expositions alone, hour by hour: what gets slower is one incident with its cause and an alert; more to do is none.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use collector_core::alert::State as Alert;
use collector_core::cgroup::Id;
use collector_core::engine::Engine;
use collector_core::incident::{Incident, Kind};
use collector_core::latency::{Quantile, State, Timed};
use collector_core::model::Asker;
use collector_core::outcome::Outcome;
use collector_core::rule::Rules;
use collector_core::sample::{Reading, Sample};
use collector_core::signal::cgroup;
use collector_core::statistic::model::{self, Server};

use crate::fixture::start;
use crate::series::Collected;

const SECOND: u64 = 1_000_000_000;
const STEP: u64 = 5;
const ID: Id = Id { hierarchy: 0, id: 7 };
const EDGES: [f64; 10] = [0.01, 0.02, 0.04, 0.08, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// How the durations of a step lie around the usual one, most of them near it.
const AROUND: [f64; 10] = [0.6, 0.75, 0.85, 0.92, 1.0, 1.05, 1.1, 1.2, 1.4, 1.8];

/// What the server does in a step of 5 s, and what it adds up to.
#[derive(Clone, Copy)]
struct Now {
    running: u64,
    waiting: u64,
    kv: f64,
    preempted: u64,
    /// Seconds to the first token, and between tokens.
    first: f64,
    between: f64,
}

const USUAL: Now = Now { running: 6, waiting: 0, kv: 0.5, preempted: 0, first: 0.3, between: 0.03 };

struct World {
    engine: Engine,
    asker: Asker,
    second: u64,
    preempted: u64,
    requests: u64,
    counts: [[u64; EDGES.len() + 1]; 2],
    sums: [f64; 2],
    incidents: Vec<Incident>,
    alerts: Vec<(String, Alert)>,
}

impl World {
    fn new() -> World {
        let engine = Engine::with(Arc::new(Rules::new(&[]).unwrap()));
        let asker = Asker::configured(Some(model::Kind::Vllm));
        let mut world = World {
            engine,
            asker,
            second: 1_700_000_000,
            preempted: 0,
            requests: 0,
            counts: Default::default(),
            sums: [0.0; 2],
            incidents: Vec::new(),
            alerts: Vec::new(),
        };
        world.apply(Reading::Start(start()));
        world.apply(Reading::Cgroup(cgroup::Reading::Born { id: ID, path: "/system.slice/vllm.service".into() }));
        world
    }

    /// As a recording has it: through JSON.
    fn apply(&mut self, reading: Reading) {
        let line = serde_json::to_string(&Sample { time: self.second * SECOND, reading }).unwrap();
        for outcome in self.engine.apply(&serde_json::from_str(&line).unwrap()) {
            match outcome {
                Outcome::Incident(incident) => self.incidents.push(*incident),
                Outcome::Alert(alert) => self.alerts.push((alert.alert.to_string(), alert.state)),
                _ => {}
            }
        }
    }

    fn serve(&mut self, minutes: u64, now: Now) {
        for _ in 0..minutes * 60 / STEP {
            self.second += STEP;
            // A little more and a little less from step to step.
            let chance = 1.0 + ((self.second * 7919) % 13) as f64 / 200.0;
            // Who runs twice as many at once was asked for twice as many.
            let asked = now.running / USUAL.running;
            for (stage, seconds, times) in [(0, now.first, asked), (1, now.between, 40 * asked)] {
                for around in AROUND {
                    let seconds = seconds * around * chance;
                    let bucket = EDGES.iter().position(|edge| seconds <= *edge).unwrap_or(EDGES.len());
                    self.counts[stage][bucket] += times;
                    self.sums[stage] += seconds * times as f64;
                }
            }
            (self.requests, self.preempted) = (self.requests + 10 * asked, self.preempted + now.preempted);
            let text = self.exposition(now);
            self.asker.begin(self.second * SECOND);
            while let Some(path) = self.asker.next() {
                let (status, body) = if path == "/metrics" { (200, text.as_bytes()) } else { (404, &b""[..]) };
                self.asker.got(status, body);
            }
            let answer = self.asker.finish(1_000_000);
            let server = Server {
                name: "vllm:8000".into(),
                kind: Some(model::Kind::Vllm),
                url: "http://127.0.0.1:8000".into(),
                pid: Some(100),
                cgroup: Some(ID),
                workload: None,
                parent: None,
                flags: Arc::default(),
            };
            self.apply(Reading::Model(model::Reading { server: Arc::new(server), answer: Some(answer) }));
            self.apply(Reading::Tick);
        }
    }

    fn exposition(&self, now: Now) -> String {
        let labels = "engine=\"0\",model_name=\"org/m\"";
        let mut text = String::new();
        let numbers = [
            ("num_requests_running", now.running as f64),
            ("num_requests_waiting", now.waiting as f64),
            ("kv_cache_usage_perc", now.kv),
            ("num_preemptions_total", self.preempted as f64),
            ("prompt_tokens_total", self.requests as f64 * 800.0),
            ("generation_tokens_total", self.requests as f64 * 40.0),
        ];
        for (name, value) in numbers {
            writeln!(text, "vllm:{name}{{{labels}}} {value:?}").unwrap();
        }
        writeln!(text, "vllm:request_success_total{{{labels},finished_reason=\"stop\"}} {:?}", self.requests as f64)
            .unwrap();
        for (stage, name) in ["time_to_first_token_seconds", "inter_token_latency_seconds"].into_iter().enumerate() {
            writeln!(text, "# TYPE vllm:{name} histogram").unwrap();
            let mut below = 0;
            for (bucket, count) in self.counts[stage].iter().enumerate() {
                below += count;
                let edge = EDGES.get(bucket).map_or("+Inf".to_owned(), |edge| format!("{edge:?}"));
                writeln!(text, "vllm:{name}_bucket{{{labels},le=\"{edge}\"}} {:?}", below as f64).unwrap();
            }
            writeln!(text, "vllm:{name}_count{{{labels}}} {:?}", below as f64).unwrap();
            writeln!(text, "vllm:{name}_sum{{{labels}}} {:?}", self.sums[stage]).unwrap();
        }
        text
    }

    fn state(&self) -> State {
        self.engine.view().models.servers["vllm:8000"].models["m"].standing.state()
    }
}

#[test]
fn a_server_without_room_for_its_kv_cache_is_one_incident_with_that_cause() {
    let mut world = World::new();
    world.serve(25, USUAL);
    assert_eq!((world.state(), world.incidents.len()), (State::Ok, 0));
    // Requests are thrown out and computed again: as many run, and wait longer for their first token.
    world.serve(6, Now { waiting: 8, kv: 0.99, preempted: 4, first: 0.9, ..USUAL });
    assert_eq!(world.state(), State::Worse);
    let [began] = &world.incidents[..] else { panic!("{:#?}", world.incidents) };
    assert_eq!((began.kind, began.complete), (Kind::Latency, false));
    for (label, value) in [("workload", "vllm.service"), ("server", "vllm:8000"), ("model", "m")] {
        assert_eq!(began.labels.get(label).map(String::as_str), Some(value), "{:?}", began.labels);
    }
    assert!(began.title.starts_with("vllm:8000: time to first token p9"), "{}", began.title);
    assert!(began.title.ends_with(" at like load"), "{}", began.title);
    assert_eq!(began.cause.rule, "kv_exhausted", "{:?}", began.cause);
    let slowdown = began.evidence.latency.as_ref().unwrap();
    let worst = &slowdown.measures[0];
    assert_eq!(worst.timed, Timed::FirstToken);
    assert!((2.0..4.5).contains(&worst.ratio()), "{worst:?}");
    assert!(!slowdown.measures.iter().any(|it| it.timed == Timed::BetweenTokens), "{slowdown:?}");
    // It began in the window before the report.
    let began_at = world.second - 6 * 60;
    assert!((slowdown.since / SECOND).abs_diff(began_at) <= 65, "{} {began_at}", slowdown.since / SECOND);
    assert!(world.alerts.contains(&("ModelSlow".to_owned(), Alert::Firing)), "{:?}", world.alerts);

    world.serve(5, USUAL);
    assert_eq!(world.state(), State::Ok);
    let [_, over] = &world.incidents[..] else { panic!("{:#?}", world.incidents) };
    assert_eq!((&over.id, over.complete, &*over.cause.rule), (&world.incidents[0].id, true, "kv_exhausted"));
    assert!(over.evidence.latency.as_ref().unwrap().over);
    let page = collector_core::incident::page::page(over, &[], 100, false);
    for part in ["Server vllm:8000 (vllm), model m", "time to first token p95: ", "6.0 requests running, 0"] {
        assert!(page.contains(part), "{part}:\n{page}");
    }
}

#[test]
fn more_to_do_is_no_incident_and_what_lasts_is_reported_once() {
    let mut world = World::new();
    world.serve(25, USUAL);
    // Twice as much at once takes longer; there is nothing like it to compare with.
    world.serve(15, Now { running: 12, first: 0.5, between: 0.045, ..USUAL });
    assert_eq!(world.incidents, []);
    world.serve(10, USUAL);
    assert_eq!(world.state(), State::Ok);
    // Every token takes twice as long, for a quarter of an hour: complete after ten minutes, and no second one.
    world.serve(16, Now { between: 0.06, ..USUAL });
    let told: Vec<bool> = world.incidents.iter().map(|incident| incident.complete).collect();
    assert_eq!((told, world.state()), (vec![false, true], State::Worse));
    let slowdown = world.incidents[1].evidence.latency.clone().unwrap();
    assert!(!slowdown.over && slowdown.measures.iter().all(|it| it.timed == Timed::BetweenTokens), "{slowdown:?}");
    assert!(slowdown.measures.iter().any(|it| it.quantile == Quantile::P99), "{slowdown:?}");
    assert_eq!(world.incidents[1].cause.rule, "not_known", "nothing else changed");
    // The metrics say both what is usual and what holds.
    let series = Collected::of(world.engine.view()).series;
    let value = |name: &str, wanted: [(&str, &str); 2]| {
        let is = |labels: &BTreeMap<String, String>| {
            wanted.iter().all(|(key, value)| labels.get(*key).is_some_and(|has| has == value))
        };
        series.iter().find(|((it, labels), _)| it == name && is(labels)).map(|(_, value)| *value)
    };
    assert_eq!(value("headroom_model_latency_state", [("model", "m"), ("state", "worse")]), Some(1.0));
    let usual = value("headroom_model_latency_baseline_seconds", [("stage", "between_tokens"), ("quantile", "0.99")]);
    assert!(usual.is_some_and(|usual| (0.03..=0.08).contains(&usual)), "{usual:?}");
}
