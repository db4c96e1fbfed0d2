//! Counts starts: what was granted after which wait, and what was refused for what. Decides nothing.

use crate::lease::{Asked, Body, Decision, Request, State, Step, Verdict};
use crate::outcome::Outcome;
use crate::tier::rare::REFUSED;
use crate::view::View;

/// The answer to a claim that does not fit.
const REFUSAL: u16 = 409;

/// `request`: what these are outcomes of, if it is one.
pub(super) fn count(view: &mut View, request: Option<&Request>, outcomes: &[Outcome]) {
    for outcome in outcomes {
        match outcome {
            Outcome::Lease(change) if matches!(change.step, Step::Granted | Step::Waits) => {
                let lease = &change.lease;
                if let Some(key) = &lease.key {
                    view.starts.came_back(lease.uid, key);
                }
                // What is reserved ahead is no start: that of who takes it up is.
                if change.step == Step::Granted && lease.state != State::Planned {
                    view.starts.granted(lease.granted.unwrap_or(lease.asked).saturating_sub(lease.asked));
                }
            }
            Outcome::Answer(answer) if answer.status == REFUSAL => {
                if let Body::Refused { verdict: Some(verdict), .. } = &answer.body {
                    let of = request.filter(|request| request.number == answer.number);
                    let claim = of.and_then(|request| match &request.asked {
                        Asked::Claim { claim, .. } => Some((request.caller.uid, claim.key.as_deref()?)),
                        _ => None,
                    });
                    view.starts.refused(what(verdict), claim);
                }
            }
            _ => {}
        }
    }
}

/// What it was refused for, one of [`REFUSED`].
fn what(verdict: &Verdict) -> &'static str {
    let worst = verdict.resources.iter().find(|line| line.verdict == verdict.verdict && !line.verdict.fits());
    let resource = worst.and_then(|line| REFUSED.into_iter().find(|known| *known == line.resource));
    match (resource, verdict.verdict) {
        (_, Decision::Unknown) => "not known",
        (Some(resource), _) => resource,
        (None, _) => "held back",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::Line;

    #[test]
    fn a_refusal_is_for_its_worst_resource_or_for_what_holds_back() {
        let line = |resource: &str, verdict| Line { resource: resource.to_owned(), verdict, ..Line::default() };
        let of = |verdict, resources| what(&Verdict { verdict, resources, ..Verdict::default() });
        let lines =
            || vec![line("host memory", Decision::Yes), line("VRAM", Decision::No), line("disk", Decision::Wait)];
        assert_eq!(of(Decision::No, lines()), "VRAM");
        assert_eq!(of(Decision::Unknown, lines()), "not known");
        assert_eq!(of(Decision::Wait, vec![line("VRAM", Decision::Yes)]), "held back");
        assert_eq!(of(Decision::No, vec![line("something new", Decision::No)]), "held back");
    }
}
