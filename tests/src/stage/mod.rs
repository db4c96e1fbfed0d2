//! Incidents that are staged: real processes in real cgroups do something of which the truth is known, and what a running agent
//! tells of it is compared with that truth.

mod control;
mod interrupt;
mod judge;
mod play;
mod row;
mod run;
pub mod scenario;
pub mod script;
pub mod slow;
pub mod starved;
pub mod table;
mod told;

pub use row::Row;
pub use run::{Options, run};
