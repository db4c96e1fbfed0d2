//! What the configuration reserves ahead: the tables, and what became of the next occasion of each. Decides nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::schedule::{Entry, MOST, Schedule};

/// Identifies one occurrence of a reservation: its begin in wall-clock time (nanoseconds since the Unix epoch), the user and the unit.
pub(crate) type Key = (u64, u32, String);

#[derive(Clone, Debug, Default)]
pub struct Scheduling {
    pub schedule: Arc<Schedule>,
    /// Of each entry, in their order; none before the first look.
    pub next: Vec<Next>,
    /// Occasions that were made, until two days after their begin: none is made twice. After a restart of the agent only those are known
    /// of which there is a lease.
    pub(crate) made: BTreeSet<Key>,
    /// Occurrences whose refusal was reported.
    pub(crate) refused: BTreeSet<Key>,
    /// Recompute at the next tick: the entries changed, or a reservation made for one ended.
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
    /// It was taken up or released: it is not made again. Until the agent restarts: then one that was released before its begin is made
    /// again.
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
            self.refused.clear();
        }
        self.schedule = Arc::new(schedule);
    }

    /// The entries, each with its next occasion, if that was looked at already.
    pub fn iter(&self) -> impl Iterator<Item = (&Entry, Option<&Next>)> {
        let next = self.next.iter().map(Some).chain(std::iter::repeat(None));
        self.schedule.entries.iter().zip(next)
    }
}
