//! The most that was used of each resource, before a start was over and since.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// GPUs of one run.
const GPUS: usize = 64;

/// The most of one resource, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Peak {
    /// Until it had started.
    pub loading: u64,
    /// Since then.
    pub running: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Peaks {
    /// Host memory that cannot be reclaimed.
    pub hard: Peak,
    /// Files in memory.
    pub soft: u64,
    /// Pinned by drivers and networks, as far as the kernel counts it by process (`VmPin`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<u64>,
    /// The kernel's own peak of the cgroup, page cache included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<u64>,
    /// Memory of each GPU, in the order of the work's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub vram: BTreeMap<u32, Peak>,
    /// All GPUs were looked at, and what it held of each was known: it needs no other.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cards: bool,
}

impl Peak {
    pub fn most(self) -> u64 {
        self.loading.max(self.running)
    }

    pub fn rise(&mut self, amount: u64, settled: bool) {
        let peak = if settled { &mut self.running } else { &mut self.loading };
        *peak = amount.max(*peak);
    }

    fn join(&mut self, other: Peak) {
        self.loading = self.loading.max(other.loading);
        self.running = self.running.max(other.running);
    }
}

impl Peaks {
    pub fn gpu(&mut self, own: u32, amount: u64, settled: bool) {
        if self.vram.contains_key(&own) || self.vram.len() < GPUS && amount > 0 {
            self.vram.entry(own).or_default().rise(amount, settled);
        }
    }

    /// Takes over what is more in another.
    pub fn join(&mut self, other: &Peaks) {
        self.hard.join(other.hard);
        self.soft = self.soft.max(other.soft);
        self.pinned = self.pinned.max(other.pinned);
        self.cgroup = self.cgroup.max(other.cgroup);
        self.cards |= other.cards;
        for (own, peak) in &other.vram {
            if self.vram.contains_key(own) || self.vram.len() < GPUS {
                self.vram.entry(*own).or_default().join(*peak);
            }
        }
    }

    /// Whether anything is more than in another, by `step` at least.
    pub fn exceed(&self, other: &Peaks, step: u64) -> bool {
        let more = |mine: u64, theirs: u64| mine >= theirs.saturating_add(step);
        let peak = |mine: Peak, theirs: Peak| more(mine.loading, theirs.loading) || more(mine.running, theirs.running);
        peak(self.hard, other.hard)
            || more(self.soft, other.soft)
            || more(self.pinned.unwrap_or(0), other.pinned.unwrap_or(0))
            || more(self.cgroup.unwrap_or(0), other.cgroup.unwrap_or(0))
            || self.vram.iter().any(|(own, mine)| peak(*mine, other.vram.get(own).copied().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_peak_is_the_most_of_all_and_a_gpu_that_was_never_used_is_none() {
        let mut peaks = Peaks::default();
        peaks.hard.rise(7, false);
        peaks.hard.rise(5, true);
        peaks.gpu(0, 0, false);
        peaks.gpu(1, 9, false);
        peaks.gpu(1, 8, true);
        assert_eq!((peaks.hard, peaks.hard.most()), (Peak { loading: 7, running: 5 }, 7));
        assert_eq!(peaks.vram, BTreeMap::from([(1, Peak { loading: 9, running: 8 })]));
        let mut all = Peaks { soft: 3, cgroup: Some(4), ..Peaks::default() };
        assert!(peaks.exceed(&all, 7) && !peaks.exceed(&all, 10) && !all.exceed(&all, 1));
        all.join(&peaks);
        assert_eq!((all.hard, all.soft, all.cgroup, all.pinned, all.vram.len()), (peaks.hard, 3, Some(4), None, 1));
        (0..100).for_each(|own| all.gpu(own, 1, true));
        assert_eq!(all.vram.len(), GPUS);
    }
}
