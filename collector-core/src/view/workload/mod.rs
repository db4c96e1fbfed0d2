//! Workloads: which exist, their names, and what they are charged. `member.rs` knows which cgroups belong to them; this file
//! does not know how names are made.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::coverage::Coverage;
use super::history::{Track, Written};
use crate::cgroup::Id;
use crate::identity::{Grants, Identity, Names, Shares};
use crate::sample::Start;
use crate::stage::Stage;

use activity::Activity;
pub use amounts::{Amounts, Io, Reclaim, Stalls, Transfer};
use member::{Member, Top};
use pending::Pending;
pub use recent::Recent;
pub(crate) use recent::Swap;
use slots::Slots;
pub use statistics::Statistics;
pub(crate) use still::Pass;
use tier::Departed;
pub(crate) use unseen::Unseen;

mod activity;
mod amounts;
mod member;
mod named;
mod pace;
mod pending;
mod place;
mod recent;
mod slots;
mod statistics;
mod still;
mod tier;
mod tree;
mod unseen;

/// The name for all workloads over the cap, and for what belongs to no workload. No workload can have this name: each name
/// contains a slash or a dot.
pub const OTHER: &str = "other";

/// The slot of [`OTHER`], which is never freed.
const OTHER_SLOT: usize = 0;

/// Maximum number of cgroups, per workload of the cap.
const CGROUPS_PER_WORKLOAD: usize = 16;

/// One of this many ended workloads leaves before its grace is over when there is no room for a new one.
const EARLY_SHARE: usize = 16;

#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// The name, which identifies the workload.
    pub name: Arc<str>,
    /// Derived from the path of its own cgroup; of several cgroups, the latest.
    pub identity: Identity,
    /// Names that the host gives it.
    pub names: Names,
    /// When it was first seen, in nanoseconds since the Unix epoch.
    pub created: u64,
    /// What it is charged.
    pub amounts: Amounts,
    /// Numbers from the kernel's files about its cgroups.
    pub statistics: Statistics,
    /// The history.
    pub track: Track,
    /// Recent changes.
    pub recent: Recent,
    activity: Activity,
    /// When it last held a process or memory.
    held: Option<u64>,
    /// It has no series, because it holds nothing.
    hidden: bool,
    /// Number of its cgroups that exist.
    live: usize,
    /// Since when it has none, in nanoseconds since the Unix epoch.
    empty_since: Option<u64>,
}

impl Workload {
    /// The values of the labels that name it ([`crate::metric::row::WORKLOAD`]); empty where it has none.
    pub fn labels(&self) -> [&str; 4] {
        let Names { namespace, pod, container, .. } = &self.names;
        let [namespace, pod, container] = [namespace, pod, container].map(|name| name.as_deref().unwrap_or_default());
        [&self.name, namespace, pod, container]
    }

    /// Whether it has series: not while it holds neither a process nor memory.
    pub fn is_shown(&self) -> bool {
        !self.hidden
    }

    fn other(created: u64) -> Workload {
        Workload { name: OTHER.into(), created, activity: Activity::BUSY, ..Workload::default() }
    }

    /// Merges another workload into this one.
    fn absorb(&mut self, newer: Workload) {
        self.identity = newer.identity;
        self.names = newer.names;
        self.created = self.created.min(newer.created);
        self.amounts.add(&newer.amounts);
        self.statistics.absorb(&newer.statistics);
        self.track.absorb(newer.track);
        self.recent.absorb(&newer.recent);
        self.activity.absorb(newer.activity);
        self.empty_since = if self.live > 0 { None } else { newer.empty_since };
        if newer.live > 0 {
            self.empty_since = None;
        }
        self.live += newer.live;
        self.held = self.held.max(newer.held);
        self.hidden &= newer.hidden;
    }
}

#[derive(Clone, Debug)]
pub struct Workloads {
    /// Hierarchy ids of the memory and the io controller.
    hierarchies: [u64; 2],
    max: usize,
    grace: u64,
    /// A workload keeps its slot while it lives; a free slot has an empty name.
    slots: Slots,
    free: Vec<usize>,
    by_name: BTreeMap<Arc<str>, usize>,
    /// The workloads' own cgroups, by their paths.
    tops: HashMap<Arc<str>, Top>,
    cgroups: HashMap<Id, Member>,
    /// Whose the workloads are, and whose the cgroups.
    owners: Shares,
    makers: Shares,
    grants: Grants,
    pending: Pending,
    /// Cgroups that want a place, since the last tick.
    waiting: Vec<Id>,
    /// Since the last tick, something was counted for a cgroup and there was no place for it.
    crowded: bool,
    /// Workloads that got a place, until their other cgroups follow: the paths of their own cgroups.
    seated: HashSet<Arc<str>>,
    walk: u64,
    walking: bool,
    /// The highest id of a cgroup of the memory hierarchy when the last walk ended.
    highest: Option<u64>,
    /// The agent's own cgroup.
    own: Option<Id>,
    /// Number of workloads that left before their grace was over, since the last tick.
    early: u64,
    departed: Departed,
    /// Slots of those that held GPU memory at the last tick.
    holders: Vec<usize>,
    /// The last tick, and how far the history was written.
    ticked: u64,
    written: Written,
    /// Of the whole host.
    kills: unseen::Kills,
    /// The last tick at which kills that no program sees were counted.
    kills_counted: Option<u64>,
}

impl Default for Workloads {
    fn default() -> Workloads {
        Workloads {
            // No cgroup counts before the source has reported the hierarchies.
            hierarchies: [u64::MAX; 2],
            max: 0,
            grace: 0,
            slots: Slots::new(Workload::other(0)),
            free: Vec::new(),
            by_name: BTreeMap::new(),
            tops: HashMap::new(),
            cgroups: HashMap::new(),
            owners: Shares::default(),
            makers: Shares::default(),
            grants: Grants::default(),
            pending: Pending::default(),
            waiting: Vec::new(),
            crowded: false,
            seated: HashSet::new(),
            walk: 0,
            walking: false,
            highest: None,
            own: None,
            early: 0,
            departed: Departed::default(),
            holders: Vec::new(),
            ticked: 0,
            written: Written::default(),
            kills: unseen::Kills::default(),
            kills_counted: None,
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
            slots: Slots::new(Workload::other(time)),
            ..Workloads::default()
        }
    }

    /// The memory controller's hierarchy: 0 is cgroup v2.
    pub fn memory_hierarchy(&self) -> u64 {
        self.hierarchies[0]
    }

    /// The workload with this name.
    pub(crate) fn find(&self, name: &str) -> Option<&Workload> {
        self.by_name.get(name).map(|&slot| &self.slots[slot])
    }

    /// The paths of the cgroups in the memory controller's hierarchy that belong to the workload with this name, and exist.
    pub fn cgroups(&self, name: &str) -> Vec<Arc<str>> {
        let slot = if name == OTHER { Some(OTHER_SLOT) } else { self.by_name.get(name).copied() };
        let own = |(id, member): &(&Id, &Member)| {
            Some(member.slot) == slot && id.hierarchy == self.memory_hierarchy() && member.dead_since.is_none()
        };
        let paths = self.cgroups.iter().filter(own).map(|(_, member)| member.path.clone());
        paths.filter(|path| !path.is_empty()).collect()
    }

    /// Who answers for the workload with this name: who makes its cgroups, however many cgroups and names that is; otherwise the
    /// workload itself. Of one without a place only the name is known here, and it begins with its owner's.
    pub fn owner<'a>(&'a self, name: &'a str) -> &'a str {
        let owner = match self.find(name) {
            Some(workload) => workload.identity.owner.as_deref(),
            None => self.makers.of_name(name),
        };
        owner.unwrap_or(name)
    }

    /// Whether there is no room for another, so that some may be missing.
    pub(crate) fn is_full(&self) -> bool {
        self.by_name.len() >= self.max
    }

    /// Number of workloads without `other`.
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

    /// The amounts of a cgroup's workload. For a cgroup that is not known yet, the amounts wait until it is.
    pub(crate) fn charge(&mut self, id: Option<Id>) -> &mut Amounts {
        let Some(id) = id else { return self.slots.amounts(OTHER_SLOT) };
        if let Some(member) = self.cgroups.get(&id) {
            let slot = if member.wants_place() { self.slot_for_counts(id) } else { member.slot };
            return self.slots.amounts(slot);
        }
        // Where a controller is off, the kernel charges the root of a hierarchy that nobody mounted.
        if !self.tracks(id) {
            return self.slots.amounts(OTHER_SLOT);
        }
        match self.pending.amounts(id) {
            Some(amounts) => amounts,
            None => self.slots.amounts(OTHER_SLOT),
        }
    }

    /// Removes workloads and cgroups that ended longer ago than the grace, and amounts that waited too long for their cgroup.
    pub(crate) fn tick(&mut self, time: u64, coverage: &mut Coverage) {
        // Usually none has ended: looking for those is a walk over all.
        if let Some(until) = time.checked_sub(self.grace).filter(|_| self.slots.ended) {
            self.release(until);
        }
        self.settle(coverage);
        coverage.lose(Stage::Workload, std::mem::take(&mut self.early));
        coverage.lose(Stage::History, self.departed.take_lost());
        self.pending.tick(self.slots.amounts(OTHER_SLOT), coverage);
    }

    /// Removes workloads and cgroups that ended at this moment or before.
    fn release(&mut self, until: u64) {
        let gone = |since: Option<u64>| since.is_some_and(|since| since <= until);
        for slot in 0..self.slots.len() {
            if gone(self.slots[slot].empty_since) {
                let workload = std::mem::take(&mut self.slots[slot]);
                self.departed.add(&workload, self.written);
                self.by_name.remove(&workload.name);
                self.owners.leave(&workload.identity.owner);
                self.free.push(slot);
            }
        }
        let Workloads { cgroups, slots, tops, makers, .. } = self;
        cgroups.retain(|_, member| {
            let stays = !gone(member.dead_since) && !slots[member.slot].name.is_empty();
            if !stays {
                member.leave(tops);
                makers.leave(&member.owner);
            }
            stays
        });
        let left = cgroups.values().any(|member| member.dead_since.is_some());
        slots.ended = left || slots.iter().any(|workload| workload.empty_since.is_some());
    }

    /// Makes room: the workloads that ended first leave before their grace is over; several at once, because it is a walk over
    /// all. `dead` has the times of their ends. Returns `false` if there are none.
    fn make_room(&mut self, mut dead: Vec<u64>) -> bool {
        let share = (dead.len() / EARLY_SHARE).min(dead.len().saturating_sub(1));
        if dead.is_empty() {
            return false;
        }
        let (_, &mut until, _) = dead.select_nth_unstable(share);
        let before = self.by_name.len();
        self.release(until);
        self.early += (before - self.by_name.len()) as u64;
        true
    }

    /// The slot of the workload with this identity, which is created if necessary; `None` if there is no room, or its owner has its
    /// share of the places.
    fn place(&mut self, mut identity: Identity, time: u64) -> Option<usize> {
        if let Some(top) = self.tops.get(&identity.top) {
            return Some(top.slot);
        }
        let taken = self.by_name.get(&identity.name).map(|&slot| &self.slots[slot].identity);
        if taken.is_some_and(|taken| taken.owner != identity.owner) {
            identity = identity.by_path();
        }
        if let Some(&slot) = self.by_name.get(&identity.name) {
            if self.slots[slot].live == 0 {
                self.owned(slot, identity);
            }
            return Some(slot);
        }
        if !self.owners.has_room(&identity.owner, self.max) {
            return None;
        }
        if self.by_name.len() >= self.max {
            let dead = self.slots.iter().filter_map(|workload| workload.empty_since).collect();
            if !self.make_room(dead) && !self.dismiss(true) {
                return None;
            }
        }
        let name = identity.name.clone();
        self.owners.take(&identity.owner);
        let workload = Workload { name: name.clone(), identity, created: time, ..Workload::default() };
        let slot = self.free.pop().unwrap_or(self.slots.len());
        self.by_name.insert(name, slot);
        match slot < self.slots.len() {
            true => self.slots[slot] = workload,
            false => self.slots.push(workload),
        }
        Some(slot)
    }
}

#[cfg(test)]
mod tests;
