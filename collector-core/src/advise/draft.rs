//! The beginning of an advice: its id, and its risk as that of the change that fits best. Knows no rule.

use crate::action::{Action, Object, Risk};
use crate::advice::{Advice, Confidence, id};

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
