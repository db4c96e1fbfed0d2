//! What workloads that are watched closely wait for: time in the run queue, CPU quotas, and memory that is read again. The view says who
//! is watched: those that serve models or hold GPU memory. A thread of its own reads them, because a workload may have many tasks; it
//! sleeps while there are none.

mod group;
mod node;
mod task;

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use collector_core::sample::{Reading, Sample};
use collector_core::statistic::contention;

use super::cgroup::Hierarchies;
use super::root::Root;
use super::{Health, Source};
use crate::clock;
use crate::mutex::lock;
use group::Groups;
use node::Nodes;
use task::Tasks;

/// After a round the thread rests for so many times as long as it took: whoever has very many tasks takes a hundredth of a CPU at most.
const REST: u32 = 99;
const STACK: usize = 256 * 1024;

/// Which workloads are watched, and what was read of them. Shared with the fold loop, which says who they are.
#[derive(Debug, Default)]
pub struct Watched {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The number that the view had when it last said who they are.
    number: u64,
    /// Paths of their own cgroups.
    tops: Arc<[Arc<str>]>,
    found: Vec<contention::Reading>,
    round: Option<Duration>,
    ended: bool,
}

impl Watched {
    /// Who they are; asked only if the number is not the one before.
    pub fn set(&self, number: u64, tops: impl FnOnce() -> Vec<Arc<str>>) {
        let mut state = lock(&self.state);
        if state.number != number {
            (state.number, state.tops) = (number, tops().into());
            self.changed.notify_all();
        }
    }

    /// Reads all of them, again and again.
    fn run(&self, mut groups: Groups, mut tasks: Tasks, nodes: &Nodes, interval: Duration) {
        loop {
            let tops = {
                let mut state = lock(&self.state);
                while state.tops.is_empty() && !state.ended {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.ended {
                    return;
                }
                state.tops.clone()
            };
            let begun = Instant::now();
            tasks.begin(tops.len());
            let readings: Vec<_> =
                tops.iter().filter_map(|top| self.read(&mut groups, &mut tasks, nodes, top, interval)).collect();
            tasks.end();
            groups.end();
            let mut state = lock(&self.state);
            state.found = readings;
            state.round = Some(begun.elapsed());
            let rest = interval.saturating_sub(begun.elapsed()).max(begun.elapsed() * REST);
            let waited = self.changed.wait_timeout_while(state, rest, |state| !state.ended);
            drop(waited.unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// `None` if the cgroup is gone.
    fn read(
        &self,
        groups: &mut Groups,
        tasks: &mut Tasks,
        nodes: &Nodes,
        top: &Arc<str>,
        interval: Duration,
    ) -> Option<contention::Reading> {
        let (cgroup, pids) = groups.enter(top)?;
        let mut values = contention::Values::new();
        tasks.read(top, &pids, &mut values);
        groups.read(top, pids.first().copied(), &mut values);
        let nodes = nodes.read(groups.memory_of(top).as_deref(), &pids);
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        Some(contention::Reading { cgroup, values, nodes, interval })
    }
}

/// The source.
pub struct Contention(Arc<Watched>);

impl Contention {
    pub fn start(
        root: &Root,
        hierarchies: &Hierarchies,
        watched: &Arc<Watched>,
        interval: Duration,
    ) -> Result<Contention> {
        let proc: PathBuf = root.at("/proc");
        let nodes = Nodes::new(&root.at("/sys/devices/system/node"), proc.clone());
        let (groups, tasks) = (Groups::new(proc.clone(), hierarchies), Tasks::new(proc));
        let (mine, thread) = (watched.clone(), std::thread::Builder::new().name("headroom-close".into()));
        let run = move || mine.run(groups, tasks, &nodes, interval);
        thread.stack_size(STACK).spawn(run).context("start the thread that watches workloads closely")?;
        Ok(Contention(watched.clone()))
    }
}

impl Drop for Contention {
    fn drop(&mut self) {
        lock(&self.0.state).ended = true;
        self.0.changed.notify_all();
    }
}

impl Source for Contention {
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        let (found, round) = {
            let mut state = lock(&self.0.state);
            (std::mem::take(&mut state.found), state.round.take())
        };
        let time = clock::unix_ns();
        found.into_iter().for_each(|reading| emit(Sample { time, reading: Reading::Contention(reading) }));
        match round {
            Some(round) => Health::Round { ns: round.as_nanos() as u64, result: Ok(()) },
            None => Health::Silent,
        }
    }
}

#[cfg(test)]
mod tests;
