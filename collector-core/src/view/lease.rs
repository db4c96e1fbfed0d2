//! Leases that are held, and claims that wait. What is granted when, and to whom, is decided in the engine.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::workload::{OTHER, Workloads};
use crate::learn::{Book, Run, Work};
use crate::lease::{Caller, Decision, Lease, Limits, Owner, Priority, Spent, State, Use};

/// A clock that was set forward, or an agent that slept, ends no lease: at most this much passes between two samples, in
/// nanoseconds.
const STRIDE_NS: u64 = 10_000_000_000;
/// Who waits for this long comes before those of the next higher priority that arrive then. Never before critical work.
const AGEING_NS: u64 = 60_000_000_000;
/// Who comes so long before a reservation that was made ahead begins has come for it, in nanoseconds.
pub(crate) const EARLY_NS: u64 = 3_600_000_000_000;

#[derive(Clone, Debug, Default)]
pub struct Leases {
    pub limits: Limits,
    pub held: BTreeMap<u64, Lease>,
    pub waiting: BTreeMap<u64, Waiting>,
    /// What the work of leases is measured for, by their ids; also of claims that wait.
    pub runs: BTreeMap<u64, Run>,
    /// What was learned of it. Shared: a snapshot copies none of it.
    pub learned: Arc<Book>,
    /// Work of leases that ended last, by lease and user.
    pub(crate) over: VecDeque<(u64, u32, Work)>,
    /// Claims that waited when the agent last ran, by user and key, with when they were made.
    pub(crate) places: BTreeMap<(u32, String), u64>,
    /// Until when those may come back.
    pub(crate) places_until: u64,
    /// What leases used that have just ended: the host may not have it back yet.
    pub(crate) leaving: Vec<Leaving>,
    /// How often owners were asked to give something up, and what came of it.
    pub evictions: Evictions,
    /// Verdicts given so far.
    pub verdicts: BTreeMap<(Decision, Priority), u64>,
    /// Nanoseconds since the Unix epoch by a clock that never jumps.
    pub now: u64,
    /// The time of the last sample.
    last: u64,
    /// The last id that was given.
    pub last_id: u64,
}

/// What a lease used that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Leaving {
    pub until: u64,
    pub cgroup: Option<String>,
    pub used: Spent,
}

/// How often owners of leases were asked to give them up, and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evictions {
    /// For the first time for a claim.
    pub asked: u64,
    /// Again, because they had not answered in time.
    pub repeated: u64,
    /// The lease ended.
    pub ended: u64,
    /// Nobody waited for it any more.
    pub spared: u64,
}

/// A claim that waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// As it will be. Its GPUs are those that it may have.
    pub lease: Lease,
    pub number: u64,
    /// Until when it waits.
    pub until: u64,
    /// How long it lives once it is granted, in nanoseconds.
    pub life: Option<u64>,
    pub caller: Caller,
    /// What its owner has now.
    pub used: Use,
    /// Since when it is not known whether there is room, if it is not.
    pub unknown: Option<u64>,
}

impl Leases {
    pub(crate) fn advance(&mut self, time: u64) {
        if self.last == 0 {
            self.now = time;
        } else {
            self.now += time.saturating_sub(self.last).min(STRIDE_NS);
        }
        self.last = time;
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(crate) fn count(&mut self, decision: Decision, priority: Priority) {
        let count = self.verdicts.entry((decision, priority)).or_default();
        *count = count.saturating_add(1);
    }

    /// Those that wait, in the order in which they are served: first those for which room was reserved ahead. What is kept for them is
    /// why others wait, so that those could wait for each other.
    pub fn queue(&self) -> Vec<u64> {
        let mut ids: Vec<u64> = self.waiting.keys().copied().collect();
        ids.sort_by_cached_key(|id| {
            let waiting = &self.waiting[id];
            let lease = &waiting.lease;
            let due = self.taken_up_by(lease.uid, lease.unit.as_deref(), waiting.life).is_some();
            (!due, Reverse(self.rank(lease)), lease.asked, *id)
        });
        ids
    }

    /// The reservation made ahead that a claim of this user and unit takes up which lives so long, in nanoseconds: of several the one that
    /// begins first, and no other.
    pub(crate) fn taken_up_by(&self, uid: u32, unit: Option<&str>, life: Option<u64>) -> Option<u64> {
        let is_due = |begins: u64| {
            let still_there = life.is_none_or(|life| self.now.saturating_add(life) > begins);
            begins <= self.now.saturating_add(EARLY_NS) && still_there
        };
        let planned = self.held.values().filter(|lease| lease.state == State::Planned && lease.uid == uid);
        let due = planned.filter(|lease| lease.unit.as_deref() == unit && lease.begins.is_some_and(is_due));
        due.min_by_key(|lease| lease.begins).map(|lease| lease.id)
    }

    /// The priority of who waits, with what it gained by waiting.
    pub(crate) fn rank(&self, lease: &Lease) -> u64 {
        let priority = u64::from(u8::from(lease.priority));
        let gained = self.now.saturating_sub(lease.asked) / AGEING_NS;
        let most = u64::from(u8::from(Priority::High)).max(priority);
        priority.saturating_add(gained).min(most)
    }

    /// Leases of a user, and claims of a user that wait. What was made ahead for the user counts once it is taken up.
    pub(crate) fn of(&self, uid: u32) -> [usize; 2] {
        let held = self.held.values().filter(|lease| lease.uid == uid && lease.state != State::Planned).count();
        [held, self.waiting.values().filter(|waiting| waiting.lease.uid == uid).count()]
    }

    /// The lease or the waiting claim of this user with this key.
    pub(crate) fn keyed(&self, uid: u32, key: &str) -> Option<&Lease> {
        let waiting = self.waiting.values().map(|waiting| &waiting.lease);
        let mut all = self.held.values().chain(waiting);
        all.find(|lease| lease.uid == uid && lease.key.as_deref() == Some(key))
    }
}

impl Workloads {
    /// The name of the workload of the cgroup at a path: that of the nearest cgroup above it that is one's own.
    pub(crate) fn name_at(&self, path: Option<&str>) -> std::sync::Arc<str> {
        let found = path.and_then(|path| self.above(path).find_map(|(_, workload)| workload));
        found.map_or_else(|| OTHER.into(), |workload| workload.name.clone())
    }
}

/// The path of the cgroup that a lease's owner is in.
pub fn place(lease: &Lease) -> Option<&str> {
    match &lease.owner {
        Owner::Cgroup { path } => Some(path),
        Owner::Process { .. } => lease.cgroup.as_deref(),
    }
}
