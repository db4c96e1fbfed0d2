//! Which cgroups belong to which workload: creation, removal, moves, and joins across hierarchies.

use std::collections::HashMap;
use std::sync::Arc;

use super::slots::Slots;
use super::statistics::Last;
use super::{CGROUPS_PER_WORKLOAD, OTHER_SLOT, Workloads};
use crate::cgroup::Id;
use crate::identity::Names;
use crate::stage::Stage;
use crate::statistic::workload::{Statistic, Values};
use crate::view::coverage::Coverage;

/// A workload's own cgroup.
#[derive(Clone, Copy, Debug)]
pub(super) struct Top {
    pub slot: usize,
    /// Number of its cgroups at this path and below it, in all hierarchies.
    cgroups: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Its path; empty if not known.
    pub path: Arc<str>,
    /// Length of the part of the path that is the workload's own cgroup; zero if it belongs to the workload for another reason.
    pub top: usize,
    pub slot: usize,
    /// Who makes the cgroups here, as in [`crate::identity::Identity`].
    pub owner: Option<Arc<str>>,
    /// When it was first seen.
    pub born: u64,
    /// A walk found it: it may have existed for long.
    pub walked: bool,
    /// It may have counted something before it belonged to its workload, until its numbers are read.
    pub old: bool,
    /// The last walk that found it.
    pub walk: u64,
    /// A removed cgroup is kept for the grace, because its last counts are read after its removal.
    pub dead_since: Option<u64>,
    /// It belongs to the workload of this cgroup, whose processes it has, not to that of its path.
    pub joined: Option<Id>,
    /// The host's names for it.
    pub names: Option<Box<Names>>,
    /// The last numbers from its files.
    pub last: Last,
    /// The same while it has no place, unless it never held anything.
    pub unplaced: Option<Box<Values>>,
    /// It has no place, and holds nothing.
    pub idle: bool,
    /// It is among those that wait for a place.
    pub waits: bool,
    /// It was counted as one that found no place.
    pub counted: bool,
}

#[cfg(test)]
impl Top {
    pub fn cgroups(&self) -> usize {
        self.cgroups
    }
}

impl Member {
    /// Its path; empty if not known.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it belongs to `other` for want of a place.
    pub fn is_unplaced(&self) -> bool {
        self.slot == OTHER_SLOT && self.joined.is_none() && !self.path.is_empty()
    }

    /// Whether it exists, and would have a place if there were one.
    pub fn wants_place(&self) -> bool {
        self.is_unplaced() && self.dead_since.is_none()
    }

    /// The path of its workload's own cgroup, if it belongs to the workload because of its path.
    pub fn own(&self) -> Option<&str> {
        (self.top > 0).then(|| &self.path[..self.top])
    }

    /// Removes it from the count of cgroups at its workload's own cgroup.
    pub fn leave(&self, tops: &mut HashMap<Arc<str>, Top>) {
        let Some(path) = self.own() else { return };
        if let Some(top) = tops.get_mut(path) {
            top.cgroups -= 1;
            if top.cgroups == 0 {
                tops.remove(path);
            }
        }
    }

    fn end(&mut self, slots: &mut Slots, time: u64) {
        if self.dead_since.is_some() {
            return;
        }
        self.dead_since = Some(time);
        slots.ended = true;
        let workload = &mut slots[self.slot];
        workload.live -= 1;
        workload.statistics.leave(&mut self.last);
        if workload.live == 0 && self.slot != OTHER_SLOT {
            workload.empty_since = Some(time);
        }
    }
}

impl Workloads {
    /// Whether creation in its hierarchy is tracked; cgroups of other hierarchies are only joined.
    pub(crate) fn tracks(&self, id: Id) -> bool {
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
        // The end of a walk without its beginning proves nothing.
        if std::mem::take(&mut self.walking) {
            let memory = self.memory_hierarchy();
            self.highest = self.cgroups.keys().filter(|id| id.hierarchy == memory).map(|id| id.id).max();
            for member in self.cgroups.values_mut().filter(|member| member.walk != walk) {
                member.end(&mut self.slots, time);
            }
        }
    }

    pub(crate) fn born(&mut self, id: Id, path: &str, time: u64, coverage: &mut Coverage) {
        if !self.tracks(id) {
            return;
        }
        if !path.starts_with('/') {
            return coverage.lose(Stage::Malformed, 1);
        }
        if let Some(member) = self.cgroups.get(&id) {
            // Known; perhaps at another path, if its move was missed, or in `other`, if there was no room before.
            let stays = *member.path == *path && (member.joined.is_some() || member.slot != OTHER_SLOT);
            let member = member.clone();
            let place = if stays { None } else { self.member(path, time) };
            return match place {
                Some(place) if member.is_unplaced() => self.move_to(id, place),
                Some(place) => self.assign(id, place, time),
                None => {
                    self.assign(id, member, time);
                    self.want(id);
                }
            };
        }
        if !self.room_for(path) || !self.room() {
            coverage.lose(Stage::Workload, 1);
            return self.charge_pending(id, OTHER_SLOT);
        }
        // Ids only grow (`__kernfs_new_node` of fs/kernfs/dir.c): what the last walk could have met is older.
        let old = self.walking && self.highest.is_none_or(|highest| id.id <= highest);
        let other = Member { born: time, walked: self.walking, ..self.member_of(path, OTHER_SLOT) };
        let member = Member { old, ..self.member(path, time).unwrap_or(other) };
        let placed = member.slot != OTHER_SLOT;
        self.charge_pending(id, member.slot);
        self.assign(id, member, time);
        if !placed {
            self.want(id);
        }
    }

    /// Root gave the cgroup at this path to a user. What is known below it keeps its name: root made it.
    pub(crate) fn given(&mut self, path: &str, uid: u32) {
        self.grants.set(path, uid);
    }

    pub(crate) fn died(&mut self, id: Id, time: u64) {
        if let Some(member) = self.cgroups.get_mut(&id) {
            member.end(&mut self.slots, time);
        }
    }

    /// Sets the current numbers of a cgroup. Workloads without series of their own have no statistics.
    pub(crate) fn measured(&mut self, time: u64, id: Id, values: &Values, turn: bool) {
        let Some(member) = self.cgroups.get_mut(&id) else { return };
        if member.dead_since.is_some() {
            return;
        }
        if member.is_unplaced() {
            return self.note(id, values);
        }
        if member.slot != OTHER_SLOT {
            let workload = self.slots.unmarked(member.slot);
            let moved = workload.measure(member, values);
            if turn && values.get(Statistic::MemoryCurrent).is_some() {
                workload.recent.parts_read = Some(time);
            }
            if moved {
                self.slots.mark(member.slot);
            }
        }
    }

    /// A cgroup belongs to the workload of a cgroup of another hierarchy: their processes are the same.
    pub(crate) fn joined(&mut self, id: Id, with: Id, time: u64, coverage: &mut Coverage) {
        let Some(slot) = self.cgroups.get(&with).map(|member| member.slot) else { return };
        let before = self.cgroups.get(&id).map(|member| member.slot);
        let known = self.cgroups.get(&id).map(|member| member.path.clone());
        if known.is_none() && !self.room() {
            return coverage.lose(Stage::Workload, 1);
        }
        self.charge_pending(id, slot);
        let member = self.member_of(known.as_deref().unwrap_or_default(), slot);
        self.assign(id, Member { joined: Some(with), born: time, ..member }, time);
        // The workload made from its path alone never existed: its amounts go to the real one, and it has no grace.
        let Some(before) = before.filter(|&before| before != slot && before != OTHER_SLOT) else { return };
        let previous = &mut self.slots[before];
        if previous.live == 0 && !self.tops.contains_key(&previous.identity.top) {
            previous.empty_since = Some(0);
            let amounts = std::mem::take(&mut previous.amounts);
            self.slots.ended = true;
            self.slots[slot].amounts.add(&amounts);
        }
    }

    /// A cgroup was renamed, and with it all cgroups below it. If it is a workload's own cgroup, the workload continues under
    /// its new name.
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
        // In a fixed order, so that the same samples always give the same view.
        moved.sort_unstable();
        for (rest, other) in moved {
            let ended = self.cgroups.get(&other).is_some_and(|member| member.dead_since.is_some());
            match ended && other != id {
                true => self.detach(other),
                false => self.relocate(other, &format!("{path}{rest}"), time),
            }
        }
    }

    fn relocate(&mut self, id: Id, path: &str, time: u64) {
        let Some(member) = self.cgroups.get(&id).cloned() else { return };
        if member.joined.is_some() {
            let owner = self.grants.identity(path).owner;
            return self.assign(id, Member { path: path.into(), owner, ..member }, time);
        }
        let identity = self.grants.identity(path);
        let name = identity.named(&self.slots[member.slot].names);
        let free = !self.tops.contains_key(&identity.top) && !self.by_name.contains_key(&name);
        let own = member.top == member.path.len() && *identity.top == *path;
        let (top, slot) = if own && free && member.slot != OTHER_SLOT {
            self.by_name.insert(name.clone(), member.slot);
            let workload = &mut self.slots[member.slot];
            let old = std::mem::replace(&mut workload.name, name);
            self.owned(member.slot, identity);
            self.by_name.remove(&old);
            (path.len(), member.slot)
        } else {
            match self.member(path, time) {
                Some(place) if member.is_unplaced() => return self.move_to(id, place),
                Some(place) => (place.top, place.slot),
                None => (0, member.slot),
            }
        };
        let owner = self.grants.identity(path).owner;
        self.assign(id, Member { path: path.into(), owner, top, slot, ..member }, time);
    }

    /// What is still counted for a cgroup that was removed stays with its workload, whoever comes to its path.
    fn detach(&mut self, id: Id) {
        if let Some(member) = self.cgroups.get_mut(&id) {
            member.leave(&mut self.tops);
            member.top = 0;
        }
    }

    /// A cgroup that belongs to the workload of its path; `None` if there is no room for the workload.
    pub(super) fn member(&mut self, path: &str, time: u64) -> Option<Member> {
        let identity = self.grants.identity(path);
        let top = identity.top.len();
        let slot = self.place(identity, time)?;
        Some(Member { top, born: time, ..self.member_of(path, slot) })
    }

    /// A cgroup that belongs to a workload regardless of its path.
    pub(super) fn member_of(&self, path: &str, slot: usize) -> Member {
        Member {
            path: path.into(),
            top: 0,
            slot,
            owner: self.grants.identity(path).owner,
            born: 0,
            walked: false,
            old: false,
            walk: self.walk,
            dead_since: None,
            joined: None,
            names: None,
            last: Last::default(),
            unplaced: None,
            idle: false,
            waits: false,
            counted: false,
        }
    }

    /// Whether whoever makes the cgroups here may have one more.
    fn room_for(&self, path: &str) -> bool {
        let most = self.max.saturating_mul(CGROUPS_PER_WORKLOAD);
        !self.makers.any_is_full(most) || self.makers.has_room(&self.grants.identity(path).owner, most)
    }

    /// Whether there is room for one more cgroup, if necessary by removing ended ones.
    fn room(&mut self) -> bool {
        let most = self.max.saturating_mul(CGROUPS_PER_WORKLOAD);
        self.cgroups.len() < most || {
            let dead = self.cgroups.values().filter_map(|member| member.dead_since).collect();
            self.make_room(dead) && self.cgroups.len() < most
        }
    }

    /// Charges the amounts that waited for the cgroup.
    fn charge_pending(&mut self, id: Id, slot: usize) {
        if let Some(amounts) = self.pending.take(id) {
            self.slots[slot].amounts.add(&amounts);
        }
    }

    /// Assigns a cgroup to its workload, and removes it from any other.
    pub(super) fn assign(&mut self, id: Id, member: Member, time: u64) {
        let Workloads { cgroups, slots, tops, makers, .. } = self;
        if let Some(path) = member.own() {
            let new = || Top { slot: member.slot, cgroups: 0 };
            tops.entry(path.into()).or_insert_with(new).cgroups += 1;
        }
        let slot = member.slot;
        let mut member = Member { walk: self.walk, dead_since: None, ..member };
        let begins = slots[slot].live == 0;
        if let Some(mut before) = cgroups.remove(&id) {
            before.end(slots, time);
            before.leave(tops);
            makers.leave(&before.owner);
            // Whichever workload it belongs to, its counters continue where they were.
            member.last = before.last;
            member.old |= before.old;
            member.names = before.names;
        }
        makers.take(&member.owner);
        cgroups.insert(id, member);
        if begins {
            // What a walk finds may have existed for long.
            slots[slot].recent.born = Some(time).filter(|_| !self.walking);
        }
        slots[slot].live += 1;
        slots[slot].empty_since = None;
    }
}
