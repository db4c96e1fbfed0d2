//! Whose owners are asked to give a lease up, because a claim waits for room: as many as make room, the least recently used first. Who
//! may ask whom is decided here; nobody is made to do anything.

mod give;

use std::collections::{BTreeMap, BTreeSet};

use super::told;
use crate::admission::{self, Case, Claimed, Judged};
use crate::amount;
use crate::lease::verdict::{WayKind, WayOrigin};
use crate::lease::{Decision, Eviction, Lease, State, Step, Verdict, Wanted, Way};
use crate::outcome::Outcome;
use crate::view::View;
use crate::view::lease::{Leases, Leaving, place};
use give::{Give, Short, short, wanted};

/// The host has what a lease used back within this time, in nanoseconds.
const BACK_NS: u64 = 5_000_000_000;
/// So many that ended are remembered.
const LEAVING: usize = 512;
/// Leases that a verdict names.
const NAMED: usize = 5;

/// A lease that may be asked for.
struct Candidate {
    id: u64,
    /// Its owner was asked, and may still answer.
    open: bool,
    give: Give,
}

/// What is asked of whom in one tick.
pub(super) struct Plan {
    /// In the order in which they are asked.
    candidates: Vec<Candidate>,
    /// What is about to come back.
    coming: Vec<Give>,
    picked: BTreeMap<u64, (u64, Vec<Wanted>)>,
    /// Leases that somebody still waits for.
    needed: BTreeSet<u64>,
}

/// How a claim gets its room.
struct Cover {
    /// Whose owners were asked already.
    open: Vec<usize>,
    /// Whose owners have to be asked.
    ask: Vec<usize>,
    wanted: Vec<Wanted>,
}

impl Plan {
    pub fn new(leases: &Leases) -> Plan {
        let now = leases.now;
        let mut all: Vec<&Lease> = leases.held.values().filter(|lease| lease.is_held() && lease.evictable).collect();
        // Who did not answer comes after those who were not asked yet; what is just loaded comes last.
        all.sort_by_key(|lease| {
            let times = lease.eviction.as_ref().filter(|it| !it.spared).map_or(0, |eviction| eviction.times);
            (lease.gpus.iter().any(|gpu| lease.starts_on(gpu)), times, lease.touched, lease.id)
        });
        let candidate = |lease: &Lease| Candidate {
            id: lease.id,
            open: lease.eviction.as_ref().is_some_and(|eviction| eviction.is_open(now)),
            give: Give::of(lease),
        };
        // The owner is gone just now: the driver may not have it back yet.
        let is_ending = |it: &&Lease| it.state == State::Ending && now.saturating_sub(it.touched) < BACK_NS;
        let ending = leases.held.values().filter(is_ending).map(Give::of);
        Plan {
            candidates: all.into_iter().map(candidate).collect(),
            coming: leases.leaving.iter().map(Give::left).chain(ending).collect(),
            picked: BTreeMap::new(),
            needed: BTreeSet::new(),
        }
    }

    /// A claim that waits, and is short of something.
    pub fn wait(&mut self, view: &View, claim: u64, case: &Case<'_>, judged: &Judged, claimed: &[Claimed]) {
        if self.candidates.is_empty() {
            return;
        }
        let Some(cover) = self.find(view, case, judged, claimed) else { return };
        self.needed.extend(cover.open.iter().map(|at| self.candidates[*at].id));
        for at in cover.ask {
            let candidate = &mut self.candidates[at];
            candidate.open = true;
            self.needed.insert(candidate.id);
            self.picked.insert(candidate.id, (claim, cover.wanted.clone()));
        }
    }

    /// On the GPUs that were chosen, or else on any other.
    fn find(&self, view: &View, case: &Case<'_>, judged: &Judged, claimed: &[Claimed]) -> Option<Cover> {
        let mut first = self.cover(view, case, &short(view, case, judged, claimed)?);
        if case.want.vram.len() > 1 || !case.gpus.is_empty() || first.as_ref().is_some_and(|it| it.ask.is_empty()) {
            return first;
        }
        for gpu in view.gpus.iter().filter(|_| !case.want.vram.is_empty()) {
            let named = [gpu.device.gpu.to_string()];
            let there = Case { gpus: &named, told: false, ..*case };
            let judged = admission::judge(view, &there, claimed);
            let found = short(view, &there, &judged, claimed).and_then(|short| self.cover(view, &there, &short));
            // Where somebody was asked already nobody else has to be.
            if found.as_ref().is_some_and(|found| found.ask.is_empty()) {
                return found;
            }
            first = first.or(found);
        }
        first
    }

    /// None if all that may be asked for is not enough.
    fn cover(&self, view: &View, case: &Case<'_>, short: &[Short]) -> Option<Cover> {
        let (uid, limits) = (case.caller.uid, &view.leases.limits);
        let mut left = short.to_vec();
        let may = |candidate: &Candidate| {
            view.leases.held.get(&candidate.id).is_some_and(|lease| lease.may_be_asked_by(uid, case.priority))
        };
        let is_covered = |left: &[Short]| left.iter().all(|one| one.amount == 0);
        self.coming.iter().for_each(|give| give.fill(view, uid, &mut left));
        let mut cover = Cover { open: Vec::new(), ask: Vec::new(), wanted: wanted(short) };
        let mut possible = 0;
        for (at, candidate) in self.candidates.iter().enumerate() {
            let may = may(candidate) && candidate.give.helps(view, uid, short);
            possible += usize::from(may);
            if candidate.open && !is_covered(&left) {
                candidate.give.fill(view, uid, &mut left);
                cover.open.extend(may.then_some(at));
            }
        }
        if is_covered(&left) {
            return Some(cover);
        }
        let least = limits.evict_least.max(possible.checked_div(limits.evict_part).unwrap_or(0));
        for (at, candidate) in self.candidates.iter().enumerate().filter(|(_, it)| !it.open && may(it)) {
            let enough = is_covered(&left);
            if enough && cover.ask.len() >= least {
                break;
            }
            if candidate.give.helps(view, uid, if enough { short } else { &left }) {
                candidate.give.fill(view, uid, &mut left);
                cover.ask.push(at);
            }
        }
        is_covered(&left).then_some(cover)
    }

    /// Asks those who are to be asked, and tells those who no longer are.
    pub fn ask(self, view: &mut View) -> Vec<Outcome> {
        let (now, time) = (view.leases.now, view.time);
        let mut outcomes = Vec::new();
        for (id, (claim, wanted)) in &self.picked {
            let View { leases, .. } = view;
            let Some(lease) = leases.held.get_mut(id) else { continue };
            let before = lease.eviction.take().filter(|eviction| !eviction.spared);
            let times = before.map_or(0, |eviction| eviction.times).saturating_add(1);
            let (until, deadline) =
                (now.saturating_add(leases.limits.evict_ns), time.saturating_add(leases.limits.evict_ns));
            let (claim, wanted) = (*claim, wanted.clone());
            let what = wanted.iter().map(said).collect::<Vec<_>>().join(" and ");
            lease.eviction = Some(Eviction { asked: now, until, deadline, times, claim, wanted, spared: false });
            match times {
                1 => leases.evictions.asked += 1,
                _ => leases.evictions.repeated += 1,
            }
            let lease = lease.clone();
            let again = if times > 1 { format!(", for the {times}. time") } else { String::new() };
            let sentence = format!(
                "user {} is asked to give up reservation {id}{again}: a claim that waits is short of {what}",
                lease.uid
            );
            outcomes.push(told(view, Step::Asked, &lease, sentence));
        }
        outcomes.extend(self.spare(view));
        outcomes
    }

    fn spare(&self, view: &mut View) -> Vec<Outcome> {
        let waits = |leases: &Leases, lease: &Lease| {
            let eviction = lease.eviction.as_ref().filter(|eviction| !eviction.spared);
            // After a restart the claim that it was asked for may come back.
            let returns = |claim: u64| claim == 0 && leases.now < leases.places_until;
            eviction.map(|it| {
                self.needed.contains(&lease.id) || leases.waiting.contains_key(&it.claim) || returns(it.claim)
            })
        };
        let leases = &view.leases;
        let over = leases.held.values().filter(|lease| waits(leases, lease) == Some(false)).map(|lease| lease.id);
        let over: Vec<u64> = over.collect();
        let mut outcomes = Vec::new();
        for id in over {
            let Some(lease) = view.leases.held.get_mut(&id) else { continue };
            if let Some(eviction) = &mut lease.eviction {
                eviction.spared = true;
            }
            let lease = lease.clone();
            view.leases.evictions.spared += 1;
            let sentence = format!("reservation {id} need not be given up any more: nobody waits for it");
            outcomes.push(told(view, Step::Spared, &lease, sentence));
        }
        outcomes
    }
}

fn said(wanted: &Wanted) -> String {
    match (wanted.resource.as_str(), &wanted.of) {
        ("VRAM", Some(gpu)) => format!("{} of GPU {gpu}", amount::bytes(wanted.amount)),
        ("slot", Some(name)) => format!("{} of slot {name}", wanted.amount),
        (resource, _) => format!("{} of {resource}", amount::bytes(wanted.amount)),
    }
}

/// Adds to a verdict which leases can be given up for it: then it is worth waiting.
pub(super) fn tell(view: &View, case: &Case<'_>, judged: &mut Judged, claimed: &[Claimed]) {
    if judged.verdict.verdict.fits() || !view.leases.held.values().any(|lease| lease.evictable) {
        return;
    }
    let plan = Plan::new(&view.leases);
    let Some(cover) = plan.find(view, case, judged, claimed) else { return };
    let id = |at: &usize| plan.candidates[*at].id;
    let open = cover.open.iter().map(|at| {
        let id = id(at);
        way(id, format!("the owner of reservation {id} was asked to give it up"))
    });
    let ask = cover.ask.iter().map(|at| {
        let id = id(at);
        way(id, format!("reservation {id} can be given up: its owner is asked once a claim waits for that (--wait)"))
    });
    let mut ways: Vec<Way> = open.chain(ask).take(NAMED).collect();
    let verdict: &mut Verdict = &mut judged.verdict;
    for way in &mut ways {
        let known = |other: &&Way| other.kind == WayKind::Evictable && other.id == way.id;
        if let Some(Way { amount, workload, .. }) = verdict.room.iter().find(known) {
            (way.amount, way.workload) = (*amount, workload.clone());
        }
    }
    // What can be had is said once.
    verdict.room.retain(|way| way.kind != WayKind::Evictable || ways.iter().all(|other| other.id != way.id));
    verdict.room.splice(0..0, ways);
    if verdict.verdict == Decision::No {
        verdict.verdict = Decision::Wait;
    }
}

fn way(id: u64, sentence: String) -> Way {
    Way { kind: WayKind::Evictable, origin: WayOrigin::Reserved, id: Some(id), ..Way::said(sentence) }
}

/// A lease has ended. What it used may not be back yet: nobody else is asked for it meanwhile.
pub(super) fn ended(leases: &mut Leases, lease: &Lease) {
    leases.evictions.ended += u64::from(lease.eviction.as_ref().is_some_and(|eviction| !eviction.spared));
    let used = lease.burned();
    if leases.leaving.len() < LEAVING && lease.granted.is_some() && !used.is_nothing() {
        let cgroup = place(lease).map(str::to_owned);
        leases.leaving.push(Leaving { until: leases.now.saturating_add(BACK_NS), cgroup, used });
    }
}

/// At a tick: what came back by now, and claims of before a restart that did not.
pub(super) fn forget(leases: &mut Leases) {
    let now = leases.now;
    leases.leaving.retain(|leaving| now < leaving.until);
    if now >= leases.places_until {
        leases.places.clear();
    }
}
