//! The journal: alerts, incidents, other events and the deliveries of alerts, in a SQLite file.
//!
//! Ids increase in the order of writing. Each is at least the time of writing in microseconds since the Unix epoch, so ids stay
//! unique across files, and in order even if the clock jumps.

pub mod days;
pub mod file;
pub mod read;
pub mod thread;
pub mod tidy;
pub mod write;

pub use file::{Limits, Progress, open};
pub use read::Reader;

#[cfg(test)]
mod tests;
