//! What the configuration reserves ahead: the tables, and what became of the next occasion of each. Decides nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::schedule::{Entry, MOST, Schedule};

/// One occasion: when it begins by the clock on the wall, and whose it is.
pub(crate) type Key = (u64, u32, String);

#[derive(Clone, Debug, Default)]
pub struct Scheduling {
    pub schedule: Arc<Schedule>,
    /// Of each entry, in their order; none before the first look.
    pub next: Vec<Next>,
    /// Occasions that were made, until a day after their begin: none is made twice.
    pub(crate) made: BTreeSet<Key>,
    /// Of which it was said that they do not fit.
    pub(crate) refused: BTreeSet<Key>,
    /// The entries are other ones since the last look, or a reservation that was made has ended.
    pub(crate) changed: bool,
    /// When it was last looked at, in nanoseconds since the Unix epoch.
    pub(crate) looked: u64,
}

/// The next occasion of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// By the clock on the wall, in nanoseconds since the Unix epoch; none if there is none within a week.
    pub begins: Option<u64>,
    pub state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is made a day ahead.
    Later,
    /// By the lease with this id.
    Reserved(u64),
    /// It was taken up, or given back: it is not made again.
    Over,
    /// There is no room for it, for this reason. It is tried again until it begins.
    Refused(String),
}

impl State {
    /// In the order of the variants.
    pub const LABELS: [&'static str; 4] = ["later", "reserved", "over", "refused"];

    pub fn label(&self) -> &'static str {
        let at = match self {
            State::Later => 0,
            State::Reserved(_) => 1,
            State::Over => 2,
            State::Refused(_) => 3,
        };
        State::LABELS[at]
    }
}

impl Scheduling {
    pub(crate) fn replace(&mut self, schedule: &Schedule) {
        let mut schedule = schedule.clone();
        schedule.entries.truncate(MOST);
        if self.schedule.entries != schedule.entries || self.looked == 0 {
            self.changed = true;
            self.next.clear();
        }
        self.schedule = Arc::new(schedule);
    }

    /// The entries, each with its next occasion, if that was looked at already.
    pub fn iter(&self) -> impl Iterator<Item = (&Entry, Option<&Next>)> {
        let next = self.next.iter().map(Some).chain(std::iter::repeat(None));
        self.schedule.entries.iter().zip(next)
    }
}
