//! The statistics of workloads' cgroups as a source: their files stay open and are read every tick. Births and deaths
//! come from the kernel source; this one does not walk the tree.

mod attention;
mod bound;
mod examine;
pub mod file;
mod flush;
mod given;
pub mod handle;
mod join;
mod limit;
pub mod parse;
mod place;
mod row;
mod sampled;
mod sampler;
mod tick;
pub mod tree;
mod workload;

use std::collections::{BTreeMap, HashMap};
use std::iter;
use std::sync::Arc;

use anyhow::{Error, Result};
use collector_core::cgroup::Id;
use collector_core::identity::{Grants, Shares};
use collector_core::sample::{Reading, Sample};
use collector_core::signal::{cgroup, oom};
use collector_core::statistic::host;

use super::cgroup::Hierarchies;
use super::kernel::pass::Pass;
use super::root::Root;
use super::{Finding, Health, Source, meminfo};
use crate::clock;
use crate::config::Config;
use attention::Attention;
use bound::Inner;
use flush::Flush;
use handle::Descriptors;
use join::Processes;
pub use limit::Limits;
use place::Places;
use row::Rows;
use sampler::Sampler;
use tree::{Failures, Part, Tree};
use workload::{Workload, above};

/// Maximum number of cgroups that are looked at, per workload of the cap.
const CGROUPS_PER_WORKLOAD: usize = 4;

#[derive(Debug)]
pub struct Reader {
    /// The memory controller's comes first.
    trees: Vec<Tree>,
    processes: Processes,
    limits: Limits,
    descriptors: Descriptors,
    /// A workload keeps its index while it lives, which spreads the turns evenly over the ticks.
    workloads: Vec<Option<Workload>>,
    free: Vec<usize>,
    by_id: HashMap<Id, usize>,
    by_path: HashMap<Arc<str>, usize>,
    /// Workloads that are read every tick, at most as many as have a place in the view.
    places: Places,
    /// Whose the cgroups are.
    makers: Shares,
    rows: Rows,
    flush: Flush,
    /// The workloads of cgroups of other hierarchies.
    joined: HashMap<Id, usize>,
    /// Which have their turn early.
    attention: Attention,
    sampler: Sampler,
    /// Memory cgroups that were born since the last tick.
    born: BTreeMap<Id, Box<str>>,
    inner: Inner,
    grants: Grants,
    /// Cgroups of hierarchies without events whose workloads are gone.
    orphaned: Vec<Id>,
    ticks: u64,
    walk: u64,
    walking: bool,
    /// Emit all `Joined` readings again at the next tick.
    emit_joined: bool,
    /// Already logged: too few descriptors; unreadable files.
    logged: (bool, bool),
}

impl Reader {
    pub fn open(root: &Root, hierarchies: &Hierarchies, limits: Limits) -> Result<Reader> {
        Ok(Reader {
            trees: Tree::all(hierarchies),
            processes: Processes::open(root)?,
            limits,
            descriptors: Descriptors::new(limits.descriptors),
            workloads: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            by_path: HashMap::new(),
            places: Places::new(limits.workloads),
            makers: Shares::default(),
            rows: Rows::default(),
            flush: Flush::default(),
            joined: HashMap::new(),
            attention: Attention::new(memory_total(root)),
            sampler: Sampler::default(),
            born: BTreeMap::new(),
            inner: Inner::default(),
            grants: Grants::default(),
            orphaned: Vec::new(),
            ticks: 0,
            walk: 0,
            walking: false,
            emit_joined: false,
            logged: (false, false),
        })
    }

    /// Takes what it can from a pass over all cgroups instead of from their files.
    pub fn with(mut self, pass: Option<Pass>) -> Reader {
        self.rows = Rows::new(pass);
        self.give();
        self
    }

    /// Reads the memory of workloads that matter between ticks, too.
    pub fn sampling(mut self, config: &Config) -> Result<Reader> {
        self.sampler = Sampler::start(config.workload.sample, config.tick)?;
        Ok(self)
    }

    fn give(&mut self) {
        self.trees.iter_mut().for_each(|tree| tree.give(&self.rows));
    }

    /// Number of workloads that are read.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// Number of workloads whose numbers the last pass over all cgroups had.
    pub fn passed(&self) -> usize {
        self.rows.count()
    }

    /// Number of files kept open.
    pub fn open_files(&self) -> usize {
        self.descriptors.open()
    }

    /// Returns the error of this round, if any; logs it once until all files can be read again.
    fn check_failures(&mut self, failures: &Failures) -> Option<String> {
        let (short, failing) = &mut self.logged;
        if self.descriptors.was_short() && !std::mem::replace(short, true) {
            let budget = self.descriptors.budget();
            tracing::warn!(
                "{budget} descriptors are too few to keep the files of all cgroups open: the rest is read once per workload.stat_interval; raise the limit on open files (LimitNOFILE=) or, if that is higher, on memory (MemoryMax=)"
            );
        }
        if failures.count == 0 {
            *failing = false;
            return None;
        }
        let first = failures.first.map(|(name, why)| format!(", first {}: {why}", name.to_string_lossy()));
        let error = format!("{} cgroup files could not be read{}", failures.count, first.unwrap_or_default());
        if !std::mem::replace(failing, true) {
            tracing::warn!("{error}");
        }
        Some(error)
    }

    fn get(&self, id: Id) -> Option<&Workload> {
        self.workloads[*self.by_id.get(&id)?].as_ref()
    }

    fn born(&mut self, id: Id, path: &str) {
        if let Some(&index) = self.by_id.get(&id)
            && let Some(workload) = &mut self.workloads[index]
            && *workload.path == *path
        {
            workload.walk = self.walk;
            return;
        }
        // A walk found it at another path: its rename was missed.
        self.remove(id);
        let identity = self.grants.identity(path);
        match *identity.top == *path {
            true => drop(self.born.insert(id, path.into())),
            false => self.inner.born(id, path, identity, self.limits.workloads),
        }
    }

    fn died(&mut self, id: Id) {
        self.remove(id);
        self.inner.died(id);
        self.born.remove(&id);
    }

    /// The path of a memory cgroup: a workload's own, one inside it, or one born since the last tick.
    fn path_of(&self, id: Id) -> Option<&str> {
        let own = self.get(id).map(|workload| &*workload.path);
        let young = || self.born.get(&id).map(|path| &**path);
        own.or_else(|| self.inner.path(id)).or_else(young)
    }

    /// After an OOM kill, reads the limits and usage of the victim's workload and of those above it in full at the next tick.
    fn killed(&mut self, kill: &oom::Kill) {
        let Some(path) = kill.cgroup.and_then(|id| self.path_of(id)).map(str::to_owned) else { return };
        for path in iter::once(&*path).chain(above(&path)) {
            if let Some(&index) = self.by_path.get(path)
                && let Some(workload) = &mut self.workloads[index]
            {
                workload.new = true;
                self.rows.wake(index);
            }
        }
    }

    /// Reopens a renamed cgroup and all below it at the new path.
    fn renamed(&mut self, id: Id, path: &str) {
        let old = self.path_of(id).map(str::to_owned);
        self.died(id);
        self.born(id, path);
        let Some(old) = old else { return };
        let own = self.workloads.iter().flatten().filter_map(|it| Some((it.parts.first()?.1.id, &*it.path)));
        let young = self.born.iter().map(|(id, path)| (*id, &**path));
        let below = own.chain(self.inner.iter()).chain(young).filter_map(|(id, at)| {
            let rest = at.strip_prefix(&*old).filter(|rest| rest.starts_with('/'))?;
            Some((id, format!("{path}{rest}")))
        });
        for (id, path) in below.collect::<Vec<_>>() {
            self.died(id);
            self.born(id, &path);
        }
    }

    fn admit(&mut self, id: Id, path: Box<str>) {
        if self.by_id.contains_key(&id) {
            return;
        }
        let most = self.limits.workloads.saturating_mul(CGROUPS_PER_WORKLOAD);
        let owner = self.grants.identity(&path).owner;
        if !self.makers.has_room(&owner, most) || self.by_id.len() >= most && !self.forget_empty() {
            return;
        }
        let Some(location) = self.trees[0].location(&path) else { return };
        self.flush.know(&self.trees[0], &location);
        let path: Arc<str> = path.into();
        let parts = vec![(0, Part::new(&self.trees[0], id, location))];
        // As in the view, one that is new comes before those that wait.
        let placed = self.places.take(&owner);
        self.makers.take(&owner);
        let workload = Workload::new(path.clone(), owner, parts, self.walk, placed);
        let index = self.free.pop().unwrap_or_else(|| {
            self.workloads.push(None);
            self.workloads.len() - 1
        });
        self.workloads[index] = Some(workload);
        self.by_id.insert(id, index);
        self.rows.forget();
        self.rows.wake(index);
        self.by_path.insert(path, index);
    }

    /// Makes room for another cgroup; `false` if every one holds something.
    fn forget_empty(&mut self) -> bool {
        let empty = self.workloads.iter().flatten().find(|workload| workload.empty);
        let id = empty.and_then(|workload| Some(workload.parts.first()?.1.id));
        id.map(|id| self.remove(id)).is_some()
    }

    fn remove(&mut self, id: Id) {
        let Some(index) = self.by_id.remove(&id) else { return };
        self.free.push(index);
        self.rows.forget();
        let Some(workload) = self.workloads[index].take() else { return };
        self.makers.leave(&workload.owner);
        if workload.placed {
            self.places.leave(&workload.owner);
        }
        // Another cgroup may be at its path already.
        if self.by_path.get(&workload.path) == Some(&index) {
            self.by_path.remove(&workload.path);
        }
        for (tree, mut part) in workload.parts {
            part.close(&mut self.descriptors);
            self.joined.remove(&part.id);
            if !self.trees[tree].has_events {
                self.orphaned.push(part.id);
            }
        }
    }

    /// Removes a cgroup of another hierarchy than the memory controller's.
    fn remove_part(&mut self, id: Id) {
        self.joined.remove(&id);
        for workload in self.workloads.iter_mut().flatten() {
            if let Some(at) = workload.parts.iter().skip(1).position(|(_, part)| part.id == id) {
                workload.parts.remove(at + 1).1.close(&mut self.descriptors);
            }
        }
    }
}

impl Source for Reader {
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        let mut emit_reading = |reading| emit(Sample { time: clock::unix_ns(), reading });
        for id in self.orphaned.drain(..) {
            emit_reading(Reading::Cgroup(cgroup::Reading::Died { id }));
        }
        for (id, path) in std::mem::take(&mut self.born) {
            self.admit(id, path);
        }
        let emit_joined = std::mem::take(&mut self.emit_joined);
        let mut failures = Failures::default();
        self.pass();
        self.read_all(emit_joined, &mut failures, &mut emit_reading);
        Health::Read(self.check_failures(&failures).map_or(Ok(()), |error| Err(Error::msg(error))))
    }

    fn follow(&mut self, reading: &Reading) {
        if let Reading::Oom(oom::Reading::Kill(kill)) = reading {
            return self.killed(kill);
        }
        let Reading::Cgroup(reading) = reading else { return };
        let memory = self.trees[0].hierarchy.id;
        match reading {
            cgroup::Reading::Walk => {
                self.walk += 1;
                self.walking = true;
                self.inner.clear();
            }
            cgroup::Reading::Walked if std::mem::take(&mut self.walking) => {
                let missing = |id: &Id| self.get(*id).is_some_and(|workload| workload.walk != self.walk);
                let missing: Vec<Id> = self.by_id.keys().copied().filter(missing).collect();
                missing.into_iter().for_each(|id| self.remove(id));
                self.emit_joined = true;
            }
            cgroup::Reading::Given { path, uid } => self.grants.set(path, *uid),
            cgroup::Reading::Born { id, path } if id.hierarchy == memory => self.born(*id, path),
            cgroup::Reading::Died { id } if id.hierarchy == memory => self.died(*id),
            cgroup::Reading::Died { id } => self.remove_part(*id),
            cgroup::Reading::Renamed { id, path } if id.hierarchy == memory => self.renamed(*id, path),
            cgroup::Reading::Attached { id, .. } => {
                if let Some(&index) = self.by_id.get(id)
                    && let Some(workload) = &mut self.workloads[index]
                {
                    workload.entered = true;
                    self.rows.wake(index);
                }
            }
            _ => {}
        }
    }

    fn complete(&mut self, reading: &mut Reading) {
        let Some(id) = bound::wanted(reading) else { return };
        let Some(path) = self.path_of(id).map(str::to_owned) else { return };
        if let Reading::Oom(oom::Reading::Kill(kill)) = reading {
            let tops = iter::once(&*path).chain(above(&path));
            let own = tops.filter_map(|path| self.workloads[*self.by_path.get(path)?].as_ref()?.parts.first()).next();
            let last = |part: &Part| self.sampler.with(|sampled| sampled.before(part.id, clock::unix_ns()));
            kill.charged = own.map(|(_, part)| last(part)).unwrap_or_default();
        }
        if let Some(tree) = self.trees.first() {
            bound::complete(reading, tree, id, &path, &mut self.descriptors);
        }
    }

    fn examine(_config: &Config, root: &Root) -> Vec<Finding> {
        examine::examine(root)
    }
}

/// The host's memory in bytes, if it can be read.
fn memory_total(root: &Root) -> Option<u64> {
    let mut values = host::Values::new();
    meminfo::parse(&std::fs::read(root.at("/proc/meminfo")).ok()?, &mut values);
    values.get(host::Statistic::MemoryTotal)
}

#[cfg(test)]
mod tests;
