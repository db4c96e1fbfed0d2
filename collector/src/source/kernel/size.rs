//! How large the maps are, by what the host has: their memory and the time to read them must not grow with the number of
//! CPUs that it could have.

use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, anyhow, bail};
use aya::Ebpf;
use aya::maps::Map;
use collector_common::slot::{CACHE, SHARDS, WORDS, cache};
use collector_common::{block, kswapd, pass};
use zerocopy::IntoBytes as _;

use super::bpf;
use crate::source::root::Root;

/// Kernel memory for the rows of cgroups, in bytes. On a host with many CPUs some of them share rows.
const BUDGET: usize = 24 << 20;
/// Rows of the pass over all cgroups, per slot: not all cgroups are workloads' own.
const CGROUPS_PER_SLOT: u32 = 2;

/// What the sizes are computed from.
pub struct Size {
    /// Slots for cgroups.
    pub slots: u32,
    /// Shards of the rows of cgroups.
    pub shards: u32,
    /// Shards of the rows of devices, a power of two.
    pub device_shards: u32,
    /// Memory nodes.
    pub nodes: u32,
    /// CPUs that this host can have, if they are numbered from 0 without gaps and the pass has room for them; otherwise 0.
    pub cpus: u32,
    /// Numbers of the CPUs that are online.
    online: Vec<u32>,
}

impl Size {
    /// For this host, with `slots` slots for cgroups.
    pub fn new(root: &Root, slots: u32) -> Result<Size> {
        let online = aya::util::online_cpus().map_err(|(what, error)| anyhow!("{what}: {error}"))?;
        let nodes = std::fs::read_to_string(root.at("/sys/devices/system/node/possible")).ok();
        let cpus = std::fs::read_to_string(root.at("/sys/devices/system/cpu/possible")).ok();
        let cpus = cpus.as_deref().and_then(all).filter(|cpus| *cpus as usize <= pass::head::CPUS).unwrap_or(0);
        Ok(Size { cpus, ..Size::of(slots, online, nodes.as_deref().and_then(last)) })
    }

    fn of(slots: u32, online: Vec<u32>, last_node: Option<u32>) -> Size {
        let fit = BUDGET / (slots.max(1) as usize * WORDS * size_of::<u64>());
        let shards = fit.min(online.len()).clamp(1, SHARDS) as u32;
        let device_shards = (online.len() as u32).clamp(1, block::SHARDS).next_power_of_two();
        let nodes = last_node.map_or(kswapd::NODES, |last| last.saturating_add(1).min(kswapd::NODES));
        Size { slots, shards, device_shards, nodes, cpus: 0, online }
    }

    /// Rows of the pass over all cgroups.
    pub fn cgroups(&self) -> u32 {
        self.slots.saturating_mul(CGROUPS_PER_SLOT)
    }

    /// Tells each CPU which rows are its own.
    pub fn place_cpus(&self, ebpf: &mut Ebpf) -> Result<()> {
        let Some(Map::PerCpuArray(map)) = ebpf.map(CACHE) else { bail!("the object has no map {CACHE}") };
        let cpus = aya::util::nr_cpus().map_err(|(what, error)| anyhow!("{what}: {error}"))?;
        let mut values = vec![0; cpus * cache::COUNT];
        for (cpu, value) in (0..).zip(values.chunks_exact_mut(cache::COUNT)) {
            value[cache::PLACE] = self.place(cpu);
        }
        bpf::update(map.fd().as_fd(), 0u32.as_bytes(), values.as_bytes()).context("place the CPUs")
    }

    /// The index of a CPU's first row, and its shard << 32. Neighbours share a shard, since they are close to the same memory.
    /// A CPU that comes online later shares one, too.
    pub fn place(&self, cpu: u32) -> u64 {
        let count = self.online.len().max(1);
        let order = self.online.iter().position(|online| *online == cpu).unwrap_or(cpu as usize % count);
        let shard = order as u64 * u64::from(self.shards) / count as u64;
        (shard << 32) | (shard * u64::from(self.slots))
    }
}

/// The last number of a list such as `0-3` or `0,2`.
fn last(list: &str) -> Option<u32> {
    list.trim().rsplit([',', '-']).next()?.parse().ok()
}

/// The length of a list that begins at 0 and has no gaps.
fn all(list: &str) -> Option<u32> {
    let list = list.trim();
    let (first, last) = list.split_once('-').unwrap_or((list, list));
    (first == "0").then(|| last.parse::<u32>().ok()?.checked_add(1)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(size: &Size, cpus: u32) -> Vec<u64> {
        (0..cpus).map(|cpu| size.place(cpu) >> 32).collect()
    }

    #[test]
    fn each_cpu_has_a_shard_while_they_fit() {
        let size = Size::of(2001, vec![0, 1, 2, 3], Some(0));
        assert_eq!((size.shards, size.device_shards, size.nodes), (4, 4, 1));
        assert_eq!(shards(&size, 4), [0, 1, 2, 3]);
        assert_eq!(size.place(3) as u32, 3 * 2001);
        // Online are two of 224, and others come later.
        let size = Size::of(2001, vec![0, 5], None);
        assert_eq!((size.shards, size.device_shards, size.nodes), (2, 2, kswapd::NODES));
        assert_eq!(shards(&size, 8), [0, 1, 0, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn on_a_large_host_neighbours_share_and_the_rows_fit_the_budget() {
        for slots in [2001, 4001, u32::from(u16::MAX)] {
            let size = Size::of(slots, (0..224).collect(), Some(7));
            assert!((slots * size.shards) as usize * WORDS * 8 <= BUDGET, "{slots} slots, {} shards", size.shards);
            assert_eq!((size.device_shards, size.nodes), (16, 8));
            let shards = shards(&size, 224);
            assert!(shards.is_sorted() && shards[0] == 0 && shards[223] == u64::from(size.shards) - 1);
        }
    }

    #[test]
    fn nodes_are_read_from_the_kernels_lists() {
        assert_eq!(["0\n", "0-7\n", "0,2\n", "", "x"].map(last), [Some(0), Some(7), Some(2), None, None]);
        assert_eq!(["0\n", "0-7\n", "0,2\n", "1-3\n", "0-3,5\n"].map(all), [Some(1), Some(8), None, None, None]);
    }
}
