//! What owners use: a lease burns down as its owner's own use grows, settles when that stops, and ends with its owner or its time.

use std::collections::BTreeMap;

use super::card::{is_in, vram};
use super::{grant, told};
use crate::breaker;
use crate::lease::{Kept, Lease, Orphan, Owner, Spent, State, Step, Use};
use crate::outcome::Outcome;
use crate::statistic::gpu::Holder;
use crate::view::View;
use crate::view::lease::{EARLY_NS, Leases, place};

/// Growth by less than this is none, in bytes.
const GROWTH: u64 = 1 << 20;
/// Who has grown, and has not for this long, has started, in nanoseconds.
const SETTLED_NS: u64 = 3_000_000_000;
/// Claims that waited when the agent last ran may come back within this time, in nanoseconds, and so many are known.
const PLACES_NS: u64 = 120_000_000_000;
const PLACES: usize = 512;
/// How long the driver may still list processes of an owner that is gone, in nanoseconds.
const GONE_NS: u64 = 5_000_000_000;

pub(super) fn kept(view: &mut View, kept: &Kept) -> Vec<Outcome> {
    match kept {
        Kept::Limits(limits) => view.leases.limits = limits.clone(),
        Kept::Next(id) => view.leases.last_id = view.leases.last_id.max(*id),
        Kept::Lease(lease) => {
            view.leases.last_id = view.leases.last_id.max(lease.id);
            let mut lease = Lease::clone(lease);
            // Whoever was asked may not have heard of it, and ids of claims are other ones now.
            if let Some(eviction) = &mut lease.eviction {
                (eviction.until, eviction.claim) = (0, 0);
                view.leases.places_until = view.leases.now.saturating_add(PLACES_NS);
            }
            view.leases.held.insert(lease.id, lease);
        }
        Kept::Place { uid, key, asked } => {
            let leases = &mut view.leases;
            leases.places_until = leases.now.saturating_add(PLACES_NS);
            if leases.places.len() < PLACES {
                leases.places.insert((*uid, key.clone()), (*asked).min(leases.now));
            }
        }
        Kept::Unit(record) => breaker::restore(&mut view.circuits, record),
        Kept::Used { id, used } => {
            if let Some(waiting) = view.leases.waiting.get_mut(id) {
                waiting.used = used.clone();
            } else if let Some(lease) = view.leases.held.get_mut(id) {
                // What that means for this lease and for others of its owner follows at the tick.
                (lease.seen.hard, lease.seen.soft, lease.pids) = (used.hard, used.soft, used.pids.clone());
            }
        }
        Kept::Gone { id } => return gone(view, *id),
        Kept::Ran { .. } | Kept::Learned(_) => {}
        Kept::Ceilings { id, ceilings, missing } => {
            if let Some(waiting) = view.leases.waiting.get_mut(id) {
                (waiting.caller.ceilings, waiting.caller.missing) = (ceilings.clone(), missing.clone());
            }
        }
    }
    Vec::new()
}

/// The owner is gone.
fn gone(view: &mut View, id: u64) -> Vec<Outcome> {
    if view.leases.waiting.contains_key(&id) {
        return grant::give_up(view, id, "its owner has gone");
    }
    let now = view.leases.now;
    let Some(lease) = view.leases.held.get_mut(&id).filter(|lease| lease.is_held()) else { return Vec::new() };
    (lease.state, lease.touched) = (State::Ending, now);
    // Without a GPU there is nothing that could be left behind: memory goes with its processes.
    match lease.want.vram.is_empty() {
        true => end(view, id, Step::Ended, format!("reservation {id} has ended: its owner is gone")),
        false => Vec::new(),
    }
}

/// What each owner uses beyond what it had: of its leases the oldest account for it first.
fn spend(leases: &mut Leases) {
    let mut before: BTreeMap<Owner, Spent> = BTreeMap::new();
    for lease in leases.held.values_mut().filter(|lease| lease.is_held()) {
        match before.get_mut(&lease.owner) {
            Some(before) => {
                lease.spent = lease.seen.beyond(&lease.base.and(before));
                *before = before.and(&lease.burned());
            }
            None => {
                lease.spent = lease.seen.beyond(&lease.base);
                before.insert(lease.owner.clone(), lease.burned());
            }
        }
    }
}

/// What leases of the same owner that were granted before this one account for.
fn before(leases: &Leases, id: u64, owner: &Owner) -> Spent {
    let earlier =
        leases.held.range(..id).map(|(_, lease)| lease).filter(|lease| lease.is_held() && lease.owner == *owner);
    earlier.fold(Spent::default(), |sum, lease| sum.and(&lease.burned()))
}

/// Removes a lease. What its owner still uses of it is no growth of the owner's later leases.
pub(super) fn remove(leases: &mut Leases, id: u64) -> Option<Lease> {
    let lease = leases.held.remove(&id)?;
    leave(leases, &lease);
    Some(lease)
}

/// A lease no longer belongs to its owner: what that still uses of it is no growth of its later leases.
pub(super) fn leave(leases: &mut Leases, lease: &Lease) {
    let burned = if lease.is_held() { lease.burned() } else { Spent::default() };
    if burned.is_nothing() {
        return;
    }
    let later = leases.held.range_mut(lease.id + 1..).map(|(_, later)| later);
    later.filter(|later| later.owner == lease.owner).for_each(|later| later.base = later.base.and(&burned));
}

fn end(view: &mut View, id: u64, step: Step, sentence: String) -> Vec<Outcome> {
    let lease = remove(&mut view.leases, id);
    lease.map(|lease| told(view, step, &lease, sentence)).into_iter().collect()
}

/// Begins to count the use of an owner: from what it has, or from nothing if all that it has came after the grant.
pub(super) fn own(
    leases: &Leases,
    lease: &mut Lease,
    owner: Owner,
    used: &Use,
    vram: BTreeMap<String, u64>,
    young: bool,
) {
    let now = Spent { hard: used.hard, soft: used.soft, vram };
    let others = before(leases, lease.id, &owner);
    lease.base = if young { Spent::default() } else { now.beyond(&others) };
    lease.spent = now.beyond(&lease.base.and(&others));
    lease.seen = now;
    lease.most = lease.spent.clone();
    lease.owner = owner;
    lease.pids = used.pids.clone();
}

/// Whether that is news.
pub(super) fn settle(lease: &mut Lease) -> bool {
    let news = lease.state == State::Starting;
    if news {
        lease.state = State::Settled;
    }
    news
}

pub(super) fn tick(view: &mut View) -> Vec<Outcome> {
    look(view);
    spend(&mut view.leases);
    let ids: Vec<u64> = view.leases.held.keys().copied().collect();
    ids.into_iter().flat_map(|id| step(view, id)).collect()
}

/// What each owner has of its GPUs.
fn look(view: &mut View) {
    let wants = |lease: &&Lease| lease.is_held() && !lease.want.vram.is_empty();
    let held = view.leases.held.values().filter(wants);
    let seen: Vec<_> = held.map(|lease| (lease.id, vram(view, lease, &lease.owner, &lease.pids))).collect();
    for (id, vram) in seen {
        if let Some(lease) = view.leases.held.get_mut(&id) {
            lease.seen.vram = vram;
        }
    }
}

fn step(view: &mut View, id: u64) -> Vec<Outcome> {
    let (now, longest) = (view.leases.now, view.leases.limits.start_ns);
    let Some(lease) = view.leases.held.get(&id) else { return Vec::new() };
    // Nobody comes for it any more: it keeps no room until its end.
    let untaken = lease.begins.filter(|_| lease.state == State::Planned).map(|begins| begins.saturating_add(EARLY_NS));
    if lease.expires.into_iter().chain(untaken).any(|end| now >= end) {
        let why = if lease.state == State::Planned { "no claim took it up" } else { "its time is over" };
        return end(view, id, Step::Expired, format!("reservation {id} has ended: {why}"));
    }
    if lease.state == State::Ending {
        return ending(view, id);
    }
    let Some(lease) = view.leases.held.get_mut(&id) else { return Vec::new() };
    if lease.most.rise(&lease.spent, GROWTH) {
        lease.touched = now;
    }
    if lease.state != State::Starting {
        return Vec::new();
    }
    // Where memory of a GPU is expected, growth of the host's alone is no start: a program loads for long before.
    let begun = match lease.want.vram.is_empty() {
        true => !lease.most.is_nothing(),
        false => lease.most.vram.values().any(|bytes| *bytes > 0),
    };
    let grown = begun && now.saturating_sub(lease.touched) >= SETTLED_NS;
    let late = lease.granted.is_some_and(|granted| now.saturating_sub(granted) >= longest);
    if !grown && !late {
        return Vec::new();
    }
    lease.state = State::Settled;
    let why = if grown { "its use no longer grows" } else { "its start took too long to wait for" };
    let lease = lease.clone();
    vec![told(view, Step::Changed, &lease, format!("reservation {id} has settled: {why}"))]
}

/// After the end of the owner: whether some of its processes still hold a GPU.
fn ending(view: &mut View, id: u64) -> Vec<Outcome> {
    let now = view.leases.now;
    let Some(lease) = view.leases.held.get(&id) else { return Vec::new() };
    if now.saturating_sub(lease.touched) < GONE_NS {
        return Vec::new();
    }
    let orphans = orphans(view, lease);
    if orphans.is_empty() {
        return end(
            view,
            id,
            Step::Ended,
            format!("reservation {id} has ended: its owner is gone, and nothing is left of it"),
        );
    }
    let Some(lease) = view.leases.held.get_mut(&id) else { return Vec::new() };
    let news = lease.orphans.is_empty();
    lease.orphans = orphans;
    let lease = lease.clone();
    let said = lease.orphans.iter().map(|orphan| {
        let bytes = orphan.bytes.map_or_else(|| "memory".to_owned(), crate::amount::bytes);
        format!("process {} holds {bytes} of GPU {}", orphan.pid, orphan.gpu)
    });
    let said = said.collect::<Vec<_>>().join(", ");
    let sentence = format!("the owner of reservation {id} is gone, but {said}");
    news.then(|| told(view, Step::Orphaned, &lease, sentence)).into_iter().collect()
}

/// Processes of the owner, or that came in its cgroup since, and that no other lease has.
fn orphans(view: &View, lease: &Lease) -> Vec<Orphan> {
    let others = |pid: u32| view.leases.held.values().any(|other| other.id != lease.id && other.pids.contains(&pid));
    let whole = matches!(lease.owner, Owner::Cgroup { .. });
    let path = place(lease).filter(|path| *path != "/");
    let left = |holder: &&Holder| {
        let came = whole || !lease.before.is_empty() || lease.number.is_some();
        let near = came && !lease.before.contains(&holder.pid) && path.is_some_and(|path| is_in(view, holder, path));
        lease.pids.contains(&holder.pid) || near && !others(holder.pid)
    };
    let gpus = view.gpus.iter().filter(|gpu| lease.gpus.iter().any(|number| **number == *gpu.device.gpu));
    let of = |gpu: &crate::view::gpu::Gpu| {
        let number = gpu.device.gpu.to_string();
        let orphan = |holder: &Holder| Orphan {
            pid: holder.pid,
            cgroup: holder.cgroup.and_then(|id| view.workloads.path(id)).map(str::to_owned),
            gpu: number.clone(),
            bytes: holder.bytes,
        };
        gpu.processes().iter().filter(left).map(orphan).collect::<Vec<_>>()
    };
    gpus.flat_map(of).collect()
}
