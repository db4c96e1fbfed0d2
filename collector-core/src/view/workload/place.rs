//! Who has a place when there are more workloads than places: one that holds nothing, neither a process nor memory, gives way
//! to one that may. A cgroup without a place belongs to `other`, and gets one when it is seen to hold something.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use super::member::Member;
use super::statistics::{Last, Statistics};
use super::{Amounts, EARLY_SHARE, OTHER_SLOT, Workload, Workloads};
use crate::cgroup::Id;
use crate::stage::Stage;
use crate::statistic::workload::{Values, holds};
use crate::view::coverage::Coverage;

impl Statistics {
    /// Whether its cgroups hold a process or memory; `None` if that is not known.
    fn holds(&self) -> Option<bool> {
        holds(|statistic| self.get(statistic))
    }
}

impl Workload {
    /// Whether its cgroups exist and hold nothing.
    fn is_idle(&self) -> bool {
        self.is_alive() && self.statistics.holds() == Some(false)
    }

    /// Whether anything was counted for it: a process may live for less than a tick.
    pub(super) fn was_counted(&self) -> bool {
        self.amounts != Amounts::default()
    }

    pub(super) fn was_killed(&self) -> bool {
        self.amounts.limit_kills > 0 || self.amounts.oom_kills.iter().any(|kills| *kills > 0)
    }

    /// At a tick: it has no series while it holds nothing, except for the grace after it did, and if anything was counted for it.
    /// Once its last cgroup is gone, it stays as it was.
    pub(super) fn rest(&mut self, time: u64, grace: u64) {
        if self.is_alive() {
            let holds = self.statistics.holds();
            if holds == Some(true) {
                self.held = Some(time);
            }
            let rested = self.held.is_none_or(|held| time.saturating_sub(held) >= grace);
            self.hidden = holds == Some(false) && rested;
        }
        self.hidden = self.hidden && !self.was_counted();
    }
}

impl Workloads {
    /// Keeps the numbers of a cgroup without a place: they say whether it needs one, and its limit if it is killed.
    pub(super) fn note(&mut self, id: Id, values: &Values) {
        let Some(member) = self.cgroups.get_mut(&id) else { return };
        member.idle = holds(|statistic| values.get(statistic)) == Some(false);
        match &mut member.unplaced {
            // After a kill it may hold nothing, and its limit is still wanted.
            Some(before) => before.as_mut().clone_from(values),
            None if member.idle => {}
            None => member.unplaced = Some(Box::new(values.clone())),
        }
        self.want(id);
    }

    /// It gets a place at the next tick, if there is one and it does not hold nothing.
    pub(super) fn want(&mut self, id: Id) {
        if let Some(member) = self.cgroups.get_mut(&id)
            && !member.idle
            && !std::mem::replace(&mut member.waits, true)
        {
            self.waiting.push(id);
        }
    }

    /// At a tick: gives places to the cgroups that wait for one. Those that go on without one are counted, once each.
    pub(super) fn settle(&mut self, coverage: &mut Coverage) {
        let mut full = false;
        let shares = self.owners.any_is_full(self.max);
        let mut waiting = std::mem::take(&mut self.waiting);
        for id in waiting.drain(..) {
            let Some(member) = self.cgroups.get_mut(&id) else { continue };
            member.waits = false;
            if !member.wants_place() || member.idle {
                continue;
            }
            // That one owner has its share says nothing of the others.
            let over = shares && !self.owners.has_room(&member.owner, self.max);
            full = full || !over && !self.seat(id);
            if (full || over)
                && let Some(member) = self.cgroups.get_mut(&id)
            {
                coverage.lose(Stage::Workload, u64::from(!std::mem::replace(&mut member.counted, true)));
            }
        }
        self.waiting = waiting;
        self.crowded = false;
        self.follow();
    }

    /// A process of this cgroup was killed: it gets a place at once, if one can be made, and so do the others of its workload, which
    /// have its limit.
    pub(crate) fn make_place(&mut self, id: Id) {
        if self.cgroups.get(&id).is_some_and(Member::wants_place) {
            self.seat(id);
        }
        self.follow();
    }

    /// The slot for what was counted of a cgroup that wants a place: its own, if there is a place with which no series leave. Where
    /// there is none, the next tick is the first to look again. The workload's other cgroups follow at the tick too: finding them
    /// is a walk over all.
    pub(super) fn slot_for_counts(&mut self, id: Id) -> usize {
        self.crowded = self.crowded || self.is_full() && !self.dismiss(false);
        if !self.crowded {
            self.seat(id);
        }
        self.cgroups.get(&id).map_or(OTHER_SLOT, |member| member.slot)
    }

    /// Gives a place to a cgroup that has none; `false` if there is none left.
    fn seat(&mut self, id: Id) -> bool {
        let Some(before) = self.cgroups.get(&id) else { return true };
        let (path, born) = (before.path.clone(), before.born);
        let Some(member) = self.member(&path, born) else { return false };
        self.seated.extend(member.own().map(Arc::from));
        self.move_to(id, member);
        true
    }

    /// Moves a cgroup from `other` to its workload, with its names and numbers.
    pub(super) fn move_to(&mut self, id: Id, member: Member) {
        // It may have ended, and left when the place was made.
        let before = self.cgroups.get_mut(&id).map(|it| (it.born, it.walked, it.unplaced.take(), it.names.clone()));
        let (born, walked, values, names) = before.unwrap_or((member.born, true, None, None));
        let slot = member.slot;
        let (known, first) = (self.slots[slot].refusals().is_some(), !self.slots[slot].is_alive());
        self.assign(id, Member { born, walked, old: true, ..member }, born);
        if first {
            self.slots[slot].recent.born = Some(born).filter(|_| !walked);
        }
        if let (Some(values), Some(member)) = (values, self.cgroups.get_mut(&id)) {
            let workload = &mut self.slots[slot];
            workload.measure(member, &values);
            if !known {
                workload.count_from_here();
            }
        }
        if let Some(names) = names {
            self.named(id, &names);
        }
    }

    /// Moves all other cgroups of workloads that just got a place: those nested in them, and of other hierarchies.
    fn follow(&mut self) {
        if self.seated.is_empty() {
            return;
        }
        let seated = std::mem::take(&mut self.seated);
        let below = |path: &str| {
            let ends = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
            ends.chain([path.len()]).any(|end| seated.contains(&path[..end]))
        };
        let live = |(_, member): &(&Id, &Member)| member.slot == OTHER_SLOT && member.dead_since.is_none();
        let mut moves = Vec::new();
        for (id, member) in self.cgroups.iter().filter(live).filter(|(_, member)| member.is_unplaced()) {
            if below(member.path()) {
                let top = self.grants.identity(member.path()).top;
                let place = self.tops.get(&top);
                moves
                    .extend(place.map(|at| (*id, Member { top: top.len(), ..self.member_of(member.path(), at.slot) })));
            }
        }
        self.move_all(moves);
        let joined = self.cgroups.iter().filter(live).filter_map(|(id, member)| {
            let slot = self.cgroups.get(&member.joined?)?.slot;
            (slot != OTHER_SLOT).then(|| (*id, Member { slot, ..member.clone() }))
        });
        self.move_all(joined.collect());
    }

    fn move_all(&mut self, mut moves: Vec<(Id, Member)>) {
        // In a fixed order, so that the same samples always give the same view.
        moves.sort_unstable_by_key(|(id, _)| *id);
        for (id, member) in moves {
            self.move_to(id, member);
        }
    }

    /// Takes the places of workloads that hold nothing; of those for which something was counted only if `counted`. First come those
    /// without counts, then those without kills, of these the longest without anything; several at once, because it is a walk over
    /// all. `false` if there are none.
    pub(super) fn dismiss(&mut self, counted: bool) -> bool {
        let leaves = |workload: &Workload| workload.is_idle() && (counted || !workload.was_counted());
        let idle = self.slots.iter().enumerate().skip(1).filter(|(_, workload)| leaves(workload));
        let order = |it: &Workload, slot: usize| (it.was_counted(), it.was_killed(), it.held, slot);
        let mut idle: Vec<_> = idle.map(|(slot, workload)| order(workload, slot)).collect();
        if idle.is_empty() {
            return false;
        }
        idle.sort_unstable();
        idle.truncate((idle.len() / EARLY_SHARE).max(1));
        let gone: HashSet<usize> = idle.into_iter().map(|(.., slot)| slot).collect();
        let Workloads { cgroups, slots, tops, .. } = self;
        for member in cgroups.values_mut().filter(|member| gone.contains(&member.slot)) {
            member.leave(tops);
            let live = usize::from(member.dead_since.is_none());
            let workload = &mut slots[member.slot];
            workload.live -= live;
            workload.statistics.leave(&mut member.last);
            slots[OTHER_SLOT].live += live;
            (member.slot, member.top, member.idle) = (OTHER_SLOT, 0, true);
        }
        let mut gone: Vec<usize> = gone.into_iter().collect();
        gone.sort_unstable();
        for slot in gone {
            let workload = std::mem::take(&mut self.slots[slot]);
            self.departed.add(&workload, self.written);
            self.by_name.remove(&workload.name);
            self.owners.leave(&workload.identity.owner);
            let had_series = workload.was_counted() || workload.held.is_some() && !workload.hidden;
            self.early += u64::from(had_series);
            self.free.push(slot);
        }
        true
    }

    /// The workload of a cgroup, if the cgroup is known. For a cgroup that has no place it is made from what is known of it, so
    /// that the facts about a kill do not depend on places.
    pub(crate) fn known(&self, id: Id) -> Option<Cow<'_, Workload>> {
        let member = self.cgroups.get(&id)?;
        if !member.is_unplaced() {
            return Some(Cow::Borrowed(&self.slots[member.slot]));
        }
        let identity = self.grants.identity(member.path());
        let is_own = |(other, it): &(&Id, &Member)| {
            other.hierarchy == id.hierarchy && *it.path() == *identity.top && it.dead_since.is_none()
        };
        let nested = *identity.top != *member.path();
        let own = if nested { self.cgroups.iter().find(is_own).map(|(_, own)| own) } else { Some(member) };
        let names = own.and_then(|own| own.names.as_deref().cloned()).unwrap_or_default();
        let mut statistics = Statistics::default();
        if let Some(values) = own.and_then(|own| own.unplaced.as_deref()) {
            statistics.measure(&mut Last::default(), values);
        }
        let (name, created) = (identity.named(&names), member.born);
        Some(Cow::Owned(Workload { name, identity, names, statistics, created, live: 1, ..Workload::default() }))
    }
}
