//! Incidents that are staged: real processes in real cgroups do something of which the truth is known, and what a running agent
//! tells of it is compared with that truth.

mod attempt;
mod control;
mod interrupt;
mod judge;
mod play;
mod row;
mod run;
pub mod scenario;
pub mod script;
pub mod served;
pub mod slow;
pub mod starved;
pub mod table;
mod told;
pub mod what_if;

/// The programs that scenarios start; only the tests know where they are.
#[derive(Clone, Copy, Debug)]
pub struct Programs<'a> {
    pub provoke: &'a str,
    pub serve: &'a str,
}

pub use row::Row;
pub use run::{Options, run, seed};
