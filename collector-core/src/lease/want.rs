//! A need in amounts by resource: what is compared and reserved. Knows no host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::need::{Need, Resource};

/// Two amounts of one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amount {
    /// Once it runs.
    pub running: u64,
    /// The most at any time.
    pub peak: u64,
}

/// All add without overflow, and stop at the largest number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Want {
    /// Host memory that cannot be reclaimed, in bytes.
    pub hard: Amount,
    /// Files that it maps, in bytes: without them it thrashes.
    pub soft: u64,
    /// By the number that the need has for the GPU.
    pub vram: BTreeMap<u32, Amount>,
    pub disk: BTreeMap<String, u64>,
    /// Thousandths of a CPU.
    pub cpu: u64,
    /// Bits a second.
    pub network: u64,
    pub slot: BTreeMap<String, u64>,
    /// The least compute capability of its GPUs, in tenths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_capability: Option<u32>,
}

impl Amount {
    fn add(&mut self, amount: u64, loading: bool) {
        self.peak = self.peak.saturating_add(amount);
        if !loading {
            self.running = self.running.saturating_add(amount);
        }
    }

    /// What it may still come to.
    pub fn at(self, settled: bool) -> u64 {
        if settled { self.running } else { self.peak }
    }
}

impl Want {
    pub fn of(need: &Need) -> Want {
        let mut want = Want { compute_capability: need.compute_capability, ..Want::default() };
        let grow = |sum: &mut u64, amount| *sum = sum.saturating_add(amount);
        for part in need.parts.iter().filter(|part| part.amount > 0) {
            let amount = part.amount;
            match &part.resource {
                Resource::Host { memory } if memory.hard() => want.hard.add(amount, part.loading),
                // What is read once may be dropped at once: it needs no room of its own.
                Resource::Host { memory: crate::need::Memory::PageCache } => {}
                Resource::Host { .. } => grow(&mut want.soft, amount),
                Resource::Vram { gpu } => want.vram.entry(*gpu).or_default().add(amount, part.loading),
                Resource::Disk { path } => grow(want.disk.entry(path.clone()).or_default(), amount),
                Resource::Cpu => grow(&mut want.cpu, amount),
                Resource::Network => grow(&mut want.network, amount),
                Resource::Slot { name } => grow(want.slot.entry(name.clone()).or_default(), amount),
            }
        }
        want
    }

    pub fn is_nothing(&self) -> bool {
        *self == Want::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::need::{Memory, Origin, Part};

    #[test]
    fn parts_add_up_by_resource_and_page_cache_needs_no_room() {
        let mut need = Need::default();
        let mut add = |resource, amount, loading| {
            need.parts.push(Part { what: "x".into(), resource, amount, error: 0, origin: Origin::Declared, loading });
        };
        add(Resource::Host { memory: Memory::Anonymous }, 5, false);
        add(Resource::Host { memory: Memory::Pinned }, u64::MAX, true);
        add(Resource::Host { memory: Memory::Mapped }, 7, false);
        add(Resource::Host { memory: Memory::PageCache }, 9, false);
        add(Resource::Vram { gpu: 1 }, 3, false);
        add(Resource::Vram { gpu: 1 }, 4, true);
        add(Resource::Slot { name: "a".into() }, 1, false);
        add(Resource::Slot { name: "a".into() }, 1, false);
        add(Resource::Cpu, 0, false);
        let want = Want::of(&need);
        assert_eq!(want.hard, Amount { running: 5, peak: u64::MAX });
        assert_eq!((want.soft, want.cpu, want.slot["a"]), (7, 0, 2));
        assert_eq!((want.vram[&1].at(true), want.vram[&1].at(false)), (3, 7));
        assert!(Want::of(&Need::default()).is_nothing());
    }
}
