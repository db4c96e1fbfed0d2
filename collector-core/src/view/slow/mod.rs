//! What explains that something is slow, step by step: of the workloads of model servers and of those that hold GPU memory, of their
//! models, and of the host. Nothing is kept while there are none of them. Decides nothing.

mod day;
mod fact;
mod node;
mod read;
mod trail;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::identity::Kind;
use crate::statistic::contention::{Node, Reading, Values};
use crate::view::View;
use crate::view::number::Known;
use crate::view::workload::{OTHER, Workload};
pub use day::{Alone, Day, GpuHours, Mean, ModelHours};
pub use fact::{Fact, Kind as FactKind, Of};
pub use node::own_nodes;
pub(crate) use read::{busiest_disk, busiest_link, holds, is_of};
pub use trail::Trail;

/// At most this many workloads are watched, and of one owner.
pub const WORKLOADS: usize = 64;
const OF_AN_OWNER: usize = 16;
/// At most this many models.
const MODELS: usize = 512;
/// Between two steps, in nanoseconds, unless the source says otherwise.
const STEP_NS: u64 = 5_000_000_000;
/// A step may come this much early, as ticks do.
const EARLY_NS: u64 = 100_000_000;

#[derive(Clone, Debug, Default)]
pub struct Slows {
    /// Nanoseconds between two steps; zero stands for [`STEP_NS`].
    step: u64,
    last: u64,
    /// The number of the last step.
    number: u64,
    host: Option<Arc<Trail>>,
    workloads: BTreeMap<Arc<str>, Watched>,
    /// By server and model.
    models: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Watched>>,
    /// The last day of each model and of each GPU, by uuid.
    days: day::Days,
    /// Grows when other workloads are watched.
    changes: u64,
}

#[derive(Clone, Debug)]
struct Watched {
    trail: Arc<Trail>,
    /// What the source of watched workloads read last.
    close: Values,
    nodes: Arc<[Node]>,
    /// The path of its own cgroup.
    top: Arc<str>,
    /// Of a workload, who makes it; of a model, the workload that serves it.
    owner: Option<Arc<str>>,
    /// The last step in which it was there.
    seen: u64,
}

impl Watched {
    fn new(of: Of, top: Arc<str>, owner: Option<Arc<str>>) -> Watched {
        let (trail, nodes) = (Arc::new(Trail::new(Fact::all(of))), Arc::default());
        Watched { trail, close: Values::new(), nodes, top, owner, seen: 0 }
    }
}

impl Slows {
    pub fn host(&self) -> Option<&Trail> {
        self.host.as_deref()
    }

    pub fn workload(&self, name: &str) -> Option<&Trail> {
        self.workloads.get(name).map(|watched| &*watched.trail)
    }

    pub fn model(&self, server: &str, model: &str) -> Option<&Trail> {
        self.models.get(server)?.get(model).map(|watched| &*watched.trail)
    }

    /// What is read of a workload because it is watched.
    pub fn close(&self, workload: &str) -> Option<&Values> {
        self.workloads.get(workload).map(|watched| &watched.close)
    }

    /// What a model did in the last day, as far as the agent saw it.
    pub fn day_of_model(&self, server: &str, model: &str) -> Option<ModelHours> {
        self.days.model(server, model)
    }

    /// The same of a GPU, by its uuid.
    pub fn day_of_gpu(&self, uuid: &str) -> Option<GpuHours> {
        self.days.gpu(uuid)
    }

    /// The memory nodes of the host, as a workload uses them; empty on a host with one, and of those that are not watched.
    pub fn nodes(&self, workload: &str) -> &[Node] {
        self.workloads.get(workload).map(|watched| &*watched.nodes).unwrap_or_default()
    }

    /// The same of all that are watched, by name.
    pub fn all_nodes(&self) -> impl Iterator<Item = (&Arc<str>, &[Node])> {
        self.workloads.iter().map(|(name, watched)| (name, &*watched.nodes)).filter(|(_, nodes)| !nodes.is_empty())
    }

    /// The paths of the own cgroups of those that are watched.
    pub fn watched(&self) -> impl Iterator<Item = &Arc<str>> {
        self.workloads.values().map(|watched| &watched.top)
    }

    /// A number that grows when others are watched.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// While a workload is slow, what it and the host do is not taken for usual.
    pub(crate) fn hold(&mut self, workload: &str, held: bool) {
        let models = self.models.values_mut().flat_map(BTreeMap::values_mut);
        let models = models.filter(|watched| watched.owner.as_deref() == Some(workload));
        let own = self.workloads.get_mut(workload).into_iter().chain(models);
        for watched in own.filter(|watched| watched.trail.is_held() != held) {
            Arc::make_mut(&mut watched.trail).hold(held);
        }
        let any = self.workloads.values().any(|watched| watched.trail.is_held());
        if let Some(host) = self.host.as_mut().filter(|host| host.is_held() != any) {
            Arc::make_mut(host).hold(any);
        }
    }

    /// What was read of a watched workload.
    pub(crate) fn fold(&mut self, workload: &str, reading: &Reading) {
        if let Some(watched) = self.workloads.get_mut(workload) {
            watched.close.advance(&reading.values);
            watched.nodes.clone_from(&reading.nodes);
        }
        self.step = reading.interval;
    }

    fn watch(&mut self, workload: &Workload) {
        if *workload.name == *OTHER {
            return;
        }
        if let Some(watched) = self.workloads.get_mut(&workload.name) {
            if watched.top != workload.identity.top {
                watched.top = workload.identity.top.clone();
                self.changes += 1;
            }
            watched.seen = self.number;
            return;
        }
        let owner = &workload.identity.owner;
        let of_owner = self.workloads.values().filter(|watched| owner.is_some() && watched.owner == *owner).count();
        if self.workloads.len() >= WORKLOADS || of_owner >= OF_AN_OWNER {
            return;
        }
        let watched = Watched::new(Of::Workload, workload.identity.top.clone(), owner.clone());
        self.workloads.insert(workload.name.clone(), Watched { seen: self.number, ..watched });
        self.changes += 1;
    }

    /// Whether it is time for a step, and there is or was anybody to watch.
    fn is_due(&self, time: u64, view: &View) -> bool {
        let step = if self.step > 0 { self.step } else { STEP_NS };
        let due = time < self.last || time - self.last >= step.saturating_sub(EARLY_NS);
        let any = || !view.models.servers.is_empty() || view.gpus.iter().any(day::is_used);
        due && (self.host.is_some() || !self.days.is_empty() || any())
    }

    fn step(&mut self, time: u64, view: &View) {
        self.days.step(time, time.saturating_sub(self.last), view);
        (self.last, self.number) = (time, self.number + 1);
        let servers = view.models.servers.values();
        let serving = servers.clone().filter_map(|told| view.workloads.of(told.server.cgroup?));
        let holders = view.gpus.iter().flat_map(|gpu| gpu.processes());
        let holding = holders.filter_map(|holder| view.workloads.of(holder.cgroup?));
        serving.chain(holding).for_each(|workload| self.watch(workload));
        let (before, number) = (self.workloads.len(), self.number);
        self.workloads.retain(|_, watched| watched.seen == number);
        self.changes += u64::from(self.workloads.len() < before);
        let known = view.known.map_or_else(|| Known::of(&view.coverage), |(_, known)| known);
        for (name, watched) in &mut self.workloads {
            let Some(workload) = view.workloads.find(name) else { continue };
            let close = (&watched.close, &*watched.nodes);
            let read = |fact| read::of_workload(view, known, workload, close, fact);
            Arc::make_mut(&mut watched.trail).step(time, read);
        }
        let mut count: usize = self.models.values().map(BTreeMap::len).sum();
        for (server, told) in &view.models.servers {
            let name = told.server.cgroup.and_then(|id| view.workloads.of(id)).map(|workload| &workload.name);
            for (model, served) in &told.models {
                let known = self.models.get(server).is_some_and(|models| models.contains_key(model));
                if !known {
                    if count >= MODELS {
                        continue;
                    }
                    count += 1;
                    let fresh = Watched::new(Of::Model, Arc::default(), None);
                    self.models.entry(server.clone()).or_default().insert(model.clone(), fresh);
                }
                let Some(watched) = self.models.get_mut(server).and_then(|models| models.get_mut(model)) else {
                    continue;
                };
                watched.seen = number;
                if watched.owner.as_ref() != name {
                    watched.owner = name.cloned();
                }
                Arc::make_mut(&mut watched.trail).step(time, |fact| read::of_model(&served.values, fact));
            }
        }
        self.models.values_mut().for_each(|models| models.retain(|_, watched| watched.seen == number));
        self.models.retain(|_, models| !models.is_empty());
        if self.workloads.is_empty() && self.models.is_empty() {
            self.host = None;
            return;
        }
        let host = self.host.get_or_insert_with(|| Arc::new(Trail::new(Fact::all(Of::Host))));
        Arc::make_mut(host).step(time, |fact| read::of_host(view, fact));
    }
}

impl View {
    /// At a tick.
    pub(crate) fn step(&mut self, time: u64) {
        if self.slow.is_due(time, self) {
            let mut slow = std::mem::take(&mut self.slow);
            slow.step(time, self);
            self.slow = slow;
        }
    }
}

/// Workloads that contain others: what they use is that of others.
pub(crate) fn is_shared(workload: &Workload) -> bool {
    matches!(workload.identity.kind, Kind::Other | Kind::Root | Kind::Slice | Kind::User | Kind::Pod)
}

#[cfg(test)]
mod tests;
