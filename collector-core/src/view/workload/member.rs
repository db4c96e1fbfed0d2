//! Which cgroups belong to which workload: births, deaths, moves, and joins across hierarchies.

use std::collections::HashMap;
use std::sync::Arc;

use super::statistics::Last;
use super::{CGROUPS_PER_WORKLOAD, OTHER_SLOT, Workload, Workloads};
use crate::cgroup::Id;
use crate::identity::Identity;
use crate::stage::Stage;
use crate::statistic::workload::{Statistic, Values};
use crate::view::coverage::Coverage;

/// A workload's own cgroup.
#[derive(Clone, Copy, Debug)]
pub(super) struct Top {
    /// The workload.
    pub slot: usize,
    /// Cgroups at this path and below it that are its, in all hierarchies.
    cgroups: usize,
}

/// A cgroup.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Where it is; empty if nobody said.
    path: Arc<str>,
    /// How much of the path is the workload's own cgroup; zero if it belongs to a workload for another reason.
    top: usize,
    /// The workload.
    pub slot: usize,
    /// The walk on which it was last met.
    walk: u64,
    /// A dead cgroup is kept for the grace, because its last counts are read after its death.
    pub dead_since: Option<u64>,
    /// It belongs where its processes are, not where its path says.
    joined: bool,
    /// What its files said last.
    last: Last,
}

#[cfg(test)]
impl Top {
    pub fn cgroups(&self) -> usize {
        self.cgroups
    }
}

impl Member {
    /// Where it is; empty if nobody said.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path of its workload's own cgroup, if it belongs there because of it.
    pub fn own(&self) -> Option<&str> {
        (self.top > 0).then(|| &self.path[..self.top])
    }

    /// Takes it off the list of those at its workload's own cgroup.
    pub fn leave(&self, tops: &mut HashMap<Arc<str>, Top>) {
        let Some(path) = self.own() else { return };
        if let Some(top) = tops.get_mut(path) {
            top.cgroups -= 1;
            if top.cgroups == 0 {
                tops.remove(path);
            }
        }
    }

    fn bury(&mut self, slots: &mut [Workload], time: u64) {
        if self.dead_since.is_some() {
            return;
        }
        self.dead_since = Some(time);
        let workload = &mut slots[self.slot];
        workload.live -= 1;
        workload.statistics.leave(&mut self.last);
        if workload.live == 0 && self.slot != OTHER_SLOT {
            workload.empty_since = Some(time);
        }
    }
}

impl Workloads {
    /// Whether the births of its hierarchy are heard of; cgroups of others are joined, and leave again.
    pub(crate) fn hears(&self, id: Id) -> bool {
        self.hierarchies.contains(&id.hierarchy)
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
                member.bury(&mut self.slots, time);
            }
        }
    }

    pub(crate) fn born(&mut self, id: Id, path: &str, time: u64, coverage: &mut Coverage) {
        if !self.hears(id) {
            return;
        }
        if !path.starts_with('/') {
            return coverage.lose(Stage::Malformed, 1);
        }
        if let Some(member) = self.cgroups.get(&id) {
            // Known; perhaps at another path, if its move went unseen or it came over the cap when there was no room.
            let stays = *member.path == *path && (member.joined || member.slot != OTHER_SLOT);
            let member = member.clone();
            let place = if stays { None } else { self.member(path, time) };
            return self.settle(id, place.unwrap_or(member), time);
        }
        let room = self.room();
        let member = if room { self.member(path, time) } else { None };
        if member.is_none() {
            coverage.lose(Stage::Workload, 1);
        }
        let slot = member.as_ref().map_or(OTHER_SLOT, |member| member.slot);
        self.deliver(id, slot);
        if room {
            self.settle(id, member.unwrap_or_else(|| self.stray(path, OTHER_SLOT)), time);
        }
    }

    pub(crate) fn died(&mut self, id: Id, time: u64) {
        if let Some(member) = self.cgroups.get_mut(&id) {
            member.bury(&mut self.slots, time);
        }
    }

    /// What a cgroup's files say now. Workloads without series of their own have no statistics.
    pub(crate) fn measured(&mut self, time: u64, id: Id, values: &Values, turn: bool) {
        let Some(member) = self.cgroups.get_mut(&id) else { return };
        if member.slot != OTHER_SLOT && member.dead_since.is_none() {
            let workload = &mut self.slots[member.slot];
            workload.statistics.measure(&mut member.last, values);
            if turn && values.get(Statistic::MemoryCurrent).is_some() {
                workload.lately.parts_read = Some(time);
            }
        }
    }

    /// A cgroup of one hierarchy belongs where one of another does: their processes are the same.
    pub(crate) fn joined(&mut self, id: Id, with: Id, time: u64, coverage: &mut Coverage) {
        let Some(slot) = self.cgroups.get(&with).map(|member| member.slot) else { return };
        let before = self.cgroups.get(&id).map(|member| member.slot);
        let known = self.cgroups.get(&id).map(|member| member.path.clone());
        if known.is_none() && !self.room() {
            return coverage.lose(Stage::Workload, 1);
        }
        self.deliver(id, slot);
        let member = self.stray(known.as_deref().unwrap_or_default(), slot);
        self.settle(id, Member { joined: true, ..member }, time);
        // What its path alone made of it was nobody: what that was charged before is the workload's, and no grace is due.
        let Some(before) = before.filter(|&before| before != slot && before != OTHER_SLOT) else { return };
        let nobody = &mut self.slots[before];
        if nobody.live == 0 && !self.tops.contains_key(&nobody.identity.top) {
            nobody.empty_since = Some(0);
            let amounts = std::mem::take(&mut nobody.amounts);
            self.slots[slot].amounts.add(&amounts);
        }
    }

    /// A cgroup moved, and with it all below it. A workload whose own cgroup moves goes on under its new name.
    pub(crate) fn renamed(&mut self, id: Id, path: &str, time: u64, coverage: &mut Coverage) {
        let old = self.cgroups.get(&id).map(|member| member.path.clone()).filter(|old| !old.is_empty());
        let Some(old) = old.filter(|_| path.starts_with('/')) else { return self.born(id, path, time, coverage) };
        if *old == *path {
            return;
        }
        let rest = |member: &Member| {
            let rest = member.path.strip_prefix(&*old)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| rest.to_owned())
        };
        let same = self.cgroups.iter().filter(|(other, _)| other.hierarchy == id.hierarchy);
        let mut moved: Vec<(String, Id)> = same.filter_map(|(&id, member)| Some((rest(member)?, id))).collect();
        // In an order of their own, so that the same samples always give the same view.
        moved.sort_unstable();
        for (rest, id) in moved {
            self.relocate(id, &format!("{path}{rest}"), time);
        }
    }

    fn relocate(&mut self, id: Id, path: &str, time: u64) {
        let Some(member) = self.cgroups.get(&id).cloned() else { return };
        if member.joined {
            return self.settle(id, Member { path: path.into(), ..member }, time);
        }
        let identity = Identity::of(path);
        let name = identity.named(&self.slots[member.slot].names);
        let free = !self.tops.contains_key(&identity.top) && !self.by_name.contains_key(&name);
        let own = member.top == member.path.len() && *identity.top == *path;
        let place = if own && free && member.slot != OTHER_SLOT {
            self.by_name.insert(name.clone(), member.slot);
            let workload = &mut self.slots[member.slot];
            let old = std::mem::replace(&mut workload.name, name);
            workload.identity = identity;
            self.by_name.remove(&old);
            Member { top: path.len(), ..self.stray(path, member.slot) }
        } else {
            self.member(path, time).unwrap_or_else(|| self.stray(path, member.slot))
        };
        self.settle(id, place, time);
    }

    /// A cgroup that belongs where its path says; `None` if there is no room for its workload.
    fn member(&mut self, path: &str, time: u64) -> Option<Member> {
        let identity = Identity::of(path);
        let top = identity.top.len();
        let slot = self.place(identity, time)?;
        Some(Member { top, ..self.stray(path, slot) })
    }

    /// A cgroup that belongs to a workload whatever its path says.
    fn stray(&self, path: &str, slot: usize) -> Member {
        Member {
            path: path.into(),
            top: 0,
            slot,
            walk: self.walk,
            dead_since: None,
            joined: false,
            last: Last::default(),
        }
    }

    /// Whether there is room for one more cgroup; if need be, at the cost of the dead.
    fn room(&mut self) -> bool {
        let most = self.max.saturating_mul(CGROUPS_PER_WORKLOAD);
        self.cgroups.len() < most || {
            let dead = self.cgroups.values().filter_map(|member| member.dead_since).collect();
            self.make_room(dead) && self.cgroups.len() < most
        }
    }

    /// Charges what waited for the cgroup.
    fn deliver(&mut self, id: Id, slot: usize) {
        if let Some(amounts) = self.pending.take(id) {
            self.slots[slot].amounts.add(&amounts);
        }
    }

    /// Makes a cgroup a living member of its workload, and of no other.
    fn settle(&mut self, id: Id, member: Member, time: u64) {
        let Workloads { cgroups, slots, tops, .. } = self;
        if let Some(path) = member.own() {
            let new = || Top { slot: member.slot, cgroups: 0 };
            tops.entry(path.into()).or_insert_with(new).cgroups += 1;
        }
        let slot = member.slot;
        let mut member = Member { walk: self.walk, dead_since: None, ..member };
        if let Some(mut before) = cgroups.remove(&id) {
            before.bury(slots, time);
            before.leave(tops);
            // Wherever it belongs, its counters go on from where they were.
            member.last = before.last;
        }
        cgroups.insert(id, member);
        slots[slot].live += 1;
        slots[slot].empty_since = None;
    }
}
