//! What somebody should change, as rules over what is known now and what was in the last days: each with its evidence, what it would have
//! saved, how sure it is, its risk, and the change itself. Pure; knows neither when it is asked nor how it is shown.

mod cache;
mod change;
mod cpu;
mod disk;
pub mod document;
mod draft;
mod fill;
mod gpu;
mod isolation;
mod limit;
mod need;
mod neighbour;
mod scale;
mod server;
mod shortage;
#[cfg(test)]
pub(crate) mod stage;
mod starve;
mod swap;
mod usage;
mod watch;
#[cfg(test)]
mod world;

use crate::action::Object;
use crate::advice::{Advice, Lacking};
use crate::past::Past;
use crate::view::View;

/// A rule: what it is about, and how it is judged.
pub struct Rule {
    /// What it is called in ids, metrics and configuration: `memory_limit_raise`.
    pub name: &'static str,
    /// When it is given, in one sentence, for the documentation.
    pub when: &'static str,
    /// What is needed to know it, for the documentation.
    pub needs: &'static str,
    pub judge: fn(&Given<'_>, &mut Judged),
}

/// All of them: a file for each subject.
pub const ADVICE: &[&[Rule]] = &[
    limit::RULES,
    swap::RULES,
    cache::RULES,
    server::RULES,
    gpu::RULES,
    cpu::RULES,
    disk::RULES,
    fill::RULES,
    neighbour::RULES,
    watch::RULES,
    usage::RULES,
    scale::RULES,
    isolation::RULES,
];

/// What is known.
pub struct Given<'a> {
    pub view: &'a View,
    pub past: &'a Past,
}

/// What follows.
#[derive(Debug, Default)]
pub struct Judged {
    pub advice: Vec<Advice>,
    /// What could not be judged, and why: an answer too.
    pub lacking: Vec<Lacking>,
}

impl Judged {
    /// By all rules.
    pub fn of(given: &Given<'_>) -> Judged {
        let mut judged = Judged::default();
        for rule in ADVICE.iter().copied().flatten() {
            (rule.judge)(given, &mut judged);
        }
        judged
    }

    /// Something that a rule needs is missing; said once.
    fn lacks(&mut self, rule: &str, object: Object, missing: impl Into<String>) {
        let lacking = Lacking { rule: rule.to_owned(), object, missing: missing.into() };
        if !self.lacking.contains(&lacking) {
            self.lacking.push(lacking);
        }
    }
}
