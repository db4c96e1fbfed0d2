//! Learning: measures the work of leases while they are held, lists what was learned, and forgets it. What is measured and what counts
//! stands in `learn/`; this file knows whose leases they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::work::model;
use super::{card, refused};
use crate::circuit::Cause;
use crate::learn::{self, Book, Change, Learned, Measured, Run};
use crate::lease::{Body, Caller, Ended, Lease, Owner, State};
use crate::outcome::Outcome;
use crate::statistic::gpu::Statistic::Mig;
use crate::view::View;

/// Leases that ended last, of which it may still be told how what they were for ended.
const OVER: usize = 256;

/// At the end of a round: what all of them use, and what of it counts.
pub(super) fn tick(view: &mut View) -> Vec<Outcome> {
    if view.leases.runs.is_empty() {
        return Vec::new();
    }
    let mut runs = std::mem::take(&mut view.leases.runs);
    runs.retain(|id, _| view.leases.held.contains_key(id) || view.leases.waiting.contains_key(id));
    let mut owners: BTreeMap<&Owner, usize> = BTreeMap::new();
    let held = || view.leases.held.values().filter(|lease| lease.is_held());
    held().for_each(|lease| *owners.entry(&lease.owner).or_default() += 1);
    for (id, run) in &mut runs {
        if let Some(lease) = view.leases.held.get(id).filter(|lease| lease.is_held()) {
            let mixed = owners.get(&lease.owner).is_some_and(|count| *count > 1);
            measure(view, run, lease, mixed);
        }
    }
    let changes = runs.values_mut().flat_map(|run| write(view, run, false)).collect::<Vec<_>>();
    view.leases.runs = runs;
    told(view, changes)
}

fn measure(view: &View, run: &mut Run, lease: &Lease, mixed: bool) {
    let vram = match run.on_any_gpu() {
        true => {
            let gpus = view.gpus.iter().map(|gpu| gpu.device.gpu.to_string()).collect();
            let whole = Lease { gpus, ..lease.clone() };
            card::vram(view, &whole, &lease.owner, &lease.pids)
        }
        false => lease.spent.vram.clone(),
    };
    let settled = lease.state == State::Settled;
    let known = |gpu: &crate::view::gpu::Gpu| {
        gpu.values.get(Mig) != Some(1) && gpu.processes().iter().all(|holder| holder.bytes.is_some())
    };
    let cards = view.gpus.iter().all(known);
    let measured = Measured { hard: lease.spent.hard, soft: lease.spent.soft, vram, settled, mixed, cards };
    run.measure(view.leases.now, &measured);
}

/// What is to be kept of a run now: of one that counts for the first time, or that grew since.
fn write(view: &View, run: &mut Run, ends: bool) -> Vec<Write> {
    let (now, least) = (view.leases.now, view.leases.limits.learn_ns);
    match run.entry {
        None => {
            let settled = run.counts(now, least);
            let model = model(view, run.gpus()).map(str::to_owned);
            settled.map(|settled| {
                run.tells(now, true);
                Write::Count { run: Box::new(run.clone()), model, settled }
            })
        }
        Some(id) => run.tells(now, ends).then(|| Write::Raise { id, peaks: run.peaks.clone() }),
    }
    .into_iter()
    .collect()
}

/// Something to write into the book.
enum Write {
    Count { run: Box<Run>, model: Option<String>, settled: u64 },
    Raise { id: u64, peaks: learn::Peaks },
}

fn told(view: &mut View, writes: Vec<Write>) -> Vec<Outcome> {
    let now = view.leases.now;
    let mut changes = Vec::new();
    for write in writes {
        let book: &mut Book = Arc::make_mut(&mut view.leases.learned);
        match write {
            Write::Count { run, model, settled } => {
                let (entry, counted) = book.count(&run, model.as_deref(), settled, now);
                changes.extend(counted);
                // That of a lease that has ended is in no map any more.
                view.leases.runs.get_mut(&run.id).into_iter().for_each(|run| run.entry = Some(entry));
            }
            Write::Raise { id, peaks } => changes.extend(book.raise(id, &peaks)),
        }
    }
    changes.into_iter().map(outcome).collect()
}

fn outcome(change: Change) -> Outcome {
    Outcome::Learned(Box::new(change))
}

/// Leases that ended: the last of what they used counts, too.
pub(super) fn ended(view: &mut View, outcomes: &mut Vec<Outcome>) {
    let mut writes = Vec::new();
    for one in outcomes.iter() {
        let Outcome::Lease(change) = one else { continue };
        if !change.step.is_end() {
            continue;
        }
        let Some(mut run) = view.leases.runs.remove(&change.lease.id) else { continue };
        view.leases.over.push_back((run.id, run.uid, run.work.clone()));
        if view.leases.over.len() > OVER {
            view.leases.over.pop_front();
        }
        if change.lease.is_held() {
            measure(view, &mut run, &change.lease, false);
        }
        writes.extend(write(view, &mut run, true));
    }
    let told = told(view, writes);
    outcomes.extend(told);
}

/// What was started under a lease ended: if the OOM killer ended it, it would have needed more.
pub(super) fn over(view: &mut View, caller: &Caller, ended: &Ended) -> Vec<Outcome> {
    let id = ended.reservation.filter(|_| ended.cause == Some(Cause::Oom));
    let Some(id) = id else { return Vec::new() };
    let leases = &mut view.leases;
    let work = match leases.runs.get_mut(&id).filter(|run| run.uid == caller.uid) {
        Some(run) => {
            run.kill();
            Some(run.work.clone())
        }
        // A lease may end before it is told how what it was for ended.
        None => leases.over.iter().find(|(of, uid, _)| (*of, *uid) == (id, caller.uid)).map(|(.., work)| work.clone()),
    };
    let book = Arc::make_mut(&mut leases.learned);
    work.iter().flat_map(|work| book.killed(caller.uid, work)).map(outcome).collect()
}

/// What was learned of the caller's own work; of all for root and the group that sees everything.
pub(super) fn list(view: &View, caller: &Caller) -> (u16, Body) {
    (200, Body::Learned(Learned::of(view.leases.learned.of(seen(caller)))))
}

/// Whose entries the caller sees; None: everybody's.
fn seen(caller: &Caller) -> Option<u32> {
    (!caller.privileged && !caller.all).then_some(caller.uid)
}

/// Whose it may remove; None: everybody's.
fn own(caller: &Caller) -> Option<u32> {
    (!caller.privileged).then_some(caller.uid)
}

/// Forgets one entry of the caller's own, or all. Says what it was.
pub(super) fn forget(view: &mut View, caller: &Caller, id: Option<u64>, outcomes: &mut Vec<Outcome>) -> (u16, Body) {
    let book = Arc::make_mut(&mut view.leases.learned);
    let ids: Vec<u64> =
        book.of(own(caller)).map(|entry| entry.id).filter(|own| id.is_none_or(|id| id == *own)).collect();
    if let (Some(id), []) = (id, &ids[..]) {
        // Nobody learns whether another user has it.
        return refused(404, format!("nothing of user {} was learned under number {id}", caller.uid));
    }
    let forgotten: Vec<_> = ids.into_iter().filter_map(|id| book.forget(id)).collect();
    outcomes.extend(forgotten.iter().map(|entry| outcome(Change::Forgotten(entry.id))));
    (200, Body::Learned(Learned::of(forgotten.iter())))
}
