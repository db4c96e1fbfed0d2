//! What a workload is charged: counters that only ever grow.

use collector_common::{block, fault, reclaim, transfer};

use crate::count::grow;
use crate::signal::counted::Sums;
use crate::signal::oom::Scope;
use crate::signal::transfer::Memory;

/// All of a workload's counters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Amounts {
    /// OOM kills of its processes, by [`Scope`].
    pub oom_kills: [u64; Scope::ALL.len()],
    /// OOM kills that its own limit caused.
    pub limit_kills: u64,
    /// Reclaim, by [`crate::signal::reclaim::Kind`].
    pub reclaim: [Reclaim; reclaim::KINDS],
    /// Compaction stalls of its tasks.
    pub compaction: Stalls,
    /// Page faults of its tasks, by [`fault::word`].
    pub faults: [u64; fault::word::COUNT],
    /// Block IO that it caused, by [`crate::signal::block::Operation`].
    pub block: [Io; block::OPERATIONS],
    /// What is only counted, by signal.
    pub counted: Sums,
    /// What it does with GPUs, as far as the CUDA driver is asked.
    pub transfer: Transfer,
}

/// Reclaim of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reclaim {
    /// Stalls of its tasks.
    pub stalls: u64,
    /// Their time in nanoseconds.
    pub ns: u64,
    /// What they reclaimed.
    pub bytes: u64,
    /// What was reclaimed from it.
    pub target_bytes: u64,
}

/// Stalls.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stalls {
    /// How many.
    pub stalls: u64,
    /// Their time in nanoseconds.
    pub ns: u64,
}

/// Block IO of one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Io {
    /// Requests completed.
    pub ios: u64,
    /// Bytes completed.
    pub bytes: u64,
    /// Nanoseconds from issue to completion, summed.
    pub ns: u64,
}

/// What is asked of the CUDA driver.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Transfer {
    /// Copies, by [`crate::signal::transfer::Direction`].
    pub calls: [u64; transfer::DIRECTIONS],
    /// Their bytes.
    pub bytes: [u64; transfer::DIRECTIONS],
    /// Allocations that were refused, by [`crate::signal::transfer::Memory`].
    pub refused: [u64; transfer::MEMORIES],
    /// Bytes that it holds, by the same: what grew, less what shrank.
    pub held: [i64; transfer::MEMORIES],
}

impl Transfer {
    /// What it holds of this memory, in bytes. What was held before the agent came can be given back, and is no debt.
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
    /// Adds another's counters to these.
    pub(super) fn add(&mut self, other: &Amounts) {
        let Amounts { oom_kills, limit_kills, reclaim, compaction, faults, block, counted, transfer } = other;
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
        };
        let mut sum = Amounts::default();
        sum.add(&ones);
        assert_eq!(sum, ones);
    }
}
