//! The history's tier on disk: quarters of an hour of all workloads, a compressed row a workload and day, and one a GPU, in a SQLite file
//! beside the journal.

pub mod day;
pub mod days;
pub mod file;
pub mod rare;
pub mod read;
pub mod thread;
pub mod write;

pub use read::Reader;

#[cfg(test)]
mod tests;
