//! What a check has found so far, and what is listed of it. Knows no check.

use std::collections::BTreeMap;

use super::Check;
use crate::action::Object;
use crate::advice::Evidence;
use crate::audit::{Audited, Failure, State, Unknown};
use crate::view::View;
use crate::view::workload::Workload;

/// Most that is listed of what fails, and of what is not known; and most of these of whoever makes the cgroups.
const LISTED: usize = 20;
const OF_OWNER: usize = 10;

#[derive(Debug, Default)]
pub struct Found {
    holds: u32,
    /// What is said if all holds.
    says: Option<String>,
    fails: Vec<Failure>,
    not_known: Vec<Unknown>,
}

pub fn object(workload: &Workload) -> Object {
    Object::Workload(workload.name.to_string())
}

impl Found {
    /// It holds for one more.
    pub fn holds(&mut self) {
        self.holds += 1;
    }

    /// It holds, and this says it better than a count.
    pub fn says(&mut self, sentence: String) {
        self.holds += 1;
        self.says = Some(sentence);
    }

    pub fn fails(&mut self, object: Object, is: String, next: impl Into<String>, evidence: Vec<Evidence>) {
        self.fails.push(Failure { object, is, next: next.into(), evidence });
    }

    pub fn lacks(&mut self, object: Object, missing: impl Into<String>) {
        self.not_known.push(Unknown { object, missing: missing.into() });
    }

    pub fn has_failed(&self) -> bool {
        !self.fails.is_empty()
    }

    pub fn audited(self, check: &Check, view: &View) -> Audited {
        let Found { holds, says, mut fails, mut not_known } = self;
        fails.sort_by(|one, other| one.object.cmp(&other.object));
        not_known.sort_by(|one, other| one.object.cmp(&other.object));
        let state = match (fails.is_empty(), not_known.is_empty(), holds) {
            (false, ..) => State::Fails,
            (true, false, _) => State::NotKnown,
            (true, true, 0) => State::Unused,
            (true, true, _) => State::Holds,
        };
        let more = |count: usize| if count > 1 { format!(" And {} more.", count - 1) } else { String::new() };
        let is = match state {
            State::Fails => fails.first().map(|first| first.is.clone() + &more(fails.len())).unwrap_or_default(),
            State::NotKnown => {
                let first = not_known.first().map(|first| format!("Not known: {}.", first.missing));
                first.unwrap_or_default() + &more(not_known.len())
            }
            State::Unused => check.unused.to_owned(),
            State::Holds => says.unwrap_or_else(|| match holds {
                1 => format!("{} This is so for one workload.", check.holds),
                more => format!("{} This is so for {more} workloads.", check.holds),
            }),
        };
        let all = fails.len() + not_known.len();
        list(&mut fails, view, |failure| &failure.object);
        list(&mut not_known, view, |unknown| &unknown.object);
        let left_out = u32::try_from(all - fails.len() - not_known.len()).unwrap_or(u32::MAX);
        Audited { check: check.name.to_owned(), state, is, holds, fails, not_known, left_out }
    }
}

/// Leaves what there is room for: a user's cgroups hide nobody else's.
fn list<T>(all: &mut Vec<T>, view: &View, object: impl Fn(&T) -> &Object) {
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    all.retain(|one| {
        let Object::Workload(name) = object(one) else { return true };
        let owner = view.workloads.find(name).and_then(|workload| workload.identity.owner.as_deref());
        let Some(owner) = owner else { return true };
        let count = taken.entry(owner.to_owned()).or_default();
        *count += 1;
        *count <= OF_OWNER
    });
    all.truncate(LISTED);
}
