//! What a workload is charged: counters that only grow.

use collector_common::{block, fault, reclaim, transfer};

use crate::count::grow;
use crate::signal::counted::Sums;
use crate::signal::oom::Scope;
use crate::signal::transfer::Memory;
use crate::statistic::network::Traffic;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Amounts {
    /// OOM kills of its processes, by [`Scope`].
    pub oom_kills: [u64; Scope::ALL.len()],
    /// OOM kills that its own limit caused.
    pub limit_kills: u64,
    /// Reclaim, by [`crate::signal::reclaim::Kind`].
    pub reclaim: [Reclaim; reclaim::KINDS],
    pub compaction: Stalls,
    /// Page faults of its tasks, by [`fault::word`].
    pub faults: [u64; fault::word::COUNT],
    /// Block IO that it caused, by [`crate::signal::block::Operation`].
    pub block: [Io; block::OPERATIONS],
    /// Counted signals.
    pub counted: Sums,
    /// Use of GPUs, as requested from the CUDA driver.
    pub transfer: Transfer,
    /// What it sent and received in network namespaces of its own.
    pub network: Traffic,
}

/// Reclaim of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reclaim {
    pub stalls: u64,
    /// Time of these stalls in nanoseconds.
    pub ns: u64,
    /// Memory that its tasks reclaimed, from any workload.
    pub bytes: u64,
    /// Memory that was reclaimed from it, by any task.
    pub target_bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stalls {
    pub stalls: u64,
    /// Time of these stalls in nanoseconds.
    pub ns: u64,
}

/// Block IO of one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Io {
    pub ios: u64,
    /// Bytes completed.
    pub bytes: u64,
    /// Nanoseconds from issue to completion, summed.
    pub ns: u64,
}

/// Requests to the CUDA driver.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Transfer {
    /// Copies, by [`crate::signal::transfer::Direction`].
    pub calls: [u64; transfer::DIRECTIONS],
    /// Bytes of these copies.
    pub bytes: [u64; transfer::DIRECTIONS],
    /// Allocations that were refused, by [`crate::signal::transfer::Memory`].
    pub refused: [u64; transfer::MEMORIES],
    /// Bytes that it holds, by the same: sum of all growth, minus what shrank.
    pub held: [i64; transfer::MEMORIES],
}

impl Transfer {
    /// Bytes of this memory that it holds. At least zero: memory allocated before the agent started may be released later.
    pub fn bytes_held(&self, memory: Memory) -> u64 {
        u64::try_from(self.held[memory as usize]).unwrap_or(0)
    }

    fn add(&mut self, other: &Transfer) {
        let Transfer { calls, bytes, refused, held } = other;
        self.calls.iter_mut().zip(calls).for_each(|(sum, more)| grow(sum, *more));
        self.bytes.iter_mut().zip(bytes).for_each(|(sum, more)| grow(sum, *more));
        self.refused.iter_mut().zip(refused).for_each(|(sum, more)| grow(sum, *more));
        self.held.iter_mut().zip(held).for_each(|(sum, more)| *sum = sum.saturating_add(*more));
    }
}

impl Amounts {
    /// Adds the counters of `other`.
    pub(super) fn add(&mut self, other: &Amounts) {
        let Amounts { oom_kills, limit_kills, reclaim, compaction, faults, block, counted, transfer, network } = other;
        self.oom_kills.iter_mut().zip(oom_kills).for_each(|(sum, more)| grow(sum, *more));
        grow(&mut self.limit_kills, *limit_kills);
        for (sum, more) in self.reclaim.iter_mut().zip(reclaim) {
            grow(&mut sum.stalls, more.stalls);
            grow(&mut sum.ns, more.ns);
            grow(&mut sum.bytes, more.bytes);
            grow(&mut sum.target_bytes, more.target_bytes);
        }
        grow(&mut self.compaction.stalls, compaction.stalls);
        grow(&mut self.compaction.ns, compaction.ns);
        self.faults.iter_mut().zip(faults).for_each(|(sum, more)| grow(sum, *more));
        for (sum, more) in self.block.iter_mut().zip(block) {
            grow(&mut sum.ios, more.ios);
            grow(&mut sum.bytes, more.bytes);
            grow(&mut sum.ns, more.ns);
        }
        self.counted.add(counted);
        self.transfer.add(transfer);
        self.network.iter_mut().zip(network).for_each(|(sum, more)| grow(sum, *more));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_added() {
        let io = Io { ios: 1, bytes: 1, ns: 1 };
        let reclaim = Reclaim { stalls: 1, ns: 1, bytes: 1, target_bytes: 1 };
        let ones = Amounts {
            oom_kills: [1; 3],
            limit_kills: 1,
            reclaim: [reclaim; 2],
            compaction: Stalls { stalls: 1, ns: 1 },
            faults: [1; 8],
            block: [io; 5],
            counted: Sums::ones(),
            transfer: Transfer { calls: [1; 3], bytes: [1; 3], refused: [1; 2], held: [1; 2] },
            network: [1; 8],
        };
        let mut sum = Amounts::default();
        sum.add(&ones);
        assert_eq!(sum, ones);
    }
}
