//! Hosts that are made up: readings by the second, as a recording has them. Knows the shape of readings, and no rule.

mod card;
mod check;
mod disk;
mod lease;
mod past;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use collector_core::cgroup::Id;
use collector_core::engine::Engine;
use collector_core::past::Past;
use collector_core::sample::{Probe, ProbeState, Reading, Sample, Statistics};
use collector_core::signal::cgroup;
use collector_core::statistic::contention::{self, Node, Statistic as Close};
use collector_core::statistic::host::{Statistic as OfHost, Values as HostValues};
use collector_core::statistic::model::{self, Answer, Model, Server};
use collector_core::statistic::model_file::{self, File, How, Process, Tier};
use collector_core::statistic::workload::Statistic;
use collector_core::view::View;

use card::{Card, holder};
pub use check::advice;

pub const SECOND: u64 = 1_000_000_000;
pub const DAY: u64 = 24 * 60 * 60 * SECOND;
pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;
/// A Friday at noon.
const NOW: u64 = 20_000 * DAY + 12 * 60 * 60 * SECOND;
const START: &str = r#"{"version":"1","kernel":"6.12.0","memory_hierarchy":0,"io_hierarchy":0,"workload_max":99,"workload_grace":60000000000}"#;

/// A host on cgroup v2 with every program attached, on which the agent has run for ten days.
pub struct Host {
    pub engine: Engine,
    /// All that was read, as an agent would record it.
    samples: Vec<Sample>,
    /// What was last sent of the days before.
    past: Past,
    began: u64,
    now: u64,
    host: BTreeMap<OfHost, (u64, u64)>,
    /// By the number of its cgroup: each number, and by how much it grows a second.
    workloads: BTreeMap<u64, BTreeMap<Statistic, (u64, u64)>>,
    close: BTreeMap<u64, BTreeMap<Close, u64>>,
    /// What each has of each memory node.
    nodes: BTreeMap<u64, Arc<[Node]>>,
    /// What each copies to GPUs in a second.
    copies: BTreeMap<u64, u64>,
    servers: Vec<Served>,
    processes: Vec<(Process, u64)>,
    cards: Vec<Card>,
}

/// A server, what it answers, and by how much its numbers grow in a minute.
struct Served {
    server: Arc<Server>,
    answer: Answer,
    grows: Vec<(model::Statistic, u64)>,
}

impl Host {
    /// With so much memory, of which four fifths can be had, and swap.
    pub fn new(memory: u64) -> Host {
        Host::over(memory, 600)
    }

    /// The same, of which so many seconds are read.
    pub fn over(memory: u64, seconds: u64) -> Host {
        let mut host = Host {
            engine: Engine::new(),
            samples: Vec::new(),
            past: Past::default(),
            began: NOW - seconds * SECOND,
            now: NOW - 10 * DAY,
            host: BTreeMap::new(),
            workloads: BTreeMap::new(),
            close: BTreeMap::new(),
            nodes: BTreeMap::new(),
            copies: BTreeMap::new(),
            servers: Vec::new(),
            processes: Vec::new(),
            cards: Vec::new(),
        };
        host.apply(Reading::Start(serde_json::from_str(START).unwrap()));
        for probe in collector_common::SIGNALS.iter().flat_map(|signal| signal.probes) {
            let program = probe.program.to_owned();
            host.apply(Reading::Probe(Probe { program, state: ProbeState::Attached, reason: None }));
        }
        host.now = host.began;
        use OfHost::*;
        for (statistic, value) in [
            (MemoryTotal, memory),
            (MemoryAvailable, memory / 5 * 4),
            (MemoryAnon, memory / 10),
            (MemoryShmem, 0),
            (MemoryCached, memory / 5),
            (MemoryUnevictable, 0),
            (SwapTotal, 8 * GIB),
            (SwapFree, 8 * GIB),
            (Swappiness, 60),
            (SwapIn, 7 * MIB),
            (SwapOut, 7 * MIB),
            (ReclaimedKswapd, GIB),
            (ReclaimedDirect, MIB),
            (ScannedKswapd, GIB),
            (ScannedDirect, MIB),
            (MemoryPressureSome, 70 * SECOND),
            (MemoryPressureFull, 7 * SECOND),
            (WatermarkScaleFactor, 10),
            (HugePagesEnabled, 1),
            (HugePagesDefrag, 1),
        ] {
            host.is(statistic, value);
        }
        host
    }

    pub fn apply(&mut self, reading: Reading) {
        let sample = Sample { time: self.now, reading };
        self.engine.apply(&sample);
        self.samples.push(sample);
    }

    pub fn view(&self) -> &View {
        self.engine.view()
    }

    /// A number of the host.
    pub fn is(&mut self, statistic: OfHost, value: u64) -> &mut Host {
        self.host.insert(statistic, (value, 0));
        self
    }

    /// The host does not say it.
    pub fn is_not(&mut self, statistic: OfHost) -> &mut Host {
        self.host.remove(&statistic);
        self
    }

    /// It grows by so much a second.
    pub fn grows(&mut self, statistic: OfHost, a_second: u64) -> &mut Host {
        self.host.entry(statistic).or_default().1 = a_second;
        self
    }

    /// A workload at this path: what it is charged, of which the kernel cannot drop the second, without a limit.
    pub fn workload(&mut self, path: &str, memory: u64, without_cache: u64) -> u64 {
        let number = 100 + self.workloads.len() as u64;
        self.apply(Reading::Cgroup(cgroup::Reading::Born { id: id(number), path: path.to_owned() }));
        use Statistic::*;
        let file = memory - without_cache;
        let numbers = [
            (MemoryCurrent, memory),
            (MemoryPeak, memory),
            (MemoryWithoutCache, without_cache),
            (MemoryWorkingSet, without_cache),
            (MemoryAnon, without_cache),
            (MemoryFile, file),
            (MemoryInactiveFile, file),
            (MemoryShmem, 0),
            (MemoryKernel, 0),
            (MemorySwap, 0),
            (MemoryLow, 0),
            (MemoryMin, 0),
            (MemoryEventMax, 0),
            (MemoryEventHigh, 0),
            (MemoryEventOom, 0),
            (MemoryEventOomKill, 0),
            (MemoryPressureSome, 0),
            (MemoryPressureFull, 0),
            (IoPressureSome, 0),
            (CpuUsage, 7 * SECOND),
            (Populated, 1),
        ];
        let numbers = numbers.into_iter().map(|(statistic, value)| (statistic, (value, 0)));
        self.workloads.insert(number, numbers.collect());
        number
    }

    /// A number of a workload.
    pub fn has(&mut self, workload: u64, statistic: Statistic, value: u64) -> &mut Host {
        self.workloads.get_mut(&workload).unwrap().insert(statistic, (value, 0));
        self
    }

    /// It has no such file, or no limit in it.
    pub fn has_not(&mut self, workload: u64, statistic: Statistic) -> &mut Host {
        self.workloads.get_mut(&workload).unwrap().remove(&statistic);
        self
    }

    pub fn gains(&mut self, workload: u64, statistic: Statistic, a_second: u64) -> &mut Host {
        self.workloads.get_mut(&workload).unwrap().entry(statistic).or_default().1 = a_second;
        self
    }

    /// What a workload that is watched closely does in each second.
    pub fn closely(&mut self, workload: u64, statistic: Close, a_second: u64) -> &mut Host {
        self.close.entry(workload).or_default().insert(statistic, a_second);
        self
    }

    /// The CPU quota of a workload that is watched closely, in thousandths of a CPU, as it is read now.
    pub fn quota(&mut self, workload: u64, quota: u64) -> &mut Host {
        let values = [(Close::CpuQuota, quota)].into_iter().collect();
        let nodes = self.nodes.get(&workload).cloned().unwrap_or_default();
        self.apply(Reading::Contention(contention::Reading {
            cgroup: id(workload),
            values,
            nodes,
            interval: 5 * SECOND,
        }));
        self
    }

    /// A server in a workload, with one model that says nothing but that it is up.
    pub fn serves(&mut self, workload: u64, kind: model::Kind, numbers: &[(model::Statistic, u64)]) -> &mut Host {
        let name = format!("{}:{}", kind.label(), 8000 + self.servers.len());
        let server = Server {
            name: name.into(),
            kind: Some(kind),
            url: "http://127.0.0.1:8000".into(),
            pid: Some(workload as u32),
            cgroup: Some(id(workload)),
            workload: None,
            parent: None,
            flags: Arc::default(),
        };
        let models =
            vec![Model { name: "llama".into(), values: numbers.iter().copied().collect(), ..Model::default() }];
        let answer: Answer = serde_json::from_value(serde_json::json!({"state": "up", "took": 1})).unwrap();
        self.servers.push(Served { server: server.into(), answer: Answer { models, ..answer }, grows: Vec::new() });
        self
    }

    /// Numbers of the last server that grow by so much a minute.
    pub fn counts(&mut self, numbers: &[(model::Statistic, u64)]) -> &mut Host {
        self.servers.last_mut().unwrap().grows.extend(numbers);
        self
    }

    /// What the processes of the last server hold.
    pub fn keeps(&mut self, memory: model::Memory) -> &mut Host {
        self.servers.last_mut().unwrap().answer.memory = Some(memory);
        self
    }

    /// A model file that a process of a workload maps. So many bytes of it are in memory, and so many are read again each second.
    pub fn maps(
        &mut self,
        workload: u64,
        (name, bytes, tier): (&str, u64, Tier),
        cached: u64,
        again: u64,
    ) -> &mut Host {
        let file = File {
            name: name.into(),
            id: (1, 40 + self.processes.len() as u64),
            how: How::Mapped,
            bytes,
            cached: Some(cached),
            evicted: Some(bytes - cached),
            tier,
            fstype: if tier == Tier::Network { "nfs4" } else { "ext4" }.into(),
        };
        let pid = workload as u32;
        let process = Process {
            pid,
            server: None,
            cgroup: Some(id(workload)),
            files: vec![file],
            faults: Some(0),
            refaulted: Some(0),
        };
        self.processes.push((process, again));
        self
    }

    /// Time passes, with readings every so many seconds.
    pub fn run(&mut self, seconds: u64, every: u64) -> &mut Host {
        for _ in 0..seconds / every {
            self.now += every * SECOND;
            let mut values = HostValues::new();
            for (statistic, (value, grows)) in &mut self.host {
                *value += *grows * every;
                values.set(*statistic, *value);
            }
            self.apply(Reading::Host(values));
            for (number, numbers) in std::mem::take(&mut self.workloads) {
                let numbers: BTreeMap<_, _> =
                    numbers.into_iter().map(|(it, (value, grows))| (it, (value + grows * every, grows))).collect();
                let values = numbers.iter().map(|(statistic, (value, _))| (*statistic, *value)).collect();
                self.apply(Reading::Statistics(Statistics { cgroup: id(number), values, turn: true }));
                self.workloads.insert(number, numbers);
            }
            self.read_cards(every);
            self.read_servers(every);
            self.apply(Reading::Tick);
        }
        self
    }

    fn read_servers(&mut self, every: u64) {
        let passed = (self.now - self.began) / SECOND;
        let watched: BTreeSet<u64> = self.close.keys().chain(self.nodes.keys()).copied().collect();
        for number in watched {
            let values = self.close.get(&number).map(|grows| grown(grows, passed)).unwrap_or_default();
            let nodes = self.nodes.get(&number).cloned().unwrap_or_default();
            let interval = 5 * SECOND;
            self.apply(Reading::Contention(contention::Reading { cgroup: id(number), values, nodes, interval }));
        }
        for place in 0..self.servers.len() {
            let Served { server, answer, grows } = &self.servers[place];
            let (server, mut answer) = (server.clone(), answer.clone());
            for model in &mut answer.models {
                grows.iter().for_each(|(statistic, by)| model.values.set(*statistic, by * passed / 60));
            }
            self.apply(Reading::Model(model::Reading { server, answer: Some(answer) }));
        }
        for (process, again) in &mut self.processes {
            process.refaulted = process.refaulted.map(|bytes| bytes + *again * every);
            process.faults = process.faults.map(|faults| faults + *again * every / 4096);
        }
        for (process, _) in self.processes.clone() {
            self.apply(Reading::ModelFile(model_file::Reading::Used(process.into())));
        }
    }
}

/// What a workload did in so many seconds.
fn grown(grows: &BTreeMap<Close, u64>, seconds: u64) -> contention::Values {
    grows.iter().map(|(statistic, grows)| (*statistic, grows * seconds)).collect()
}

pub fn id(number: u64) -> Id {
    Id { hierarchy: 0, id: number }
}
