//! The kernel as a source: load the programs, drain the rings, read the counters.

pub mod layout;
