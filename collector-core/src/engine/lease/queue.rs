//! Who is next: by priority with age, then in the order of arrival. Nobody overtakes who came first with the same needs: what those
//! before cannot have yet is kept for them, and others go on only with what is left.

use super::evict::Plan;
use super::rank::{case, held_back, keep, tripped, wait_for};
use super::{answered, grant, grants, promised};
use crate::admission;
use crate::lease::Decision;
use crate::outcome::Outcome;
use crate::view::View;
use crate::view::lease::Waiting;

/// A reading that is late for longer than this does not come.
const UNKNOWN_NS: u64 = 30_000_000_000;

/// Grants what fits now, in order, and gives up what has waited for too long. With a plan, it also notes who might make room for the
/// others.
pub(super) fn serve(view: &mut View, mut plan: Option<&mut Plan>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    if view.leases.waiting.is_empty() {
        return outcomes;
    }
    let mut claimed = promised(view);
    for id in view.leases.queue() {
        let Some(waiting) = view.leases.waiting.get(&id) else { continue };
        let late = view.leases.now >= waiting.until;
        let own = admission::taken_up(view, &case(waiting));
        let mut judged = admission::judge(view, &case(waiting), &claimed);
        let tripped = tripped(view, &case(waiting));
        let held = held_back(view, &case(waiting), &judged.taken, &claimed);
        if let Some(why) = held.clone().filter(|_| judged.verdict.verdict.fits()) {
            (judged.verdict.verdict, judged.verdict.reason) = (Decision::Wait, why);
        }
        if let Some(wait) = &tripped {
            wait_for(&mut judged.verdict, wait);
        }
        if grants(judged.verdict.verdict) {
            if let Some(waiting) = view.leases.waiting.remove(&id) {
                judged.taken.id = Some(id);
                let Waiting { lease, number, life, used, .. } = waiting;
                let (status, body) = grant::grant(view, lease, &used, life, judged.verdict, &mut outcomes);
                outcomes.push(answered(number, status, body));
            }
            keep(&mut claimed, judged.taken, own);
        } else if late {
            outcomes.extend(grant::give_up(view, id, "there was no room in time"));
        } else if is_unknown_for_long(view, id, judged.verdict.verdict) {
            outcomes.extend(grant::give_up(view, id, "it was not known for too long whether there is room"));
        } else if !judged.hopeless && tripped.is_none() && held.is_none() {
            if let (Some(plan), Some(waiting)) = (plan.as_deref_mut(), view.leases.waiting.get(&id)) {
                plan.wait(view, id, &case(waiting), &judged, &claimed);
            }
            keep(&mut claimed, judged.taken, own);
        }
    }
    outcomes
}

/// Whether it has not been known for too long whether there is room for it. It keeps no room from others meanwhile.
fn is_unknown_for_long(view: &mut View, id: u64, verdict: Decision) -> bool {
    let now = view.leases.now;
    let Some(waiting) = view.leases.waiting.get_mut(&id) else { return false };
    waiting.unknown = (verdict == Decision::Unknown).then(|| waiting.unknown.unwrap_or(now));
    waiting.unknown.is_some_and(|since| now.saturating_sub(since) >= UNKNOWN_NS)
}
