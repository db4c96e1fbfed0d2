//! How a claim ends: it is granted, it does not fit, or it has waited for too long. Knows neither the order nor who may claim.

use super::{answered, evict, granted, plan, rank, told, work};
use crate::admission::{self, Case};
use crate::breaker;
use crate::lease::{Body, Decision, Granted, Lease, Step, Use, Verdict};
use crate::outcome::Outcome;
use crate::view::{View, reservation};

/// A claim that does not fit, with the numbers.
pub(super) fn short(verdict: Verdict) -> (u16, Body) {
    (409, Body::Refused { detail: verdict.reason.clone(), verdict: Some(Box::new(verdict)) })
}

pub(super) fn grant(
    view: &mut View,
    lease: Lease,
    used: &Use,
    life: Option<u64>,
    verdict: Verdict,
    outcomes: &mut Vec<Outcome>,
) -> (u16, Body) {
    let mut lease = granted(view, lease, verdict.gpus.clone(), used, life);
    let planned = plan::taken_up(view, &lease);
    // Kept on disk, so that after a restart this occurrence is not reserved again.
    lease.occasion = planned.as_ref().and_then(|planned| planned.occasion.clone());
    let sentence = format!(
        "reservation {} for user {}: {}, owned by {}",
        lease.id,
        lease.uid,
        reservation::wanted(&lease),
        reservation::owner(&lease.owner)
    );
    outcomes.push(told(view, Step::Granted, &lease, sentence));
    if let Some(unit) = &lease.unit {
        breaker::started(&mut view.circuits, view.leases.now, lease.uid, unit, lease.id);
    }
    let granted = Granted { id: lease.id, gpus: lease.gpus.clone(), owner: lease.owner.clone(), verdict };
    work::begin(view, &lease, false);
    if let Some(planned) = planned {
        let sentence = format!("reservation {} was taken up by reservation {}", planned.id, lease.id);
        outcomes.push(told(view, Step::Ended, &planned, sentence));
    }
    view.leases.held.insert(lease.id, lease);
    (201, Body::Granted(granted))
}

/// Who waits no longer: the time is over, or the owner has gone.
pub(super) fn give_up(view: &mut View, id: u64, why: &str) -> Vec<Outcome> {
    // Those before it, however old they are, and nobody else.
    let (claimed, ahead) = rank::before(view, id);
    let Some(waiting) = view.leases.waiting.remove(&id) else { return Vec::new() };
    let lease = &waiting.lease;
    let case = Case { told: true, ..rank::case(&waiting) };
    let mut judged = admission::judge(view, &case, &claimed);
    evict::tell(view, &case, &mut judged, &claimed);
    let mut verdict = judged.verdict;
    rank::tell(view, &case, &mut verdict, ahead);
    // It is told as it was all the time: room that came just now belongs to the next.
    if verdict.verdict.fits() {
        (verdict.verdict, verdict.reason) = (Decision::Wait, why.to_owned());
    }
    let sentence = format!("a claim of user {} was given up: {why}", lease.uid);
    let (status, body) = short(verdict);
    vec![told(view, Step::Withdrawn, lease, sentence), answered(waiting.number, status, body)]
}
