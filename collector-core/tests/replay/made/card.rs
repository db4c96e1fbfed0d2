//! GPUs that are made up: what NVML says of each, who holds their memory, which memory nodes their workloads use, and what is copied.

use std::collections::BTreeMap;
use std::sync::Arc;

use collector_core::sample::Reading;
use collector_core::signal::transfer;
use collector_core::statistic::contention::Node;
use collector_core::statistic::gpu::{self, Device, Holder, Statistic};

use super::{GIB, Host, id};

/// The memory of each GPU: that of an H100.
pub const VRAM: u64 = 80 * GIB;

pub struct Card {
    device: Arc<Device>,
    numbers: BTreeMap<Statistic, u64>,
    holders: Vec<Holder>,
    /// It is busy in the first `.0` of every `.1` steps.
    works: (u64, u64),
    steps: u64,
}

impl Host {
    /// An H100 of which the driver says that so much is free, and that it runs something for so many percent of the time. Its place.
    pub fn card(&mut self, free: u64, utilization: u64) -> usize {
        use Statistic::{
            MemoryFree, MemoryReserved, MemoryTotal, MemoryUsed, PcieGeneration, PcieGenerationCard, PcieGenerationMax,
            PcieWidth, PcieWidthCard, PcieWidthMax, PowerLimit, Throttle, Utilization,
        };
        let number = self.cards.len();
        let [gpu, uuid] = [number.to_string(), format!("GPU-{number}")].map(Arc::<str>::from);
        let device = Arc::new(Device { uuid, gpu, model: "H100".into(), driver: "555".into(), parent: None });
        let numbers = [
            (MemoryTotal, VRAM),
            (MemoryFree, free),
            (MemoryUsed, VRAM - free),
            (MemoryReserved, 0),
            (Utilization, utilization),
            (PcieGeneration, 5),
            (PcieGenerationMax, 5),
            (PcieGenerationCard, 5),
            (PcieWidth, 16),
            (PcieWidthMax, 16),
            (PcieWidthCard, 16),
            (PowerLimit, 700_000),
            (Throttle, 0),
        ];
        let card = Card { device, numbers: numbers.into(), holders: Vec::new(), works: (1, 1), steps: 0 };
        self.cards.push(card);
        number
    }

    /// Other numbers of a GPU.
    pub fn measures(&mut self, card: usize, numbers: &[(Statistic, u64)]) -> &mut Host {
        self.cards[card].numbers.extend(numbers.iter().copied());
        self
    }

    /// Of so many steps a GPU works in so many, and runs nothing in the others.
    pub fn works(&mut self, card: usize, steps: u64, of: u64) -> &mut Host {
        self.cards[card].works = (steps, of);
        self
    }

    /// A process of a workload holds so much of its memory.
    pub fn holds(&mut self, card: usize, workload: u64, bytes: u64) -> &mut Host {
        let pid = holder(workload);
        self.cards[card].holders.push(Holder { pid, cgroup: Some(id(workload)), bytes: Some(bytes) });
        self
    }

    /// What a workload has of each memory node: bytes, and whether it may run on its CPUs.
    pub fn is_on(&mut self, workload: u64, nodes: &[(u64, bool)]) -> &mut Host {
        let node = |(node, (bytes, runs)): (u32, &(u64, bool))| Node {
            node,
            bytes: Some(*bytes),
            runs: Some(*runs),
            cpus: format!("{}-{}", 8 * node, 8 * node + 7).into(),
        };
        self.nodes.insert(workload, (0..).zip(nodes).map(node).collect());
        self
    }

    /// A workload copies so much a second to GPUs, and pins so much of the host's memory.
    pub fn copies(&mut self, workload: u64, a_second: u64, pinned: u64) -> &mut Host {
        self.copies.insert(workload, a_second);
        let held = transfer::Reading::Held { cgroup: Some(id(workload)), bytes: [pinned as i64, 0] };
        self.apply(Reading::Transfer(held));
        self
    }

    pub(super) fn read_cards(&mut self, every: u64) {
        for place in 0..self.cards.len() {
            let card = &mut self.cards[place];
            let (steps, of) = card.works;
            let rests = card.steps % of >= steps;
            card.steps += 1;
            let mut values: gpu::Values = card.numbers.iter().map(|(statistic, value)| (*statistic, *value)).collect();
            if rests {
                values.set(Statistic::Utilization, 0);
            }
            let (device, holders) = (card.device.clone(), card.holders.clone());
            let uuid = device.uuid.clone();
            self.apply(Reading::Gpu(gpu::Reading::Device { device, values }));
            self.apply(Reading::Gpu(gpu::Reading::Held { uuid, holders }));
        }
        for (workload, a_second) in self.copies.clone() {
            let (calls, bytes) = ([every, 0, 0], [a_second * every, 0, 0]);
            let counts = transfer::Reading::Counts { cgroup: Some(id(workload)), calls, bytes, refused: [0, 0] };
            self.apply(Reading::Transfer(counts));
        }
    }
}

/// The process of a workload that holds memory of GPUs.
pub fn holder(workload: u64) -> u32 {
    1000 + workload as u32
}
