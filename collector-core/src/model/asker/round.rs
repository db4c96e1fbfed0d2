//! [`Round`]: what came of one round so far.

use std::sync::Arc;

use crate::model::get::Get;
use crate::statistic::model::{Model, State};
use crate::text;

/// The longest reason, in bytes.
pub(super) const WHY: usize = 200;
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub now: u64,
    /// Last first.
    pub todo: Vec<Get>,
    pub asked: Option<Get>,
    pub state: State,
    /// An answer decided the state.
    pub decided: bool,
    pub why: Option<String>,
    pub models: Vec<Model>,
}

impl Round {
    pub fn new(now: u64) -> Round {
        Round {
            now,
            todo: Vec::new(),
            asked: None,
            state: State::Failed,
            decided: false,
            why: None,
            models: Vec::new(),
        }
    }

    pub fn decide(&mut self, state: State) {
        (self.state, self.decided) = (state, true);
    }

    pub fn settle(&mut self, state: State, why: &str) {
        self.decide(state);
        self.why = Some(why.to_owned());
    }
}

/// For people: at most [`WHY`] bytes, all of which can be shown.
pub(super) fn cut(why: &str) -> Arc<str> {
    let why = text::shown(&why[..why.floor_char_boundary(WHY)]);
    why[..why.floor_char_boundary(WHY)].into()
}
