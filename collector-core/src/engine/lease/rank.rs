//! Who comes before a claim, and what holds it back although there is room: those who wait already, the level, its unit's failures.
//! Knows nobody who is granted anything.

use super::promised;
use crate::admission::{self, Case, Claimed};
use crate::breaker;
use crate::lease::{Decision, Priority, Verdict};
use crate::view::View;
use crate::view::lease::{EARLY_NS, Waiting};
use crate::view::level::Standing;

pub(super) fn case(waiting: &Waiting) -> Case<'_> {
    let Waiting { lease, caller, .. } = waiting;
    let unit = lease.unit.as_deref();
    let lasts = waiting.life;
    Case { want: &lease.want, priority: lease.priority, gpus: &lease.gpus, caller, unit, lasts, told: false }
}

/// What is promised, and what those keep who wait and come before somebody new; and their number. Who takes up what was reserved ahead
/// comes first, and waits only for others who do: the rest may be short for nothing but that reservation.
pub(super) fn ahead(view: &View, new: &Case<'_>) -> (Vec<Claimed>, u64) {
    let least = u64::from(u8::from(new.priority));
    let due = admission::taken_up(view, new).is_some();
    let is_due = |waiting: &Waiting| admission::taken_up(view, &case(waiting)).is_some();
    until(view, |waiting| (due || view.leases.rank(&waiting.lease) < least) && !is_due(waiting))
}

/// The same of those that come before a claim that waits.
pub(super) fn before(view: &View, id: u64) -> (Vec<Claimed>, u64) {
    until(view, |waiting| waiting.lease.id == id)
}

fn until(view: &View, ends: impl Fn(&Waiting) -> bool) -> (Vec<Claimed>, u64) {
    let mut claimed = promised(view);
    let mut count = 0;
    for id in view.leases.queue() {
        let Some(waiting) = view.leases.waiting.get(&id) else { continue };
        if ends(waiting) {
            break;
        }
        let judged = admission::judge(view, &case(waiting), &claimed);
        let held = held_back(view, &case(waiting), &judged.taken, &claimed);
        if !judged.hopeless && tripped(view, &case(waiting)).is_none() && held.is_none() {
            keep(&mut claimed, judged.taken, admission::taken_up(view, &case(waiting)));
            count += 1;
        }
    }
    (claimed, count)
}

/// What one takes is kept for it, in place of what was reserved ahead for it.
pub(super) fn keep(claimed: &mut Vec<Claimed>, taken: Claimed, own: Option<u64>) {
    if own.is_some() {
        claimed.retain(|one| one.id != own);
    }
    claimed.push(taken);
}

/// Adds to a verdict who comes first, and what the level says.
pub(super) fn tell(view: &View, case: &Case<'_>, verdict: &mut Verdict, ahead: u64) {
    let taken = Claimed::new(case, &verdict.gpus);
    if let Some(why) = held_back(view, case, &taken, &promised(view)).filter(|_| verdict.verdict.fits()) {
        (verdict.verdict, verdict.reason) = (Decision::Wait, why);
    }
    if let Some(wait) = tripped(view, case).filter(|_| verdict.verdict.fits() || verdict.verdict == Decision::Wait) {
        wait_for(verdict, &wait);
    }
    if ahead > 0 && !verdict.verdict.fits() {
        verdict.ahead = Some(ahead);
        // Room that is kept for those before comes free when they have had it.
        let short = verdict.resources.iter().any(|line| line.verdict == Decision::No);
        if short
            && verdict.verdict == Decision::No
            && admission::judge(view, case, &promised(view)).verdict.verdict.fits()
        {
            verdict.verdict = Decision::Wait;
            verdict.reason = format!("{ahead} claims wait already, and come first");
        }
    }
}

/// Why this unit may not start now. Who waits for that keeps no room from others meanwhile: it may fail again.
pub(super) fn tripped(view: &View, case: &Case<'_>) -> Option<breaker::Wait> {
    let leases = &view.leases;
    breaker::check(&view.circuits, leases.now, case.caller.uid, case.unit?, leases.limits.starts)
}

pub(super) fn wait_for(verdict: &mut Verdict, wait: &breaker::Wait) {
    (verdict.verdict, verdict.reason) = (Decision::Wait, wait.why.clone());
    verdict.retry_after_seconds = verdict.retry_after_seconds.max(Some(wait.seconds));
}

/// Why nothing of this priority starts now, whatever is free: the level of the host, or of a GPU that it would have. Where the level is
/// not known, what is known of it holds back all the same.
///
/// And what the caller's share leaves: what is claimed before counts, so that nobody gets more by waiting than at once, and keeps no room
/// from others with claims that it could not have together.
pub(super) fn held_back(view: &View, case: &Case<'_>, taken: &Claimed, claimed: &[Claimed]) -> Option<String> {
    let above = || above_target(view, case, claimed);
    over_share(view, case, claimed).or_else(|| too_low(view, case.priority, taken)).or_else(above)
}

/// Above the target for hosts of this size the two lowest priorities wait. What was reserved ahead counts once it may be taken up.
fn above_target(view: &View, case: &Case<'_>, claimed: &[Claimed]) -> Option<String> {
    let soon = |one: &&Claimed| one.begins.is_none_or(|begins| begins <= EARLY_NS);
    let promised = || {
        let concerning = admission::concerning(view, case, claimed);
        concerning.iter().filter(soon).fold(0_u64, |sum, one| sum.saturating_add(one.hard))
    };
    let why = if case.priority < Priority::Normal { view.above_target(promised()) } else { None };
    Some(format!("{}: only work of priority {} and above starts", why?, Priority::Normal))
}

fn over_share(view: &View, case: &Case<'_>, claimed: &[Claimed]) -> Option<String> {
    let (limits, uid) = (&view.leases.limits, case.caller.uid);
    if case.caller.privileged {
        return None;
    }
    // What was made ahead for the user counts once it is taken up.
    let mine = || claimed.iter().filter(|one| one.uid == uid && one.begins.is_none());
    if mine().count() >= limits.leases {
        return Some(format!("user {uid} has as many reservations as admission.user_reservations allows"));
    }
    let hard = mine().fold(case.want.hard.peak, |sum, one| sum.saturating_add(one.hard));
    let total = view.host.memory()?.total;
    (case.want.hard.peak > 0 && hard > total / 100 * limits.share)
        .then(|| format!("user {uid} may keep {} % of this host's memory free (admission.user_share)", limits.share))
}

fn too_low(view: &View, priority: Priority, taken: &Claimed) -> Option<String> {
    let too_low = |standing: &Standing| u8::from(priority) < standing.at_least.least_priority();
    let says = |what: &str, standing: &Standing| {
        let level = standing.at_least;
        let least = Priority::at_most_critical(level.least_priority().into());
        format!(
            "{what} is at level {} ({}): only work of priority {least} and above starts",
            level.number(),
            level.name()
        )
    };
    if too_low(&view.level.host) {
        return Some(says("this host", &view.level.host));
    }
    let mut gpus = view.gpus.iter().filter(|gpu| taken.vram.contains_key(&*gpu.device.gpu));
    gpus.find_map(|gpu| {
        let standing = &view.level.gpus.get(&gpu.device.uuid)?.standing;
        too_low(standing).then(|| says(&format!("GPU {}", gpu.device.gpu), standing))
    })
}
