//! A vLLM server answers as usual for half an hour, then more slowly for a known reason: the incident must name that reason.

use std::sync::Arc;

use super::round;
use crate::engine::Engine;
use crate::engine::test::{ID, engine};
use crate::incident::{Incident, Kind};
use crate::outcome::Outcome;
use crate::sample::{Reading, Sample};
use crate::statistic::gpu::{self, Device, Holder, Statistic as OfGpu};
use crate::statistic::model::{self, Answer, Latency, Model, Server, Stage, State, Statistic};

const SECOND: u64 = 1_000_000_000;
const STEP: u64 = 5 * SECOND;

/// What the server and its GPU say in a step.
#[derive(Clone, Copy)]
struct Now {
    /// Seconds to the first token.
    first: f64,
    preempted: u64,
    waiting: u64,
    kv: u64,
    /// Bytes moved to host memory and back.
    offloaded: u64,
    generated: u64,
    throttle: u64,
    clock: u64,
    width: u64,
    /// Bytes per second over PCIe.
    pcie: u64,
    xid: Option<u64>,
}

const USUAL: Now = Now {
    first: 0.08,
    preempted: 0,
    waiting: 0,
    kv: 400_000,
    offloaded: 0,
    generated: 5000,
    throttle: 0,
    clock: 1_800_000_000,
    width: 16,
    pcie: 2_000_000_000,
    xid: None,
};

struct Played {
    engine: Engine,
    time: u64,
    sums: [u64; 3],
    latency: Latency,
    told: Vec<Incident>,
}

impl Played {
    fn new() -> Played {
        let edges: Arc<[u64]> = [10, 50, 100, 250, 500, 1000, 2500].map(|ms| ms * 1_000_000).into();
        let latency = Latency { stage: Stage::FirstToken, counts: vec![0; edges.len() + 1], edges, sum: 0 };
        Played { engine: engine(), time: 1000 * SECOND, sums: [0; 3], latency, told: Vec::new() }
    }

    fn apply(&mut self, reading: Reading) {
        let outcomes = self.engine.apply(&Sample { time: self.time, reading });
        self.told.extend(outcomes.into_iter().filter_map(|outcome| match outcome {
            Outcome::Incident(incident) if incident.kind == Kind::Latency => Some(*incident),
            _ => None,
        }));
    }

    fn step(&mut self, now: Now) {
        self.time += STEP;
        let uuid: Arc<str> = "GPU-a".into();
        let [gpu, model, driver] = ["0", "H100", "555"].map(Arc::<str>::from);
        let device = Device { uuid: uuid.clone(), gpu, model, driver, parent: None };
        let values = [
            (OfGpu::Utilization, 90),
            (OfGpu::Throttle, now.throttle),
            (OfGpu::ClockSm, now.clock),
            (OfGpu::PcieGeneration, 4),
            (OfGpu::PcieGenerationMax, 4),
            (OfGpu::PcieWidth, now.width),
            (OfGpu::PcieWidthMax, 16),
            (OfGpu::PcieLink, 2_000_000_000 * now.width),
            (OfGpu::HostToDeviceRate, now.pcie),
        ];
        self.apply(Reading::Gpu(gpu::Reading::Device { device: device.into(), values: values.into_iter().collect() }));
        let holders = vec![Holder { pid: 7, cgroup: Some(ID), bytes: Some(1 << 30) }];
        self.apply(Reading::Gpu(gpu::Reading::Held { uuid: uuid.clone(), holders }));
        if let Some(code) = now.xid {
            self.apply(Reading::Gpu(gpu::Reading::Xid { uuid, code }));
        }
        let asked = 20;
        let ns = (now.first * 1e9) as u64;
        let place = self.latency.edges.partition_point(|edge| *edge < ns);
        self.latency.counts[place] += asked;
        self.latency.sum += asked * ns;
        for (sum, more) in self.sums.iter_mut().zip([now.preempted, now.offloaded, now.generated]) {
            *sum += more;
        }
        let [preempted, offloaded, generated] = self.sums;
        let requests = self.latency.count();
        let values = [
            (Statistic::RequestsRunning, 8),
            (Statistic::RequestsWaiting, now.waiting),
            (Statistic::Requests, requests),
            (Statistic::PromptTokens, requests * 500),
            (Statistic::GeneratedTokens, generated),
            (Statistic::KvUsed, now.kv),
            (Statistic::Preemptions, preempted),
            (Statistic::OffloadStored, offloaded),
        ];
        let values = values.into_iter().collect();
        let served = Model { name: "llama".into(), values, latency: vec![self.latency.clone()] };
        let server = Server {
            name: "vllm:8000".into(),
            kind: Some(model::Kind::Vllm),
            url: "http://127.0.0.1:8000".into(),
            pid: Some(7),
            cgroup: Some(ID),
            workload: None,
            parent: None,
            flags: Arc::default(),
        };
        let answer = Answer { state: State::Up, why: None, took: 1, models: vec![served], memory: None };
        self.apply(Reading::Model(model::Reading { server: server.into(), answer: Some(answer) }));
        self.apply(Reading::Tick);
    }
}

/// What is told if after half an hour it is like this for eight minutes.
fn told(now: Now) -> Vec<Incident> {
    let mut played = Played::new();
    (0..400).for_each(|_| played.step(USUAL));
    assert!(played.told.is_empty(), "{:?}", played.told.first().map(|it| &it.title));
    (0..96).for_each(|_| played.step(now));
    played.told
}

#[track_caller]
fn because(now: Now, rule: &str, words: &[&str]) {
    let told = told(now);
    let Some(first) = told.first() else { panic!("nothing is told: {rule}") };
    assert_eq!(first.cause.rule, rule, "{:?}", first.cause);
    words.iter().for_each(|word| assert!(first.cause.sentence.contains(word), "{word}: {:?}", first.cause));
    assert_eq!((&*first.labels["server"], &*first.labels["workload"]), ("vllm:8000", "/a"));
}

#[test]
fn what_a_server_and_its_gpu_say_is_the_cause() {
    let slow = Now { first: 0.7, ..USUAL };
    because(slow, "not_known", &["worse than before"]);
    let full = Now { preempted: 4, waiting: 6, kv: 990_000, ..slow };
    because(full, "kv_exhausted", &["vllm:8000", "99 % in use", "0.8/s"]);
    because(Now { waiting: 6, ..slow }, "too_many_clients", &["6.0 requests wait"]);
    because(Now { offloaded: 5_000_000_000, pcie: 9_000_000_000, ..slow }, "kv_offload", &["954 MiB/s"]);
    because(Now { throttle: 0x40, clock: 600_000_000, ..slow }, "gpu_clocks", &["hw_thermal_slowdown", "600 MHz"]);
    because(Now { width: 4, ..slow }, "pcie_degraded", &["25 %"]);
    because(Now { pcie: 31_000_000_000, ..slow }, "pcie_saturated", &["97 %"]);
}

#[test]
fn why_the_clocks_fell_is_still_known_when_it_is_over() {
    let mut played = Played::new();
    (0..400).for_each(|_| played.step(USUAL));
    (0..96).for_each(|_| played.step(Now { first: 0.7, throttle: 0x40, clock: 600_000_000, ..USUAL }));
    // It is cool some time before as many requests as it takes were fast again.
    (0..6).for_each(|_| played.step(Now { first: 0.7, ..USUAL }));
    (0..96).for_each(|_| played.step(USUAL));
    let Some(over) = played.told.iter().find(|it| it.complete) else { panic!("{:?}", played.told) };
    assert!(over.evidence.slow.as_ref().unwrap().clock_reasons == ["hw_thermal_slowdown"], "{over:?}");
}

#[test]
fn an_error_of_its_gpu_is_the_cause_and_what_is_not_slow_is_no_incident() {
    let mut played = Played::new();
    (0..400).for_each(|_| played.step(USUAL));
    played.step(Now { first: 0.7, xid: Some(63), ..USUAL });
    (0..96).for_each(|_| played.step(Now { first: 0.7, ..USUAL }));
    assert_eq!(played.told.first().map(|it| &*it.cause.rule), Some("gpu_xid"));
    assert!(told(Now { throttle: 0x40, offloaded: 5_000_000_000, kv: 990_000, ..USUAL }).is_empty(), "it is as fast");
}

#[test]
fn a_restart_that_is_the_cure_is_no_new_incident_and_one_that_is_not_is() {
    let slow = Now { first: 0.7, ..USUAL };
    for (after, incidents) in [(USUAL, 1), (slow, 2)] {
        let mut played = Played::new();
        (0..400).for_each(|_| played.step(USUAL));
        (0..48).for_each(|_| played.step(slow));
        assert_eq!(played.told.len(), 1);
        assert!(played.engine.view().slow.host().unwrap().is_held());
        let server = played.engine.view().models.servers["vllm:8000"].server.clone();
        played.apply(Reading::Model(model::Reading { server: server.clone(), answer: None }));
        for _ in 0..30 {
            played.time += STEP;
            played.apply(Reading::Tick);
        }
        let [_, gone] = played.told.as_slice() else { panic!("{:?}", played.told) };
        assert!(
            gone.complete && gone.evidence.latency.as_ref().unwrap().over && gone.title.contains(" was "),
            "{gone:?}"
        );
        assert!(!played.engine.view().slow.host().is_some_and(|host| host.is_held()));
        (0..96).for_each(|_| played.step(after));
        let mut ids: Vec<_> = played.told.iter().map(|it| &it.id).collect();
        ids.dedup();
        assert_eq!(ids.len(), incidents, "{ids:?}");
    }
}

#[test]
fn numbers_are_rounded_to_what_is_read() {
    assert_eq!([0.123_456, 12_345.6, 0.0, 99_999.0].map(round), [0.1235, 12_350.0, 0.0, 100_000.0]);
}
