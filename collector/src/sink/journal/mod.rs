//! The journal: alerts, incidents and other events in a SQLite file, and which receiver has which alert.
//!
//! Ids are given in the order of writing, and are no less than the microseconds since the Unix epoch at which they were
//! given: unique for ever, also in a new file, and in order even if the clock jumps.

pub mod file;
pub mod read;
pub mod thread;
pub mod tidy;
pub mod write;

pub use file::{Limits, Progress, open};
pub use read::Reader;

#[cfg(test)]
mod tests;
