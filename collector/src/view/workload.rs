//! Workloads: which there are, which cgroups belong to them, and what they are charged. In this stage a workload's name
//! is the path of its cgroup; on cgroup v1 the memory and the io hierarchy have a cgroup each for it, at the same path.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::coverage::Coverage;
use crate::sample::Start;
use crate::signal::MALFORMED;
use crate::signal::cgroup::Id;

pub use amounts::{Amounts, Io, Reclaim, Stalls};

mod amounts;

/// The name of all workloads over the cap, and of what belongs to none. No path is like it: paths begin with a slash.
pub const OTHER: &str = "other";

/// The slot of [`OTHER`], which never dies.
const OTHER_SLOT: usize = 0;

/// Unknown cgroups whose amounts are kept apart, and for how many ticks, until their birth is heard of.
const PENDING: usize = 256;
const PENDING_TICKS: u32 = 10;

/// Cgroups that are kept, per workload of the cap.
const CGROUPS_PER_WORKLOAD: usize = 16;

/// One workload.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// Its name.
    pub path: Arc<str>,
    /// When it was first seen, in nanoseconds since the Unix epoch.
    pub created: u64,
    /// What it is charged.
    pub amounts: Amounts,
    /// Its cgroups that are alive.
    live: usize,
    /// Since when it has none.
    empty_since: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    slot: usize,
    /// The walk on which it was last met.
    walk: u64,
    /// A dead cgroup is kept for the grace, because its last counts are read after its death.
    dead_since: Option<u64>,
}

#[derive(Clone, Debug)]
struct Pending {
    id: Id,
    ticks: u32,
    amounts: Amounts,
}

/// All workloads.
#[derive(Clone, Debug)]
pub struct Workloads {
    hierarchies: [u64; 2],
    max: usize,
    grace: u64,
    /// Where workloads stay while they live; a free slot has an empty path.
    slots: Vec<Workload>,
    free: Vec<usize>,
    by_path: BTreeMap<Arc<str>, usize>,
    cgroups: HashMap<Id, Member>,
    pending: Vec<Pending>,
    /// Amounts of unknown cgroups that found no room in `pending`, since the last tick.
    overflow: u64,
    walk: u64,
    walking: bool,
}

impl Default for Workloads {
    fn default() -> Workloads {
        Workloads {
            // No cgroup matters before the source said which hierarchies do.
            hierarchies: [u64::MAX; 2],
            max: 0,
            grace: 0,
            slots: vec![Workload { path: OTHER.into(), ..Workload::default() }],
            free: Vec::new(),
            by_path: BTreeMap::new(),
            cgroups: HashMap::new(),
            pending: Vec::new(),
            overflow: 0,
            walk: 0,
            walking: false,
        }
    }
}

impl Workloads {
    pub(crate) fn new(time: u64, start: &Start) -> Workloads {
        Workloads {
            hierarchies: [start.memory_hierarchy, start.io_hierarchy],
            max: start.workload_max,
            grace: start.workload_grace,
            slots: vec![Workload { path: OTHER.into(), created: time, ..Workload::default() }],
            ..Workloads::default()
        }
    }

    /// Every workload, those in their grace included: `other`, then the rest by path.
    pub fn iter(&self) -> impl Iterator<Item = &Workload> {
        std::iter::once(&OTHER_SLOT).chain(self.by_path.values()).map(|&slot| &self.slots[slot])
    }

    /// How many there are, `other` not counted.
    pub fn count(&self) -> usize {
        self.by_path.len()
    }

    /// The name of the workload that a cgroup belongs to, if the cgroup is known.
    pub fn name(&self, id: Id) -> Option<Arc<str>> {
        self.cgroups.get(&id).map(|member| self.slots[member.slot].path.clone())
    }

    /// What a cgroup's workload is charged. For a cgroup that is not known yet the amounts wait for its birth.
    pub(crate) fn charge(&mut self, id: Option<Id>) -> &mut Amounts {
        let Some(id) = id else { return &mut self.slots[OTHER_SLOT].amounts };
        if let Some(member) = self.cgroups.get(&id) {
            return &mut self.slots[member.slot].amounts;
        }
        let waiting = self.pending.iter().position(|pending| pending.id == id).unwrap_or(self.pending.len());
        if waiting == PENDING {
            self.overflow += 1;
            return &mut self.slots[OTHER_SLOT].amounts;
        }
        if waiting == self.pending.len() {
            self.pending.push(Pending { id, ticks: 0, amounts: Amounts::default() });
        }
        &mut self.pending[waiting].amounts
    }

    pub(crate) fn walking(&self) -> bool {
        self.walking
    }

    pub(crate) fn walk(&mut self) {
        self.walk += 1;
        self.walking = true;
    }

    pub(crate) fn walked(&mut self, time: u64) {
        let walk = self.walk;
        // An end without its beginning proves nothing.
        if std::mem::take(&mut self.walking) {
            for member in self.cgroups.values_mut().filter(|member| member.walk != walk) {
                bury(member, &mut self.slots, time);
            }
        }
    }

    pub(crate) fn born(&mut self, id: Id, path: &str, time: u64, coverage: &mut Coverage) {
        if !self.hierarchies.contains(&id.hierarchy) {
            return;
        }
        if !path.starts_with('/') {
            return coverage.lose(MALFORMED, 1);
        }
        if let Some(&Member { slot, .. }) = self.cgroups.get(&id) {
            // Known; perhaps at another path, if its move went unseen or it came over the cap when there was no room.
            let slot = if *self.slots[slot].path == *path { slot } else { self.place(path, time).unwrap_or(slot) };
            return self.settle(id, slot, time);
        }
        let room = self.cgroups.len() < self.max.saturating_mul(CGROUPS_PER_WORKLOAD);
        let slot = if room { self.place(path, time) } else { None };
        if slot.is_none() {
            coverage.lose("workload", 1);
        }
        let slot = slot.unwrap_or(OTHER_SLOT);
        if let Some(waiting) = self.pending.iter().position(|pending| pending.id == id) {
            let pending = self.pending.swap_remove(waiting);
            self.slots[slot].amounts.add(&pending.amounts);
        }
        if room {
            self.settle(id, slot, time);
        }
    }

    pub(crate) fn died(&mut self, id: Id, time: u64) {
        if let Some(member) = self.cgroups.get_mut(&id) {
            bury(member, &mut self.slots, time);
        }
    }

    /// A cgroup's new path is its workload's new name, and the beginning of the names of all below it.
    pub(crate) fn renamed(&mut self, id: Id, path: &str, time: u64, coverage: &mut Coverage) {
        let slot = self.cgroups.get(&id).map_or(OTHER_SLOT, |member| member.slot);
        let old = self.slots[slot].path.clone();
        if slot == OTHER_SLOT || !path.starts_with('/') {
            return self.born(id, path, time, coverage);
        }
        if *old == *path {
            return;
        }
        let below = format!("{old}/");
        let moved = |name: &str| *name == *old || name.starts_with(&below);
        let mut cgroups: Vec<(Id, usize)> = self.cgroups.iter().map(|(&id, member)| (id, member.slot)).collect();
        cgroups.retain(|(other, slot)| other.hierarchy == id.hierarchy && moved(&self.slots[*slot].path));
        // In an order of their own, so that the same samples always give the same view.
        cgroups.sort_unstable();
        for (id, slot) in cgroups {
            let name = self.slots[slot].path.clone();
            // Another cgroup of the same workload may have taken it along already.
            let Some(rest) = name.strip_prefix(&*old).filter(|_| moved(&name)) else { continue };
            let new: Arc<str> = format!("{path}{rest}").into();
            match self.by_path.get(&new) {
                Some(&taken) => self.settle(id, taken, time),
                None => {
                    self.by_path.remove(&name);
                    self.by_path.insert(new.clone(), slot);
                    self.slots[slot].path = new;
                }
            }
        }
    }

    /// Lets go of what has been dead for longer than the grace, and of what waited for a birth for too long.
    pub(crate) fn tick(&mut self, time: u64, coverage: &mut Coverage) {
        let gone = |since: Option<u64>| since.is_some_and(|since| since.saturating_add(self.grace) <= time);
        for (slot, workload) in self.slots.iter_mut().enumerate().filter(|(_, workload)| gone(workload.empty_since)) {
            self.by_path.remove(&workload.path);
            *workload = Workload::default();
            self.free.push(slot);
        }
        self.cgroups.retain(|_, member| !gone(member.dead_since) && !self.slots[member.slot].path.is_empty());

        let other = &mut self.slots[OTHER_SLOT].amounts;
        self.pending.retain_mut(|pending| {
            pending.ticks += 1;
            let waits = pending.ticks < PENDING_TICKS;
            if !waits {
                other.add(&pending.amounts);
                coverage.lose("unknown_cgroup", 1);
            }
            waits
        });
        coverage.lose("unknown_cgroup", std::mem::take(&mut self.overflow));
    }

    /// The slot of the workload at a path, a new one if need be; `None` if there is no room for one.
    fn place(&mut self, path: &str, time: u64) -> Option<usize> {
        if let Some(&slot) = self.by_path.get(path) {
            return Some(slot);
        }
        if self.by_path.len() >= self.max {
            return None;
        }
        let workload = Workload { path: path.into(), created: time, ..Workload::default() };
        let slot = self.free.pop().unwrap_or(self.slots.len());
        self.by_path.insert(workload.path.clone(), slot);
        match self.slots.get_mut(slot) {
            Some(free) => *free = workload,
            None => self.slots.push(workload),
        }
        Some(slot)
    }

    /// Makes a cgroup a living member of the workload in `slot`, and of no other.
    fn settle(&mut self, id: Id, slot: usize, time: u64) {
        if let Some(member) = self.cgroups.get_mut(&id) {
            bury(member, &mut self.slots, time);
        }
        self.cgroups.insert(id, Member { slot, walk: self.walk, dead_since: None });
        self.slots[slot].live += 1;
        self.slots[slot].empty_since = None;
    }
}

fn bury(member: &mut Member, slots: &mut [Workload], time: u64) {
    if member.dead_since.is_some() {
        return;
    }
    member.dead_since = Some(time);
    let workload = &mut slots[member.slot];
    workload.live -= 1;
    if workload.live == 0 && member.slot != OTHER_SLOT {
        workload.empty_since = Some(time);
    }
}

#[cfg(test)]
mod tests;
