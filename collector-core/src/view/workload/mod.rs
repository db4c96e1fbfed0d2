//! Workloads: which there are, by which names, and what they are charged. Which cgroups belong to them is in
//! `member.rs`; of how names come about it knows nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::coverage::Coverage;
use super::history::Track;
use crate::cgroup::Id;
use crate::identity::{Identity, Names};
use crate::sample::Start;
use crate::stage::Stage;

pub use amounts::{Amounts, Io, Reclaim, Stalls, Transfer};
pub use lately::Lately;
use member::{Member, Top};
use pending::Pending;
pub use statistics::Statistics;

mod amounts;
mod lately;
mod member;
mod pending;
mod statistics;

/// The name of all workloads over the cap, and of what belongs to none. No other name is like it: each has a slash or a
/// dot in it.
pub const OTHER: &str = "other";

/// The slot of [`OTHER`], which never dies.
const OTHER_SLOT: usize = 0;

/// Cgroups that are kept, per workload of the cap.
const CGROUPS_PER_WORKLOAD: usize = 16;

/// Which part of the dead leaves early when there is no room for the living.
const EARLY: usize = 16;

/// One workload.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// Its name: the one thing that it is known by.
    pub name: Arc<str>,
    /// What the path of its own cgroup says; of several cgroups, the one that came last.
    pub identity: Identity,
    /// What the host calls it.
    pub names: Names,
    /// When it was first seen, in nanoseconds since the Unix epoch.
    pub created: u64,
    /// What it is charged.
    pub amounts: Amounts,
    /// What the kernel's files say of its cgroups.
    pub statistics: Statistics,
    /// Its last minute.
    pub track: Track,
    /// What became of it of late.
    pub lately: Lately,
    /// Its cgroups that are alive.
    live: usize,
    /// Since when it has none.
    empty_since: Option<u64>,
}

impl Workload {
    /// The values of the labels that name it ([`crate::metric::row::WORKLOAD`]); empty where there is none.
    pub fn labels(&self) -> [&str; 4] {
        let Names { namespace, pod, container, .. } = &self.names;
        let [namespace, pod, container] = [namespace, pod, container].map(|name| name.as_deref().unwrap_or_default());
        [&self.name, namespace, pod, container]
    }

    fn other(created: u64) -> Workload {
        Workload { name: OTHER.into(), created, ..Workload::default() }
    }

    /// Takes over what another one was, which from now on is this one.
    fn absorb(&mut self, newer: Workload) {
        self.identity = newer.identity;
        self.names = newer.names;
        self.created = self.created.min(newer.created);
        self.amounts.add(&newer.amounts);
        self.statistics.absorb(&newer.statistics);
        self.track.absorb(newer.track);
        self.empty_since = if self.live > 0 { None } else { newer.empty_since };
        if newer.live > 0 {
            self.empty_since = None;
        }
        self.live += newer.live;
    }
}

/// All workloads.
#[derive(Clone, Debug)]
pub struct Workloads {
    /// The memory and the io controller's.
    hierarchies: [u64; 2],
    max: usize,
    grace: u64,
    /// Where workloads stay while they live; a free slot has an empty name.
    slots: Vec<Workload>,
    free: Vec<usize>,
    by_name: BTreeMap<Arc<str>, usize>,
    /// The workloads' own cgroups, by their paths.
    tops: HashMap<Arc<str>, Top>,
    cgroups: HashMap<Id, Member>,
    pending: Pending,
    walk: u64,
    walking: bool,
    /// The agent's own cgroup.
    own: Option<Id>,
    /// Workloads that left before their grace was over, since the last tick.
    early: u64,
}

impl Default for Workloads {
    fn default() -> Workloads {
        Workloads {
            // No cgroup matters before the source said which hierarchies do.
            hierarchies: [u64::MAX; 2],
            max: 0,
            grace: 0,
            slots: vec![Workload::other(0)],
            free: Vec::new(),
            by_name: BTreeMap::new(),
            tops: HashMap::new(),
            cgroups: HashMap::new(),
            pending: Pending::default(),
            walk: 0,
            walking: false,
            own: None,
            early: 0,
        }
    }
}

impl Workloads {
    pub(crate) fn new(time: u64, start: &Start) -> Workloads {
        Workloads {
            hierarchies: [start.memory_hierarchy, start.io_hierarchy],
            max: start.workload_max,
            grace: start.workload_grace,
            own: start.own,
            slots: vec![Workload::other(time)],
            ..Workloads::default()
        }
    }

    /// The memory controller's hierarchy: 0 is cgroup v2.
    pub fn memory_hierarchy(&self) -> u64 {
        self.hierarchies[0]
    }

    /// Every workload, those in their grace included: `other`, then the rest by name.
    pub fn iter(&self) -> impl Iterator<Item = &Workload> {
        std::iter::once(&OTHER_SLOT).chain(self.by_name.values()).map(|&slot| &self.slots[slot])
    }

    /// How many there are, `other` not counted.
    pub fn count(&self) -> usize {
        self.by_name.len()
    }

    /// The workload that the agent itself is in, if that is known.
    pub fn own(&self) -> Option<&Workload> {
        self.of(self.own?)
    }

    /// The workload that a cgroup belongs to, if the cgroup is known.
    pub fn of(&self, id: Id) -> Option<&Workload> {
        self.cgroups.get(&id).map(|member| &self.slots[member.slot])
    }

    /// The name of the workload that a cgroup belongs to, if the cgroup is known.
    pub fn name(&self, id: Id) -> Option<Arc<str>> {
        self.of(id).map(|workload| workload.name.clone())
    }

    /// What a cgroup's workload is charged. For a cgroup that is not known yet the amounts wait for its birth.
    pub(crate) fn charge(&mut self, id: Option<Id>) -> &mut Amounts {
        let Some(id) = id else { return &mut self.slots[OTHER_SLOT].amounts };
        if let Some(member) = self.cgroups.get(&id) {
            return &mut self.slots[member.slot].amounts;
        }
        match self.pending.amounts(id) {
            Some(amounts) => amounts,
            None => &mut self.slots[OTHER_SLOT].amounts,
        }
    }

    /// The host's names for the workload that a cgroup belongs to. Under its new name it goes on with its counters; if
    /// there is one of that name already (a container that was restarted), the two are one from now on.
    pub(crate) fn named(&mut self, id: Id, names: &Names) {
        let Some(slot) = self.cgroups.get(&id).map(|member| member.slot).filter(|&slot| slot != OTHER_SLOT) else {
            return;
        };
        let names = names.fit();
        let workload = &mut self.slots[slot];
        let (new, old) = (workload.identity.named(&names), workload.name.clone());
        workload.names = names;
        if new == old {
            return;
        }
        self.by_name.remove(&old);
        match self.by_name.get(&new) {
            Some(&taken) => self.merge(slot, taken),
            None => {
                self.by_name.insert(new.clone(), slot);
                self.slots[slot].name = new;
            }
        }
    }

    /// Lets go of what has been dead for longer than the grace, and of what waited for a birth for too long.
    pub(crate) fn tick(&mut self, time: u64, coverage: &mut Coverage) {
        if let Some(until) = time.checked_sub(self.grace) {
            self.release(until);
        }
        coverage.lose(Stage::Workload, std::mem::take(&mut self.early));
        self.pending.tick(&mut self.slots[OTHER_SLOT].amounts, coverage);
    }

    /// Lets go of what has been dead since this moment or for longer.
    fn release(&mut self, until: u64) {
        let gone = |since: Option<u64>| since.is_some_and(|since| since <= until);
        for (slot, workload) in self.slots.iter_mut().enumerate().filter(|(_, workload)| gone(workload.empty_since)) {
            self.by_name.remove(&workload.name);
            *workload = Workload::default();
            self.free.push(slot);
        }
        let Workloads { cgroups, slots, tops, .. } = self;
        cgroups.retain(|_, member| {
            let stays = !gone(member.dead_since) && !slots[member.slot].name.is_empty();
            if !stays {
                member.leave(tops);
            }
            stays
        });
    }

    /// Makes room for the living: of the dead, of whom these are the times of death, the first leave before their grace is
    /// over; several at once, because it is a walk over all. `false` if there are none.
    fn make_room(&mut self, mut dead: Vec<u64>) -> bool {
        let share = (dead.len() / EARLY).min(dead.len().saturating_sub(1));
        if dead.is_empty() {
            return false;
        }
        let (_, &mut until, _) = dead.select_nth_unstable(share);
        let before = self.by_name.len();
        self.release(until);
        self.early += (before - self.by_name.len()) as u64;
        true
    }

    /// The slot of the workload that this is, a new one if need be; `None` if there is no room for one.
    fn place(&mut self, identity: Identity, time: u64) -> Option<usize> {
        if let Some(top) = self.tops.get(&identity.top) {
            return Some(top.slot);
        }
        if let Some(&slot) = self.by_name.get(&identity.name) {
            if self.slots[slot].live == 0 {
                self.slots[slot].identity = identity;
            }
            return Some(slot);
        }
        if self.by_name.len() >= self.max {
            let dead = self.slots.iter().filter_map(|workload| workload.empty_since).collect();
            if !self.make_room(dead) {
                return None;
            }
        }
        let name = identity.name.clone();
        let workload = Workload { name: name.clone(), identity, created: time, ..Workload::default() };
        let slot = self.free.pop().unwrap_or(self.slots.len());
        self.by_name.insert(name, slot);
        match self.slots.get_mut(slot) {
            Some(free) => *free = workload,
            None => self.slots.push(workload),
        }
        Some(slot)
    }

    /// Makes two workloads one, which keeps the name of `into`.
    fn merge(&mut self, from: usize, into: usize) {
        let newer = std::mem::take(&mut self.slots[from]);
        self.slots[into].absorb(newer);
        self.free.push(from);
        for slot in self.tops.values_mut().map(|top| &mut top.slot).filter(|slot| **slot == from) {
            *slot = into;
        }
        for slot in self.cgroups.values_mut().map(|member| &mut member.slot).filter(|slot| **slot == from) {
            *slot = into;
        }
    }
}

#[cfg(test)]
mod tests;
