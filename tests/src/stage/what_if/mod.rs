//! Pairs that are staged for `replay --what-if`: the same work with and without a change, each for real. What is said of the one from its
//! recording is compared with what happened in the other.

mod judge;
mod pair;
mod request;
mod row;
mod run;
mod table;

pub use row::Row;
pub use run::{document, run};
pub use table::{all, quick};
