//! For tests: a host with GPUs and a model server, minute by minute.

use std::sync::Arc;

use super::{Given, Judged};
use crate::advice::Advice;
use crate::cgroup::Id;
use crate::engine::Engine;
use crate::engine::test::start;
use crate::past::Past;
use crate::sample::{Reading, Sample, Start, Statistics};
use crate::signal::cgroup;
use crate::statistic::gpu::{self, Device, Holder};
use crate::statistic::model::{self, Answer, Kind, Memory, Model, Server, State, Statistic as OfModel};
use crate::statistic::{contention, host, workload};

const MINUTE: u64 = 60_000_000_000;
pub const GIB: u64 = 1 << 30;
/// The server's workload `/a`, and another, `/b`.
pub const OWN: Id = Id { hierarchy: 5, id: 77 };
pub const OTHER: Id = Id { hierarchy: 5, id: 78 };

pub struct World {
    pub engine: Engine,
    pub past: Past,
    minute: u64,
    pub kind: Kind,
    /// Whether there is a server.
    pub serves: bool,
    pub model: Vec<(OfModel, u64)>,
    /// What grows by so much a minute.
    pub grows: Vec<(OfModel, u64)>,
    pub memory: Option<Memory>,
    /// Of GPU 0; none: there is none.
    pub gpu: Vec<(gpu::Statistic, u64)>,
    pub holders: Vec<Holder>,
    /// Of the workload of the server.
    pub workload: Vec<(workload::Statistic, u64)>,
    pub nodes: Arc<[contention::Node]>,
    /// Total and available.
    pub host: [u64; 2],
}

pub fn holder(cgroup: Id, bytes: u64) -> Holder {
    Holder { pid: cgroup.id as u32, cgroup: Some(cgroup), bytes: Some(bytes) }
}

impl World {
    pub fn new(kind: Kind) -> World {
        let mut world = World {
            engine: Engine::new(),
            past: Past::default(),
            minute: 1000,
            kind,
            serves: true,
            model: vec![(OfModel::RequestsRunning, 2), (OfModel::RequestsWaiting, 0)],
            grows: Vec::new(),
            memory: None,
            gpu: Vec::new(),
            holders: vec![holder(OWN, 60 * GIB)],
            workload: vec![(workload::Statistic::MemoryCurrent, 4 * GIB)],
            nodes: Arc::default(),
            host: [256 * GIB, 200 * GIB],
        };
        world.apply(Reading::Start(Start { workload_max: 10, ..start() }));
        for (id, path) in [(OWN, "/a"), (OTHER, "/b")] {
            world.apply(Reading::Cgroup(cgroup::Reading::Born { id, path: path.to_owned() }));
        }
        world
    }

    pub fn apply(&mut self, reading: Reading) {
        self.engine.apply(&Sample { time: self.minute * MINUTE, reading });
    }

    /// An H100 with so much of its memory free.
    pub fn card(mut self, free: u64, utilization: u64) -> World {
        use gpu::Statistic::{MemoryFree, MemoryReserved, MemoryTotal, MemoryUsed, Utilization};
        let used = 80 * GIB - free;
        self.gpu = vec![
            (MemoryTotal, 80 * GIB),
            (MemoryFree, free),
            (MemoryUsed, used),
            (MemoryReserved, 0),
            (Utilization, utilization),
        ];
        self.holders = vec![holder(OWN, used)];
        self
    }

    pub fn set(mut self, numbers: &[(OfModel, u64)]) -> World {
        for (statistic, value) in numbers {
            self.model.retain(|(it, _)| it != statistic);
            self.model.push((*statistic, *value));
        }
        self
    }

    pub fn grow(mut self, numbers: &[(OfModel, u64)]) -> World {
        self.grows.extend(numbers);
        self
    }

    pub fn put(mut self, numbers: &[(gpu::Statistic, u64)]) -> World {
        for (statistic, value) in numbers {
            self.gpu.retain(|(it, _)| it != statistic);
            self.gpu.push((*statistic, *value));
        }
        self
    }

    pub fn hours(mut self, hours: f64) -> World {
        for _ in 0..(hours * 60.0) as u64 {
            self.minute();
        }
        self
    }

    fn minute(&mut self) {
        self.minute += 1;
        let [total, available] = self.host;
        let host = [(host::Statistic::MemoryTotal, total), (host::Statistic::MemoryAvailable, available)];
        self.apply(Reading::Host(host.into_iter().collect()));
        let values = self.workload.iter().copied().collect();
        self.apply(Reading::Statistics(Statistics { cgroup: OWN, values, turn: true }));
        if !self.gpu.is_empty() {
            let [uuid, number, model, driver] = ["GPU-a", "0", "H100", "555"].map(Arc::<str>::from);
            let device = Arc::new(Device { uuid: uuid.clone(), gpu: number, model, driver, parent: None });
            let values = self.gpu.iter().copied().collect();
            self.apply(Reading::Gpu(gpu::Reading::Device { device, values }));
            let holders = self.holders.clone();
            self.apply(Reading::Gpu(gpu::Reading::Held { uuid, holders }));
        }
        let minute = self.minute - 1000;
        let grown = self.grows.iter().map(|(statistic, by)| (*statistic, by * minute));
        let values = self.model.iter().copied().chain(grown).collect();
        let models = vec![Model { name: "m".into(), values, latency: Vec::new() }];
        let server = Server {
            name: "server:8000".into(),
            kind: Some(self.kind),
            url: "http://127.0.0.1:8000".into(),
            pid: Some(7),
            cgroup: Some(OWN),
            workload: None,
            parent: None,
            flags: Arc::default(),
        };
        if self.serves {
            let answer = Answer { state: State::Up, why: None, took: 1, memory: self.memory, models };
            self.apply(Reading::Model(model::Reading { server: server.into(), answer: Some(answer) }));
        }
        let nodes = self.nodes.clone();
        let close =
            contention::Reading { cgroup: OWN, values: contention::Values::new(), nodes, interval: 5_000_000_000 };
        self.apply(Reading::Contention(close));
        self.apply(Reading::Tick);
    }

    pub fn judged(&self) -> Judged {
        let judged = Judged::of(&Given { view: self.engine.view(), past: &self.past });
        judged.advice.iter().for_each(Advice::assert_sentences);
        judged
    }

    /// The advice of a rule.
    pub fn advice(&self, rule: &str) -> Option<Advice> {
        self.judged().advice.into_iter().find(|advice| advice.rule == rule)
    }

    /// What a rule lacks.
    pub fn lacks(&self, rule: &str) -> Vec<String> {
        self.judged()
            .lacking
            .into_iter()
            .filter(|lacking| lacking.rule == rule)
            .map(|lacking| lacking.missing)
            .collect()
    }
}
