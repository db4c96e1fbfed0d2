//! What workloads that are watched closely wait for: time in the run queue, CPU quotas, and memory that is read again. The view says who
//! is watched: those that serve models or hold GPU memory. A thread of its own reads them, because a workload may have many tasks; it
//! sleeps while there are none.

mod group;
mod node;
mod task;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use collector_core::sample::Reading;
use collector_core::statistic::contention;

use super::cgroup::Hierarchies;
use super::root::Root;
use super::watched::{Pace, Rounds};
use group::Groups;
use node::Nodes;
use task::Tasks;

/// After a round the thread rests for so many times as long as it took: whoever has very many tasks takes a hundredth of a CPU at most.
const REST: u32 = 99;

pub type Watched = super::watched::Watched<contention::Reading>;
/// The source.
pub type Contention = Rounds<contention::Reading>;

/// Reads one after the other.
struct Reader {
    groups: Groups,
    tasks: Tasks,
    nodes: Nodes,
    interval: Duration,
}

impl Reader {
    fn round(&mut self, tops: &[Arc<str>]) -> Vec<contention::Reading> {
        self.tasks.begin(tops.len());
        let readings = tops.iter().filter_map(|top| self.read(top)).collect();
        self.tasks.end();
        self.groups.end();
        readings
    }

    /// `None` if the cgroup is gone.
    fn read(&mut self, top: &Arc<str>) -> Option<contention::Reading> {
        let (cgroup, pids) = self.groups.enter(top)?;
        let mut values = contention::Values::new();
        self.tasks.read(top, &pids, &mut values);
        self.groups.read(top, pids.first().copied(), &mut values);
        let nodes = self.nodes.read(self.groups.memory_of(top).as_deref(), &pids);
        let interval = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
        Some(contention::Reading { cgroup, values, nodes, interval })
    }
}

pub fn start(root: &Root, hierarchies: &Hierarchies, watched: &Arc<Watched>, interval: Duration) -> Result<Contention> {
    let proc: PathBuf = root.at("/proc");
    let nodes = Nodes::new(&root.at("/sys/devices/system/node"), proc.clone());
    let (groups, tasks) = (Groups::new(proc.clone(), hierarchies), Tasks::new(proc));
    let mut reader = Reader { groups, tasks, nodes, interval };
    let pace = Pace { interval, rest: REST, at_once: false };
    Rounds::start("headroom-close", watched, pace, Reading::Contention, move |tops| reader.round(tops))
}

#[cfg(test)]
mod tests;
