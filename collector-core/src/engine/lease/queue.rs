//! Who is next: by priority with age, then in the order of arrival. Nobody overtakes who came first with the same needs: what those
//! before cannot have yet is kept for them, and others go on only with what is left.

use super::{answered, claim, grants, promised};
use crate::admission::{self, Case, Claimed};
use crate::lease::{Decision, Priority, Verdict};
use crate::outcome::Outcome;
use crate::view::View;
use crate::view::lease::Waiting;

/// Grants what fits now, in order, and gives up what has waited for too long.
pub(super) fn serve(view: &mut View) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    if view.leases.waiting.is_empty() {
        return outcomes;
    }
    let mut claimed = promised(view);
    for id in view.leases.queue() {
        let Some(waiting) = view.leases.waiting.get(&id) else { continue };
        let late = view.leases.now >= waiting.until;
        let mut judged = admission::judge(view, &case(waiting), &claimed);
        if let Some(why) = held_back(view, waiting.lease.priority, &judged.taken) {
            (judged.verdict.verdict, judged.verdict.reason) = (Decision::Wait, why);
        }
        if grants(judged.verdict.verdict) {
            if let Some(waiting) = view.leases.waiting.remove(&id) {
                judged.taken.id = Some(id);
                let Waiting { lease, number, life, used, .. } = waiting;
                let (status, body) = claim::grant(view, lease, &used, life, judged.verdict, &mut outcomes);
                outcomes.push(answered(number, status, body));
            }
            claimed.push(judged.taken);
        } else if late {
            outcomes.extend(claim::give_up(view, id, "there was no room in time"));
        } else if !judged.hopeless {
            claimed.push(judged.taken);
        }
    }
    outcomes
}

fn case(waiting: &Waiting) -> Case<'_> {
    let Waiting { lease, caller, .. } = waiting;
    Case { want: &lease.want, priority: lease.priority, gpus: &lease.gpus, caller, told: false }
}

/// What is promised, and what those keep who wait and come before somebody new of this priority; and their number.
pub(super) fn ahead(view: &View, priority: Priority) -> (Vec<Claimed>, u64) {
    let mut claimed = promised(view);
    let mut count = 0;
    for id in view.leases.queue() {
        let Some(waiting) = view.leases.waiting.get(&id) else { continue };
        if view.leases.rank(&waiting.lease) < u64::from(u8::from(priority)) {
            break;
        }
        let judged = admission::judge(view, &case(waiting), &claimed);
        if !judged.hopeless {
            claimed.push(judged.taken);
            count += 1;
        }
    }
    (claimed, count)
}

/// Adds to a verdict who comes first, and what the level says.
pub(super) fn tell(view: &View, case: &Case<'_>, verdict: &mut Verdict, ahead: u64) {
    let taken = Claimed::new(case, &verdict.gpus);
    if let Some(why) = held_back(view, case.priority, &taken).filter(|_| verdict.verdict.fits()) {
        (verdict.verdict, verdict.reason) = (Decision::Wait, why);
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

/// Why nothing of this priority starts now, whatever is free.
fn held_back(_view: &View, _priority: Priority, _taken: &Claimed) -> Option<String> {
    None
}
