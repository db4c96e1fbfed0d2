//! A job on a GPU, second by second.

use std::sync::Arc;

use super::super::Open;
use super::super::latency::Slowdowns;
use super::*;
use crate::cgroup::Id;
use crate::engine::Engine;
use crate::engine::test::{ID, start};
use crate::incident::cause::RULES;
use crate::incident::{Pair, Slow};
use crate::outcome::Outcome;
use crate::sample::{Reading, Sample, Start, Statistics};
use crate::signal::cgroup;
use crate::starved::Settings;
use crate::statistic::gpu::{self, Device, Holder};
use crate::statistic::model::{Answer, Model, Server, Statistic as OfModel};
use crate::statistic::{contention, model, workload};
use crate::view::slow::Fact;

const SECOND: u64 = 1_000_000_000;
const OTHER: Id = Id { hierarchy: ID.hierarchy, id: 99 };

#[test]
fn every_cause_has_a_few_words() {
    let rules = RULES.iter().filter(|rule| rule.kinds.contains(&Kind::GpuStarved));
    let mut rules: Vec<&str> = rules.map(|rule| rule.name).collect();
    let mut known = WHY.map(|(rule, _)| rule);
    rules.sort_unstable();
    known.sort_unstable();
    assert_eq!(rules, known);
}

struct World {
    engine: Engine,
    second: u64,
    cpu: u64,
    wait: u64,
    /// Who holds its memory.
    holders: Vec<Holder>,
    /// Requests of a model server of the workload, if it has one.
    running: Option<u64>,
    told: Vec<Incident>,
}

impl World {
    fn new() -> World {
        let settings = Settings { enabled: true, fall: 0.25, window: 6 * SECOND, baseline: 24 * SECOND };
        let mut world = World {
            engine: Engine::new(),
            second: 1,
            cpu: 0,
            wait: 0,
            holders: vec![Holder { pid: 7, cgroup: Some(ID), bytes: Some(1 << 30) }],
            running: None,
            told: Vec::new(),
        };
        world.apply(Reading::Start(Start { workload_max: 10, starved: Some(settings), ..start() }));
        for (id, path) in [(ID, "/a"), (OTHER, "/b")] {
            world.apply(Reading::Cgroup(cgroup::Reading::Born { id, path: path.to_owned() }));
        }
        world
    }

    fn apply(&mut self, reading: Reading) {
        let outcomes = self.engine.apply(&Sample { time: self.second * SECOND, reading });
        self.told.extend(outcomes.into_iter().filter_map(|outcome| match outcome {
            Outcome::Incident(incident) if incident.kind == Kind::GpuStarved => Some(*incident),
            _ => None,
        }));
    }

    /// Its GPU runs for this share of the time, its tasks run and wait for so many seconds in each second.
    fn runs(&mut self, seconds: u64, utilization: f64, cpu: f64, wait: f64) {
        for _ in 0..seconds {
            self.second += 1;
            self.cpu += (cpu * 1e9) as u64;
            self.wait += (wait * 1e9) as u64;
            let numbers = [
                (workload::Statistic::MemoryCurrent, 1 << 30),
                (workload::Statistic::Populated, 1),
                (workload::Statistic::CpuUsage, self.cpu),
            ];
            for cgroup in [ID, OTHER] {
                let values = numbers.into_iter().collect();
                self.apply(Reading::Statistics(Statistics { cgroup, values, turn: true }));
            }
            let values = [(contention::Statistic::CpuWait, self.wait)].into_iter().collect();
            self.apply(Reading::Contention(contention::Reading {
                cgroup: ID,
                values,
                nodes: Arc::default(),
                interval: SECOND,
            }));
            if let Some(running) = self.running {
                self.serve(running);
            }
            let values = [(gpu::Statistic::Utilization, (utilization * 100.0) as u64)].into_iter().collect();
            let [uuid, number, model, driver] = ["GPU-a", "0", "H100", "555"].map(Arc::<str>::from);
            let device = Arc::new(Device { uuid: uuid.clone(), gpu: number, model, driver, parent: None });
            self.apply(Reading::Gpu(gpu::Reading::Device { device, values }));
            let holders = self.holders.clone();
            self.apply(Reading::Gpu(gpu::Reading::Held { uuid, holders }));
            self.apply(Reading::Tick);
        }
    }

    fn serve(&mut self, running: u64) {
        let server = Server {
            name: "vllm:8000".into(),
            kind: Some(model::Kind::Vllm),
            url: "http://127.0.0.1:8000".into(),
            pid: Some(7),
            cgroup: Some(ID),
            ..server()
        };
        let values = [(OfModel::RequestsRunning, running)].into_iter().collect();
        let answer = Answer { models: vec![Model { name: "m".into(), values, latency: Vec::new() }], ..answer() };
        self.apply(Reading::Model(model::Reading { server: Arc::new(server), answer: Some(answer) }));
    }

    /// Whether what it does is not taken for usual.
    fn is_held(&self) -> bool {
        self.engine.view().slow.workload("/a").unwrap().is_held()
    }

    /// How often something was told.
    fn told(&self) -> usize {
        self.told.len()
    }
}

fn server() -> Server {
    serde_json::from_value(serde_json::json!({"name": "", "url": ""})).unwrap()
}

fn answer() -> Answer {
    serde_json::from_value(serde_json::json!({"state": "up", "took": 1})).unwrap()
}

#[test]
fn a_job_whose_workers_wait_for_the_cpu_is_told_and_completed() {
    let mut world = World::new();
    world.runs(60, 0.92, 0.5, 0.01);
    assert_eq!(world.told(), 0);
    world.runs(12, 0.35, 0.2, 1.8);
    let [first] = world.told.as_slice() else { panic!("{:?}", world.told) };
    assert_eq!((&*first.cause.rule, first.complete, &*first.labels["workload"]), ("cpu_contended", false, "/a"));
    assert_eq!(first.title, "/a: GPU 0 is at 44 %, usually at 92 %: its workers wait for the CPU");
    let since = first.evidence.starved.clone().unwrap().since / SECOND;
    assert!((60..=64).contains(&since), "{since}");
    world.runs(30, 0.35, 0.2, 1.8);
    assert_eq!(world.told(), 1, "it goes on");
    world.runs(12, 0.92, 0.5, 0.01);
    let [_, last] = world.told.as_slice() else { panic!("{:?}", world.told) };
    assert!(last.complete && last.id == world.told[0].id, "{last:?}");
    assert_eq!(last.title, "/a: GPU 0 was at 35 %, usually at 92 %: its workers wait for the CPU");
    assert_eq!(last.cause.rule, "cpu_contended");
}

#[test]
fn a_job_that_does_less_by_itself_is_none() {
    let mut world = World::new();
    world.runs(60, 0.92, 0.5, 0.01);
    world.runs(60, 0.05, 0.02, 0.0);
    assert_eq!(world.told(), 0, "{:?}", world.told);
    world.runs(60, 0.92, 0.5, 0.01);
    // Its workers always waited as much.
    let mut world = World::new();
    world.runs(60, 0.92, 0.5, 1.8);
    world.runs(60, 0.35, 0.2, 1.8);
    assert_eq!(world.told(), 0, "{:?}", world.told);
}

#[test]
fn a_shared_gpu_and_a_new_job_are_not_judged() {
    let mut world = World::new();
    world.holders.push(Holder { pid: 9, cgroup: Some(OTHER), bytes: Some(1 << 30) });
    world.runs(60, 0.92, 0.5, 0.01);
    assert_eq!(world.engine.view().starved.gpus["GPU-a"].state, State::Shared);
    world.runs(30, 0.35, 0.2, 1.8);
    assert_eq!(world.told(), 0);
    // The other one leaves; then another process of the workload is the job.
    world.holders.pop();
    world.runs(40, 0.92, 0.5, 0.01);
    world.holders[0].pid = 8;
    world.runs(20, 0.35, 0.2, 1.8);
    assert_eq!((world.told(), world.engine.view().starved.gpus["GPU-a"].state), (0, State::Learning));
}

#[test]
fn a_server_without_requests_does_not_starve() {
    let mut world = World::new();
    world.running = Some(8);
    world.runs(60, 0.92, 0.5, 0.01);
    world.running = Some(0);
    world.runs(30, 0.1, 0.2, 1.8);
    assert_eq!(world.told(), 0, "{:?}", world.told);
    world.running = Some(8);
    world.runs(60, 0.92, 0.5, 0.01);
    world.runs(30, 0.1, 0.2, 1.8);
    assert_eq!(world.told(), 1);
}

#[test]
fn with_fewer_requests_for_a_while_it_is_the_same_fall() {
    let mut world = World::new();
    world.running = Some(8);
    world.runs(60, 0.92, 0.5, 0.01);
    world.runs(12, 0.35, 0.2, 1.8);
    assert_eq!(world.told(), 1);
    for _ in 0..3 {
        world.running = Some(2);
        world.runs(8, 0.35, 0.2, 1.8);
        assert_eq!(world.engine.view().starved.gpus["GPU-a"].state, State::Phase);
        world.running = Some(8);
        world.runs(8, 0.35, 0.2, 1.8);
    }
    assert_eq!(world.told(), 1, "{:?}", world.told);
    world.runs(12, 0.92, 0.5, 0.01);
    assert_eq!(world.told.iter().map(|it| it.complete).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn what_is_usual_is_learned_again_once_a_fall_of_any_length_is_over() {
    let mut world = World::new();
    world.runs(60, 0.92, 0.5, 0.01);
    assert!(!world.is_held());
    world.runs(650, 0.35, 0.2, 1.8);
    assert_eq!(world.told.iter().map(|it| it.complete).collect::<Vec<_>>(), [false, true]);
    assert!(world.is_held(), "it goes on");
    world.runs(12, 0.92, 0.5, 0.01);
    assert_eq!((world.told(), world.is_held()), (2, false));
    // A model of the same workload is slow as well.
    world.runs(40, 0.92, 0.5, 0.01);
    world.runs(12, 0.35, 0.2, 1.8);
    assert_eq!((world.told(), world.is_held()), (3, true));
    // It is gone at once.
    world.engine.incidents.slowdowns = Slowdowns::of("/a", 0);
    world.runs(2, 0.35, 0.2, 1.8);
    assert!(world.is_held(), "the job still starves");
    world.engine.incidents.slowdowns = Slowdowns::of("/a", u64::MAX);
    world.runs(12, 0.92, 0.5, 0.01);
    assert_eq!((world.told(), world.is_held()), (4, true), "the model is still slow");
    world.runs(70, 0.92, 0.5, 0.01);
    assert!(!world.is_held(), "it is gone");
}

#[test]
fn waiting_for_a_cpu_does_not_replace_another_cause() {
    let pair = |now, before| Pair { now, before: Some(before) };
    let facts = [(Fact::CpuWait, pair(1.8, 0.1)), (Fact::Cpu, pair(0.2, 0.5))];
    for (rule, replaced) in [("read_again", false), (CONTENDED, true)] {
        let mut found = Incident::new(Kind::GpuStarved, String::new(), 0);
        let facts = facts.map(|(fact, pair)| (fact.name().to_owned(), pair)).into();
        found.evidence.slow = Some(Slow { facts, ..Slow::default() });
        let mut incident = Incident::new(Kind::GpuStarved, "1".to_owned(), 0);
        incident.cause.rule = rule.to_owned();
        let mut incidents = Incidents::default();
        incidents.open.push_back(Open { incident, last: 0, kill: None });
        keep(&mut incidents, "1", Some(found), 0, SECOND);
        assert_eq!(incidents.open[0].incident.evidence.slow.is_some(), replaced, "{rule}");
    }
}

#[test]
fn what_ends_with_its_job_is_completed() {
    let mut world = World::new();
    world.runs(60, 0.92, 0.5, 0.01);
    world.runs(12, 0.35, 0.2, 1.8);
    world.holders.clear();
    world.runs(3, 0.0, 0.0, 0.0);
    assert_eq!(world.told.iter().map(|it| it.complete).collect::<Vec<_>>(), [false, true]);
    assert!(world.engine.view().starved.gpus.is_empty());
}
