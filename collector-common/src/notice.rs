//! Words that the programs and the collector tell each other, in an array of one row that is mapped into the collector's memory.

/// Name of the map.
pub const MAP: &str = "NOTICE";

pub mod word {
    /// Since when [`crate::block::ISSUE`] sees the issue of every request, in nanoseconds of CLOCK_MONOTONIC; zero while it does
    /// not. The collector says it.
    pub const ISSUES_SINCE: usize = 0;
    /// How often a cgroup took a slot, see [`crate::slot`].
    pub const SLOTS: usize = 1;
    /// How often a pair of device and operation took a number, see [`crate::block::NUMBERS`].
    pub const DEVICES: usize = 2;
    /// How often what a process holds changed, see [`crate::transfer::PROCESSES`].
    pub const PROCESSES: usize = 3;
    pub const COUNT: usize = 4;
}
