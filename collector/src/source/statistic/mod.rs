//! The statistics of workloads' cgroups as a source: their files stay open and are read every tick. Births and deaths
//! come from the kernel source; this one walks no tree.

pub mod file;
pub mod handle;
mod join;
pub mod parse;
pub mod tree;

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Error, Result};

use super::cgroup::Hierarchies;
use super::root::Root;
use super::{Finding, Health, Source};
use crate::clock;
use crate::config::Config;
use crate::identity::Identity;
use crate::sample::{Reading, Sample, Statistics};
use crate::signal::cgroup::{self, Id};
use crate::signal::oom;
use handle::Descriptors;
use join::Processes;
use tree::{Due, Part, Read, Tree, Troubles};

/// Files that were absent are tried again at every eighth turn.
const AGAIN: u64 = 8;

/// How much is read, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Workloads that are read.
    pub workloads: usize,
    /// Descriptors that are held.
    pub descriptors: usize,
    /// Ticks from one turn of a workload to its next.
    pub period: u64,
}

impl Limits {
    /// The configured limits. Raises the limit on open files as far as this process may.
    pub fn of(config: &Config) -> Limits {
        let ticks = |time: Duration| time.as_nanos().div_ceil(config.tick.as_nanos().max(1));
        Limits {
            workloads: config.workload.max,
            descriptors: handle::raise(),
            period: u64::try_from(ticks(config.workload.stat_interval)).unwrap_or(u64::MAX).max(1),
        }
    }
}

/// Reads the statistics of every workload's cgroups.
#[derive(Debug)]
pub struct Reader {
    /// The memory controller's first.
    trees: Vec<Tree>,
    processes: Processes,
    limits: Limits,
    descriptors: Descriptors,
    /// A workload keeps its place while it lives, which spreads the turns evenly.
    workloads: Vec<Option<Workload>>,
    free: Vec<usize>,
    by_id: HashMap<Id, usize>,
    /// Memory cgroups that were born since the last tick.
    born: Vec<(Id, Box<str>)>,
    /// Cgroups of other hierarchies whose workloads are gone.
    left: Vec<Id>,
    ticks: u64,
    walk: u64,
    walking: bool,
    /// The next tick says again which cgroups belong together.
    rejoin: bool,
    /// Already logged: descriptors are short; files cannot be read.
    said: (bool, bool),
}

#[derive(Debug)]
struct Workload {
    path: Box<str>,
    /// Its cgroups with their trees; that of the memory controller first.
    parts: Vec<(usize, Part)>,
    /// Nothing of it has been read yet.
    new: bool,
    /// Processes entered, by which its cgroups in other hierarchies may be found.
    entered: bool,
    /// The last walk that met it.
    walk: u64,
}

impl Reader {
    /// Opens the hierarchies.
    pub fn open(root: &Root, hierarchies: &Hierarchies, limits: Limits) -> Result<Reader> {
        Ok(Reader {
            trees: Tree::all(hierarchies)?,
            processes: Processes::open(root)?,
            limits,
            descriptors: Descriptors::new(limits.descriptors),
            workloads: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            born: Vec::new(),
            left: Vec::new(),
            ticks: 0,
            walk: 0,
            walking: false,
            rejoin: false,
            said: (false, false),
        })
    }

    /// How many workloads are read.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// How many files are kept open.
    pub fn open_files(&self) -> usize {
        self.descriptors.open()
    }

    /// What went wrong. Logs it once, until all files can be read again.
    fn judge(&mut self, troubles: &Troubles) -> Option<String> {
        let (short, failing) = &mut self.said;
        if self.descriptors.was_short() && !std::mem::replace(short, true) {
            let budget = self.descriptors.budget();
            tracing::warn!(
                "{budget} descriptors do not hold the files of all cgroups open: the rest is read once in workload.stat_interval; raise the limit on open files (LimitNOFILE=)"
            );
        }
        if troubles.count == 0 {
            *failing = false;
            return None;
        }
        let first = troubles.first.map(|(name, why)| format!(", the first {}: {why}", name.to_string_lossy()));
        let error = format!("{} files of cgroups cannot be read{}", troubles.count, first.unwrap_or_default());
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
        // A walk met it at another path: its rename was missed.
        self.remove(id);
        self.born.push((id, path.into()));
    }

    fn died(&mut self, id: Id) {
        self.remove(id);
        // Most that die so soon were the last to be born.
        if let Some(unborn) = self.born.iter().rposition(|(other, _)| *other == id) {
            self.born.remove(unborn);
        }
    }

    /// After a kill, the limits and usage of the victim's cgroup and of those above it are read in full at the next tick.
    fn killed(&mut self, kill: &oom::Kill) {
        let path = kill.cgroup.and_then(|id| self.get(id)).map(|workload| workload.path.clone());
        for workload in self.workloads.iter_mut().flatten() {
            let rest = path.as_ref().and_then(|path| path.strip_prefix(&*workload.path));
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                workload.new = true;
            }
        }
    }

    /// Closes what was renamed, with all below it, and opens it at its new path.
    fn renamed(&mut self, id: Id, path: &str) {
        let old = self.get(id).map(|workload| workload.path.clone());
        self.died(id);
        self.born.push((id, path.into()));
        let Some(old) = old else { return };
        let below = |workload: &Workload| {
            let rest = workload.path.strip_prefix(&*old).filter(|rest| rest.starts_with('/'))?;
            Some((workload.parts.first()?.1.id, format!("{path}{rest}").into_boxed_str()))
        };
        let moved: Vec<_> = self.workloads.iter().flatten().filter_map(below).collect();
        for (id, path) in moved {
            self.remove(id);
            self.born.push((id, path));
        }
    }

    fn admit(&mut self, id: Id, path: Box<str>) {
        let full = self.by_id.len() >= self.limits.workloads;
        if full || self.by_id.contains_key(&id) || *Identity::of(&path).top != *path {
            return;
        }
        let Some(place) = self.trees[0].place(&path) else { return };
        let parts = vec![(0, Part::new(&self.trees[0], id, place))];
        let workload = Workload { path, parts, new: true, entered: true, walk: self.walk };
        let index = self.free.pop().unwrap_or_else(|| {
            self.workloads.push(None);
            self.workloads.len() - 1
        });
        self.workloads[index] = Some(workload);
        self.by_id.insert(id, index);
    }

    fn remove(&mut self, id: Id) {
        let Some(index) = self.by_id.remove(&id) else { return };
        self.free.push(index);
        for (tree, mut part) in self.workloads[index].take().into_iter().flat_map(|workload| workload.parts) {
            part.close(&mut self.descriptors);
            if !self.trees[tree].heard {
                self.left.push(part.id);
            }
        }
    }

    /// A cgroup of another hierarchy than the memory controller's is gone.
    fn leave(&mut self, id: Id) {
        for workload in self.workloads.iter_mut().flatten() {
            if let Some(at) = workload.parts.iter().skip(1).position(|(_, part)| part.id == id) {
                workload.parts.remove(at + 1).1.close(&mut self.descriptors);
            }
        }
    }
}

impl Source for Reader {
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        let mut say = |reading| emit(Sample { time: clock::unix_ns(), reading });
        for id in self.left.drain(..) {
            say(Reading::Cgroup(cgroup::Reading::Died { id }));
        }
        for (id, path) in std::mem::take(&mut self.born) {
            self.admit(id, path);
        }
        let rejoin = std::mem::take(&mut self.rejoin);
        let mut troubles = Troubles::default();
        let Reader { trees, processes, limits, descriptors, workloads, by_id, ticks, .. } = self;
        // Opening one costs more than reading it several times; but each that is open costs the kernel some 5 KiB.
        let files: usize = trees.iter().map(Tree::files).sum();
        descriptors.ample = by_id.len().saturating_mul(files) <= descriptors.budget();
        for (index, workload) in workloads.iter_mut().enumerate() {
            let Some(workload) = workload else { continue };
            let turn = *ticks + index as u64;
            let due = match turn.is_multiple_of(limits.period) || workload.new {
                true if (turn / limits.period).is_multiple_of(AGAIN) => Due::All,
                true => Due::Turn,
                false => Due::Tick,
            };
            let seek = (due >= Due::Turn || workload.entered) && workload.parts.len() < trees.len();
            let found = seek && workload.seek(trees, processes, descriptors);
            if found || rejoin {
                workload.say_joined(trees, &mut say);
            }
            workload.read(trees, due, descriptors, &mut troubles, &mut say);
            (workload.new, workload.entered) = (false, false);
        }
        *ticks += 1;
        Health::Read(self.judge(&troubles).map_or(Ok(()), |error| Err(Error::msg(error))))
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
            }
            cgroup::Reading::Walked if std::mem::take(&mut self.walking) => {
                let unmet = |id: &Id| self.get(*id).is_some_and(|workload| workload.walk != self.walk);
                let unmet: Vec<Id> = self.by_id.keys().copied().filter(unmet).collect();
                unmet.into_iter().for_each(|id| self.remove(id));
                self.rejoin = true;
            }
            cgroup::Reading::Born { id, path } if id.hierarchy == memory => self.born(*id, path),
            cgroup::Reading::Died { id } if id.hierarchy == memory => self.died(*id),
            cgroup::Reading::Died { id } => self.leave(*id),
            cgroup::Reading::Renamed { id, path } if id.hierarchy == memory => self.renamed(*id, path),
            cgroup::Reading::Attached { id, .. } => {
                if let Some(&index) = self.by_id.get(id)
                    && let Some(workload) = &mut self.workloads[index]
                {
                    workload.entered = true;
                }
            }
            _ => {}
        }
    }

    fn examine(_config: &Config, root: &Root) -> Vec<Finding> {
        let (ok, is) = match Hierarchies::find(root) {
            Ok(found) => (true, found.describe()),
            Err(error) => (false, format!("{error:#}")),
        };
        vec![Finding { key: "cgroup", title: "cgroup", ok, is }]
    }
}

impl Workload {
    /// Looks for its cgroups in other hierarchies; `true` if any was found.
    fn seek(&mut self, trees: &[Tree], processes: &Processes, descriptors: &mut Descriptors) -> bool {
        let before = self.parts.len();
        for (index, tree) in trees.iter().enumerate().skip(1) {
            if self.parts.iter().any(|(other, _)| *other == index) {
                continue;
            }
            let Some((_, own)) = self.parts.first() else { continue };
            let found = join::find([&trees[0], tree], (&self.path, own.id, own.place()), processes, descriptors);
            if let Some((id, place)) = found {
                self.parts.push((index, Part::new(tree, id, place)));
                self.new = true;
            }
        }
        self.parts.len() > before
    }

    /// Emits which cgroups of other hierarchies belong to it, unless their path says so already.
    fn say_joined(&self, trees: &[Tree], say: &mut dyn FnMut(Reading)) {
        let [(_, own), others @ ..] = self.parts.as_slice() else { return };
        for (tree, part) in others {
            let known = trees[*tree].heard && trees[*tree].is_at(&self.path, part.place());
            if !known {
                say(Reading::Cgroup(cgroup::Reading::Joined { id: part.id, with: own.id }));
            }
        }
    }

    fn read(
        &mut self,
        trees: &[Tree],
        due: Due,
        descriptors: &mut Descriptors,
        troubles: &mut Troubles,
        say: &mut dyn FnMut(Reading),
    ) {
        let due = if self.new { due.max(Due::Turn) } else { due };
        let mut gone = None;
        for (at, (tree, part)) in self.parts.iter_mut().enumerate() {
            match part.read(&trees[*tree], due, descriptors, troubles) {
                Read::Gone => gone = Some(at),
                // An unchanged value is emitted once a turn: a recording may have begun since.
                Read::Same if due == Due::Tick => {}
                Read::Same | Read::Changed => say(Reading::Statistics(Statistics {
                    cgroup: part.id,
                    values: part.values.clone(),
                    turn: due >= Due::Turn,
                })),
            }
        }
        // The kernel source reports the deaths of memory cgroups; here only the others' are.
        if let Some(at) = gone.filter(|at| *at > 0) {
            let (tree, part) = self.parts.remove(at);
            if !trees[tree].heard {
                say(Reading::Cgroup(cgroup::Reading::Died { id: part.id }));
            }
        }
    }
}

#[cfg(test)]
mod tests;
