//! Counts starts: what was granted after which wait, and what was refused for what. Decides nothing.

use crate::lease::{Body, Decision, Step, Verdict};
use crate::outcome::Outcome;
use crate::tier::rare::REFUSED;
use crate::view::View;

/// The answer to a claim that does not fit.
const REFUSAL: u16 = 409;

pub(super) fn count(view: &mut View, outcomes: &[Outcome]) {
    for outcome in outcomes {
        match outcome {
            Outcome::Lease(change) if change.step == Step::Granted => {
                let lease = &change.lease;
                view.starts.granted(lease.granted.unwrap_or(lease.asked).saturating_sub(lease.asked));
            }
            Outcome::Answer(answer) if answer.status == REFUSAL => {
                if let Body::Refused { verdict: Some(verdict), .. } = &answer.body {
                    view.starts.refused(what(verdict));
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
