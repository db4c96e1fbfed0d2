//! Claims: who may claim how much, what is granted at once, and what waits.

use super::grant::{grant, short};
use super::{evict, follow, grants, plan, promised, rank, refused, told, too_high, work};
use crate::admission::{self, Case};
use crate::amount;
use crate::lease::{Body, Caller, Claim, Granted, Lease, Owner, Spent, State, Step, Use, Verdict, Want};
use crate::outcome::Outcome;
use crate::view::View;
use crate::view::lease::Waiting;

const SECOND: u64 = 1_000_000_000;
/// Leases, and claims that wait, of all users.
const LEASES: usize = 4096;
const WAITING: usize = 512;
const SPARE: usize = 64;

/// The answer, unless it waits.
pub(super) fn claim(
    view: &mut View,
    number: u64,
    caller: &Caller,
    claim: &Claim,
    (owner, used): (Owner, Use),
    outcomes: &mut Vec<Outcome>,
) -> Option<(u16, Body)> {
    if let Err(why) = claim.check() {
        return Some(refused(400, why));
    }
    if let Some(why) = too_high(caller, claim.priority) {
        return Some(refused(403, why));
    }
    if claim.anyone && !caller.privileged {
        return Some(refused(403, "only root may let anybody ask for a reservation: claim it as evictable"));
    }
    if claim.begins_in_seconds.is_some() && !caller.privileged {
        return Some(refused(403, "only root may reserve ahead: claim it when it starts"));
    }
    if let Some(found) = claim.key.as_deref().and_then(|key| again(view, number, caller, key)) {
        return found;
    }
    let (need, lesson) = work::taught(view, caller.uid, &claim.need, claim.work.as_deref(), &claim.gpus);
    let want = Want::of(&need);
    // A guard of a unit whose need nobody knows: its failures and starts count, and the level does.
    if want.is_nothing() && claim.unit.is_none() && !need.unknown {
        return Some(refused(400, "a claim of nothing: the need has no parts"));
    }
    let life = claim.seconds.map(|seconds| seconds.saturating_mul(SECOND));
    if let Some(why) = too_much(view, caller, &want) {
        return Some(why);
    }
    if let (Some(ahead), Some(life)) = (claim.begins_in_seconds, life) {
        let lease = Lease { want, ..lease(view, number, caller, claim, owner) };
        return Some(plan::plan(view, lease, ahead.saturating_mul(SECOND), life, outcomes));
    }
    let case = Case {
        want: &want,
        priority: claim.priority,
        gpus: &claim.gpus,
        caller,
        unit: claim.unit.as_deref(),
        lasts: life,
        told: true,
    };
    let (claimed, ahead) = rank::ahead(view, &case);
    let mut judged = admission::judge_need(view, &need, &case, &claimed);
    judged.verdict.learned = lesson;
    evict::tell(view, &case, &mut judged, &claimed);
    rank::tell(view, &case, &mut judged.verdict, ahead);
    view.leases.count(judged.verdict.verdict, claim.priority);
    let now = view.leases.now;
    let mut lease = Lease { want: want.clone(), ..lease(view, number, caller, claim, owner) };
    // Whoever waited when the agent last ran goes on in its place.
    if let Some(asked) = claim.key.as_ref().and_then(|key| view.leases.places.remove(&(caller.uid, key.clone()))) {
        lease.asked = asked;
    }
    if grants(judged.verdict.verdict) {
        lease.id = view.leases.next_id();
        work::expect(&mut view.leases, lease.id, caller.uid, claim.work.as_deref());
        return Some(grant(view, lease, &used, life, judged.verdict, outcomes));
    }
    match claim.wait_seconds {
        Some(seconds @ 1..) if !judged.hopeless || judged.late => {
            lease.id = view.leases.next_id();
            work::expect(&mut view.leases, lease.id, caller.uid, claim.work.as_deref());
            let until = now.saturating_add(seconds.saturating_mul(SECOND));
            let sentence = format!("a claim of user {} waits: {}", lease.uid, judged.verdict.reason);
            outcomes.push(told(view, Step::Waits, &lease, sentence));
            let waiting = Waiting { lease, number, until, life, caller: caller.clone(), used, unknown: None };
            view.leases.waiting.insert(waiting.lease.id, waiting);
            None
        }
        _ => Some(short(judged.verdict)),
    }
}

/// What a claim asks for. It has no number yet.
pub(super) fn lease(view: &View, number: u64, caller: &Caller, claim: &Claim, owner: Owner) -> Lease {
    let now = view.leases.now;
    Lease {
        id: 0,
        state: State::Waiting,
        uid: caller.uid,
        owner,
        cgroup: caller.cgroup.clone(),
        want: Want::of(&claim.need),
        gpus: claim.gpus.clone(),
        priority: claim.priority,
        unit: claim.unit.clone(),
        evictable: claim.evictable || claim.anyone,
        anyone: claim.anyone,
        eviction: None,
        key: claim.key.clone(),
        asked: now,
        granted: None,
        expires: None,
        begins: None,
        occasion: None,
        touched: now,
        base: Spent::default(),
        spent: Spent::default(),
        most: Spent::default(),
        orphans: Vec::new(),
        pids: Vec::new(),
        seen: Spent::default(),
        before: Vec::new(),
        learns: claim.work.is_some() && view.leases.limits.learn_ns > 0,
        number: Some(number),
    }
}

/// A claim that is repeated: what became of the first.
fn again(view: &mut View, number: u64, caller: &Caller, key: &str) -> Option<Option<(u16, Body)>> {
    let found = view.leases.keyed(caller.uid, key)?.clone();
    if let Some(waiting) = view.leases.waiting.get_mut(&found.id) {
        // Who asked first has gone, or gets no answer any more.
        (waiting.number, waiting.lease.number) = (number, Some(number));
        return Some(None);
    }
    if let Some(lease) = view.leases.held.get_mut(&found.id) {
        lease.number = Some(number);
    }
    let reason = "it was granted before, to a claim with the same key".to_owned();
    let verdict =
        Verdict { verdict: crate::lease::Decision::Yes, reason, gpus: found.gpus.clone(), ..Verdict::default() };
    let granted = Granted { id: found.id, gpus: found.gpus, owner: found.owner, verdict };
    Some(Some((201, Body::Granted(granted))))
}

/// Who has leased or asked for more than a user may.
fn too_much(view: &View, caller: &Caller, want: &Want) -> Option<(u16, Body)> {
    let leases = &view.leases;
    let [held, waiting] = leases.of(caller.uid);
    let limits = &leases.limits;
    // Users together leave room for root.
    let spare = if caller.privileged { 0 } else { SPARE };
    if leases.held.len() >= LEASES - spare || leases.waiting.len() >= WAITING - spare {
        return Some(refused(503, "there are too many reservations on this host"));
    }
    if caller.privileged {
        return None;
    }
    if waiting >= limits.waiting {
        return Some(refused(429, format!("{waiting} claims of user {} wait already", caller.uid)));
    }
    if held >= limits.leases {
        return Some(refused(429, format!("user {} has {held} reservations already", caller.uid)));
    }
    let total = view.host.memory()?.total;
    let most = total / 100 * limits.share;
    // What root reserved ahead for the user counts once it is taken up.
    let mine = promised(view).into_iter().filter(|one| one.uid == caller.uid && one.begins.is_none());
    let kept = mine.fold(0_u64, |sum, one| sum.saturating_add(one.hard));
    (kept.saturating_add(want.hard.peak) > most).then(|| {
        // What would fit alone is worth asking for again.
        let status = if want.hard.peak > most { 403 } else { 429 };
        let (share, most) = (limits.share, amount::bytes(most));
        refused(
            status,
            format!(
                "user {} may keep {share} % of this host's memory free ({most}, admission.user_share): {} are kept, and {} were asked for",
                caller.uid,
                amount::bytes(kept),
                amount::bytes(want.hard.peak)
            ),
        )
    })
}

/// Who asked has gone: what waits for it waits no more, and what it was granted is free.
pub(super) fn withdraw(view: &mut View, caller: &Caller, number: u64, outcomes: &mut Vec<Outcome>) {
    let mine = |lease: &Lease| lease.number == Some(number) && lease.uid == caller.uid;
    let leases = &mut view.leases;
    let waiting = leases.waiting.values().find(|waiting| mine(&waiting.lease)).map(|waiting| waiting.lease.id);
    let held = leases.held.values().find(|lease| mine(lease)).map(|lease| lease.id);
    let gone = waiting.and_then(|id| leases.waiting.remove(&id)).map(|waiting| waiting.lease);
    let gone = gone.or_else(|| held.and_then(|id| follow::remove(leases, id)));
    if let Some(lease) = gone {
        let sentence = format!("a claim of user {} was withdrawn: who asked has gone", lease.uid);
        outcomes.push(told(view, Step::Withdrawn, &lease, sentence));
    }
}
