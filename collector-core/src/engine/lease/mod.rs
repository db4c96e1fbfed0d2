//! Leases: requests in, answers out. What fits is judged in `admission/`; this folder decides who gets it, and when a lease ends.

mod card;
mod claim;
mod evict;
mod follow;
mod grant;
mod learn;
mod plan;
mod queue;
mod rank;
mod schedule;
#[cfg(test)]
mod tests;
mod work;

use crate::admission::{self, Case, Claimed};
use crate::breaker;
use crate::lease::{
    Answer, Ask, Asked, Body, Caller, Change, Circuit, Decision, Ended, Kept, Lease, Mark, Owner, Priority, Request,
    State, Step, Use, Want,
};
use crate::outcome::Outcome;
use crate::view::lease::place;
use crate::view::{View, reservation};
use evict::Plan;

/// Folds what was read about leases, and what was kept of them.
pub(super) fn kept(view: &mut View, time: u64, kept: &Kept) -> Vec<Outcome> {
    view.leases.advance(time);
    work::kept(&mut view.leases, kept);
    let mut outcomes = follow::kept(view, kept);
    released(view, &mut outcomes);
    outcomes
}

/// At the end of a round: what grew, what settled, what is over, and who is next.
pub(super) fn tick(view: &mut View, time: u64) -> Vec<Outcome> {
    view.leases.advance(time);
    breaker::tick(&mut view.circuits, view.leases.now);
    let mut outcomes: Vec<_> =
        breaker::changed(&mut view.circuits).into_iter().map(|record| Outcome::Unit(Box::new(record))).collect();
    evict::forget(&mut view.leases);
    let mut scheduled = schedule::tick(view, time);
    released(view, &mut scheduled);
    outcomes.extend(scheduled);
    if view.leases.held.is_empty() && view.leases.waiting.is_empty() {
        return outcomes;
    }
    let mut followed = follow::tick(view);
    released(view, &mut followed);
    outcomes.extend(followed);
    outcomes.extend(learn::tick(view));
    let mut plan = Plan::new(&view.leases);
    let mut served = queue::serve(view, Some(&mut plan));
    released(view, &mut served);
    outcomes.extend(served);
    outcomes.extend(plan.ask(view));
    outcomes
}

/// Tells the units of leases that ended, and learns the last of them.
fn released(view: &mut View, outcomes: &mut Vec<Outcome>) {
    let now = view.leases.now;
    for outcome in outcomes.iter() {
        if let Outcome::Lease(change) = outcome
            && change.step.is_end()
        {
            breaker::released(&mut view.circuits, now, change.lease.id);
            evict::ended(&mut view.leases, &change.lease);
            view.schedule.changed |= change.lease.occasion.is_some();
        }
    }
    learn::ended(view, outcomes);
}

pub(super) fn request(view: &mut View, time: u64, request: &Request) -> Vec<Outcome> {
    view.leases.advance(time);
    let Request { number, caller, asked } = request;
    let mut outcomes = Vec::new();
    let answer = match asked {
        Asked::Admit(ask) => Some(admit(view, caller, ask)),
        Asked::Claim { claim, owner, used } => {
            claim::claim(view, *number, caller, claim, (owner.clone(), used.clone()), &mut outcomes)
        }
        Asked::Release { id } => Some(change(view, caller, *id, &mut outcomes, |_| {
            Some((Step::Released, format!("reservation {id} was released")))
        })),
        Asked::Touch { id } => Some(change(view, caller, *id, &mut outcomes, |_| None)),
        Asked::Mark { id, mark } => Some(mark_lease(view, caller, *id, *mark, &mut outcomes)),
        Asked::Settled { id } => Some(change(view, caller, *id, &mut outcomes, |lease| {
            follow::settle(lease).then(|| (Step::Changed, format!("reservation {id} has started, by its owner's word")))
        })),
        Asked::Own { id, owner, used, age } => Some(transfer(view, caller, (*id, owner, used, *age), &mut outcomes)),
        Asked::Ended(ended) => {
            outcomes.extend(learn::over(view, caller, ended));
            Some(over(view, caller, ended))
        }
        Asked::Learned => Some(learn::list(view, caller)),
        Asked::Forget { id } => Some(learn::forget(view, caller, *id, &mut outcomes)),
        Asked::Withdraw { number } => {
            claim::withdraw(view, caller, *number, &mut outcomes);
            None
        }
    };
    outcomes.extend(refusal(view, *number, caller, asked, answer.as_ref()));
    released(view, &mut outcomes);
    // What was given back may be what somebody waits for.
    if !matches!(asked, Asked::Admit(_) | Asked::Touch { .. } | Asked::Learned | Asked::Forget { .. }) {
        outcomes.extend(queue::serve(view, None));
    }
    outcomes.extend(answer.map(|(status, body)| answered(*number, status, body)));
    outcomes
}

fn answered(number: u64, status: u16, body: Body) -> Outcome {
    Outcome::Answer(Box::new(Answer { number, status, body }))
}

fn refused(status: u16, detail: impl Into<String>) -> (u16, Body) {
    (status, Body::Refused { detail: detail.into(), verdict: None })
}

/// A dry lease: the verdict that a claim would get now.
fn admit(view: &mut View, caller: &Caller, ask: &Ask) -> (u16, Body) {
    if let Err(why) = ask.check() {
        return refused(400, why);
    }
    if let Some(why) = too_high(caller, ask.priority) {
        return refused(403, why);
    }
    let (need, lesson) = work::taught(view, caller.uid, &ask.need, ask.work.as_deref(), &ask.gpus);
    let want = Want::of(&need);
    let case = Case {
        want: &want,
        priority: ask.priority,
        gpus: &ask.gpus,
        caller,
        unit: ask.unit.as_deref(),
        lasts: None,
        told: true,
    };
    let (claimed, ahead) = rank::ahead(view, &case);
    let mut judged = admission::judge_need(view, &need, &case, &claimed);
    judged.verdict.learned = lesson;
    evict::tell(view, &case, &mut judged, &claimed);
    let mut verdict = judged.verdict;
    rank::tell(view, &case, &mut verdict, ahead);
    view.leases.count(verdict.verdict, ask.priority);
    (200, Body::Verdict(verdict))
}

/// How a unit of the caller's ended.
fn over(view: &mut View, caller: &Caller, ended: &Ended) -> (u16, Body) {
    if let Err(why) = ended.check() {
        return refused(400, why);
    }
    let (now, unit) = (view.leases.now, breaker::name(&ended.unit));
    breaker::ended(&mut view.circuits, now, caller.uid, &ended.unit, ended.reservation, ended.cause);
    let state = view.circuits.state(now, caller.uid, &unit);
    (200, Body::Circuit(Circuit { unit, state }))
}

fn too_high(caller: &Caller, priority: Priority) -> Option<String> {
    (priority > Priority::Normal && !caller.high).then(|| {
        format!("priority {priority} is for root and for those in admission.high_priority: ask for normal at most")
    })
}

/// Changes a lease of the caller's own, and says what it is then.
fn change(
    view: &mut View,
    caller: &Caller,
    id: u64,
    outcomes: &mut Vec<Outcome>,
    step: impl FnOnce(&mut Lease) -> Option<(Step, String)>,
) -> (u16, Body) {
    let now = view.leases.now;
    let Some(lease) = view.leases.held.get_mut(&id) else {
        return refused(404, format!("there is no reservation {id}"));
    };
    if !may_change(caller, lease) {
        return refused(403, format!("reservation {id} belongs to user {}", lease.uid));
    }
    // While it starts this is the time of its last growth.
    if lease.state != State::Starting {
        lease.touched = now;
    }
    let changed = step(lease);
    let lease = lease.clone();
    let shown = view.reservation(&lease);
    if let Some((step, sentence)) = changed {
        if step.is_end() {
            follow::remove(&mut view.leases, id);
        }
        outcomes.push(told(view, step, &lease, sentence));
    }
    (200, Body::Reservation(shown))
}

fn may_change(caller: &Caller, lease: &Lease) -> bool {
    lease.uid == caller.uid || caller.privileged
}

/// Says whether the owner of a lease may be asked to give it up.
fn mark_lease(view: &mut View, caller: &Caller, id: u64, mark: Mark, outcomes: &mut Vec<Outcome>) -> (u16, Body) {
    let anyone = view.leases.held.get(&id).is_some_and(|lease| may_change(caller, lease) && lease.anyone);
    if (mark.anyone || anyone) && mark.anyone != anyone && !caller.privileged {
        return refused(403, "only root lets anybody ask for a reservation, or takes that back");
    }
    change(view, caller, id, outcomes, |lease| {
        (lease.evictable, lease.anyone) = (mark.evictable || mark.anyone, mark.anyone);
        let who = match (lease.evictable, lease.anyone) {
            (_, true) => "may be asked for by anybody",
            (true, false) => "may be asked for by its user",
            (false, _) => "may not be asked for",
        };
        Some((Step::Changed, format!("reservation {id} {who}")))
    })
}

/// A claim that was refused, for the journal. A claim that is repeated, or waits, is none.
fn refusal(view: &View, number: u64, caller: &Caller, asked: &Asked, answer: Option<&(u16, Body)>) -> Option<Outcome> {
    let (Asked::Claim { claim, owner, .. }, Some((status, Body::Refused { detail, .. }))) = (asked, answer) else {
        return None;
    };
    let sentence = format!("a claim of user {} was refused ({status}): {detail}", caller.uid);
    let lease = claim::lease(view, number, caller, claim, owner.clone());
    (*status != 400).then(|| told(view, Step::Refused, &lease, sentence))
}

/// Gives a lease another owner, from whom on growth is counted.
fn transfer(
    view: &mut View,
    caller: &Caller,
    (id, owner, used, age): (u64, &Owner, &Use, u64),
    outcomes: &mut Vec<Outcome>,
) -> (u16, Body) {
    let Some(mut moved) = view.leases.held.get(&id).cloned() else {
        return refused(404, format!("there is no reservation {id}"));
    };
    if moved.state == State::Planned {
        return refused(409, format!("reservation {id} was made ahead: a claim of the same user and unit takes it up"));
    }
    // What a younger process uses came after the grant: all of it counts.
    let young = moved.granted.is_some_and(|granted| age < view.leases.now.saturating_sub(granted));
    let vram = card::vram(view, &moved, owner, &used.pids);
    if may_change(caller, &moved) {
        follow::leave(&mut view.leases, &moved);
    }
    follow::own(&view.leases, &mut moved, owner.clone(), used, vram, young);
    moved.cgroup = caller.cgroup.clone().or(moved.cgroup);
    let begun = moved.clone();
    let answer = change(view, caller, id, outcomes, |lease| {
        *lease = Lease { touched: lease.touched, ..moved };
        Some((Step::Changed, format!("reservation {id} belongs to {} now", reservation::owner(&lease.owner))))
    });
    if answer.0 == 200 {
        work::begin(view, &begun, young);
    }
    answer
}

fn told(view: &View, step: Step, lease: &Lease, sentence: String) -> Outcome {
    let workload = Some(view.workloads.name_at(place(lease)));
    Outcome::Lease(Box::new(Change { step, workload, lease: lease.clone(), sentence }))
}

/// Everything that is promised now.
fn promised(view: &View) -> Vec<Claimed> {
    Claimed::all(&view.leases)
}

/// A lease that was granted just now.
fn granted(view: &View, mut lease: Lease, gpus: Vec<String>, used: &Use, life: Option<u64>) -> Lease {
    let now = view.leases.now;
    lease.gpus = gpus;
    (lease.granted, lease.touched) = (Some(now), now);
    lease.expires = life.map(|life| now.saturating_add(life));
    lease.state = crate::lease::State::Starting;
    let on = |gpu: &&crate::view::gpu::Gpu| lease.gpus.iter().any(|number| **number == *gpu.device.gpu);
    lease.before = view.gpus.iter().filter(on).flat_map(|gpu| gpu.processes()).map(|holder| holder.pid).collect();
    let owner: Owner = lease.owner.clone();
    let vram = card::vram(view, &lease, &owner, &used.pids);
    follow::own(&view.leases, &mut lease, owner, used, vram, false);
    lease
}

/// Whether what was judged may be granted.
fn grants(decision: Decision) -> bool {
    decision.fits()
}
