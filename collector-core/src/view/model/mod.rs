//! Model servers: what each said last. Decides nothing.

mod memory;
mod minute;
mod served;
mod standing;
mod usage;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::stage::Stage;
use crate::statistic::model::{Answer, MODELS, Memory, Reading, Server, State};
use crate::view::coverage::Coverage;
use crate::view::workload::{OTHER, Workload, Workloads};

pub use memory::Held;
pub use minute::{Minute, Span};
pub use served::Served;
pub use standing::{Line, Load, Standing};
pub use usage::Usage;

/// At most this many servers are kept. More are counted as lost, stage `model`.
pub const SERVERS: usize = 256;
/// At most this many models of all servers together, with their last minutes: some 10 MiB if each has the longest histograms.
const IN_ALL: usize = 512;
/// So many of a server have a place, whoever else tells of many.
const OF_A_SERVER: usize = 2;
/// What a server said is kept for this long while it does not answer, in nanoseconds: its last minute goes on if it comes back.
const KEPT_NS: u64 = 60_000_000_000;

/// By name. Copied with the view, so what one server said is shared.
#[derive(Clone, Debug, Default)]
pub struct Models {
    pub servers: BTreeMap<Arc<str>, Arc<Told>>,
    /// What models were used for since the history on disk had it last.
    pub(crate) usage: Usage,
}

/// A server, and what it said last.
#[derive(Clone, Debug)]
pub struct Told {
    pub server: Arc<Server>,
    /// When, in nanoseconds since the Unix epoch.
    pub time: u64,
    pub state: State,
    pub why: Option<Arc<str>>,
    /// Nanoseconds that asking it took.
    pub took: u64,
    /// What its processes hold.
    pub memory: Option<Memory>,
    /// The least anonymous memory that its processes had while it served.
    least: Option<u64>,
    /// Whether this process ever answered.
    pub answered: bool,
    /// By name, as it last told them. Empty while it tells none.
    pub models: BTreeMap<Arc<str>, Served>,
    /// The same before it failed to answer, and when that was.
    before: BTreeMap<Arc<str>, Served>,
    told: u64,
}

impl Models {
    pub(crate) fn fold(&mut self, time: u64, reading: &Reading, coverage: &mut Coverage) {
        let name = &reading.server.name;
        let Some(answer) = &reading.answer else { return drop(self.servers.remove(name)) };
        if !self.servers.contains_key(name) && self.servers.len() >= SERVERS {
            return coverage.lose(Stage::Model, 1);
        }
        let others = self.servers.values().filter(|told| told.server.name != *name).map(|told| told.kept());
        let room = IN_ALL.saturating_sub(others.sum()).max(OF_A_SERVER);
        let told = self.servers.entry(name.clone()).or_insert_with(|| Arc::new(Told::new(&reading.server)));
        let left_out = Arc::make_mut(told).fold(time, &reading.server, answer, room, &mut self.usage);
        if left_out > 0 {
            coverage.lose(Stage::Model, left_out);
        }
    }
}

impl Told {
    fn new(server: &Arc<Server>) -> Told {
        Told {
            server: server.clone(),
            time: 0,
            state: State::Failed,
            why: None,
            took: 0,
            memory: None,
            least: None,
            answered: false,
            models: BTreeMap::new(),
            before: BTreeMap::new(),
            told: 0,
        }
    }

    /// The workload that it belongs to: as configured, else the one that its process runs in. `None` if that is not known.
    pub fn workload<'a>(&self, workloads: &'a Workloads) -> Option<&'a Workload> {
        match &self.server.workload {
            Some(name) => workloads.find(name),
            None => self.server.cgroup.and_then(|id| workloads.of(id)),
        }
    }

    /// Whether it is the host's own, and no user's: who may run any program chooses the names of models. `None` if that is not known.
    pub(crate) fn is_of_host(&self, workloads: &Workloads) -> Option<bool> {
        let Server { pid, cgroup, workload, .. } = &*self.server;
        match cgroup {
            // Whoever has no place may be anybody.
            Some(id) => workloads.of(*id).filter(|it| &*it.name != OTHER).map(|it| it.identity.owner.is_none()),
            // Root configured it.
            None => (pid.is_none() || workload.is_some()).then_some(true),
        }
    }

    /// The values of the labels that name its workload; empty where nothing is known.
    pub fn labels<'a>(&'a self, workloads: &'a Workloads) -> [&'a str; 4] {
        let named = || [self.server.workload.as_deref().unwrap_or_default(), "", "", ""];
        self.workload(workloads).map_or_else(named, Workload::labels)
    }

    /// Whether it answered when it was last asked, with or without numbers.
    pub fn is_up(&self) -> bool {
        match self.state {
            State::Up | State::Loading | State::Asleep | State::Silent => true,
            State::Failed | State::Unreachable => false,
        }
    }

    fn kept(&self) -> usize {
        self.models.len() + self.before.len()
    }

    /// Returns how many models there was no room for.
    fn fold(&mut self, time: u64, server: &Arc<Server>, answer: &Answer, room: usize, usage: &mut Usage) -> u64 {
        if self.server.pid != server.pid || self.server.kind != server.kind {
            self.models.clear();
            self.before.clear();
            (self.answered, self.least) = (false, None);
        }
        if self.server != *server {
            self.server = server.clone();
        }
        (self.time, self.state, self.took, self.memory) = (time, answer.state, answer.took, answer.memory);
        self.why.clone_from(&answer.why);
        let anon = answer.memory.map(|memory| memory.anon);
        self.least = match answer.state {
            State::Up => self.least.into_iter().chain(anon).min(),
            // It may let its weights go, or load others.
            _ => None,
        };
        self.answered |= self.is_up();
        if !self.is_up() && !self.models.is_empty() {
            self.before = std::mem::take(&mut self.models);
        }
        if time.saturating_sub(self.told) > KEPT_NS || time < self.told {
            self.before.clear();
        }
        let models = if self.is_up() { &answer.models[..] } else { &[] };
        if self.is_up() {
            self.told = time;
            self.models.append(&mut self.before);
        }
        let answered = &models[..models.len().min(MODELS)];
        self.models.retain(|name, _| answered.iter().any(|model| model.name == *name));
        let mut left_out = models.len() - answered.len();
        for model in answered {
            if !self.models.contains_key(&model.name) && self.models.len() >= room {
                left_out += 1;
                continue;
            }
            let more = self.models.entry(model.name.clone()).or_default().fold(time, model);
            usage.add(&self.server.name, &model.name, more);
        }
        left_out as u64
    }
}
