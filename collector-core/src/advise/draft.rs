//! The beginning of an advice: its id, its risk as that of the change that fits best, and how sure it is by how long something was seen.
//! Knows no rule.

use super::Judged;
use crate::action::{Action, Object, Risk};
use crate::advice::{Advice, Confidence, id};
use crate::amount::fixed;
use crate::view::View;
use crate::view::slow::{Fact, Trail};

/// In seconds: nothing is said before something was seen for so long; from then on little, and from these on more is sure.
pub(super) const ENOUGH: f64 = 3600.0;
const SOME: f64 = 6.0 * 3600.0;
pub(super) const MUCH: f64 = 20.0 * 3600.0;

/// Facts of so many of the last nanoseconds: as far back as steps are kept.
const LATELY_NS: u64 = 180_000_000_000;

/// A fact of a workload in the last minutes.
pub(super) fn lately(view: &View, trail: &Trail, fact: Fact) -> Option<f64> {
    trail.means(fact, view.time.saturating_sub(LATELY_NS), view.time).map(|means| means.now)
}

/// An advice that has neither evidence nor confidence yet. Without an action nothing is risked.
pub(super) fn draft(rule: &'static str, object: Object, actions: Vec<Action>, title: String, why: String) -> Advice {
    Advice {
        id: id(rule, &object),
        rule: rule.to_owned(),
        risk: actions.first().map_or(Risk::Low, |action| action.risk),
        object,
        title,
        why,
        evidence: Vec::new(),
        saves: None,
        confidence: Confidence::Low,
        because: String::new(),
        actions,
    }
}

/// Whether so many seconds of it are known; if not, that is what is lacking.
pub(super) fn seen(judged: &mut Judged, rule: &str, object: Object, seconds: f64) -> bool {
    if seconds < ENOUGH {
        let minutes = (seconds / 60.0).floor();
        judged.lacks(rule, object, format!("an hour of its numbers: there are {minutes} minutes"));
    }
    seconds >= ENOUGH
}

/// By how long something was seen, and no surer than `most`; with why, as a sentence.
pub(super) fn sure(seconds: f64, most: Confidence) -> (Confidence, String) {
    let hours = fixed(seconds / 3600.0, if seconds < SOME { 1 } else { 0 });
    match seconds {
        seconds if seconds < SOME => (Confidence::Low, format!("It was seen for {hours} hours only.")),
        seconds if seconds < MUCH => {
            (most.min(Confidence::Medium), format!("It was seen for {hours} hours, less than a day."))
        }
        _ => (most, format!("It was seen for {hours} hours of the last day.")),
    }
}
