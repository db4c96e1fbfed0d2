//! pass: one program that the kernel runs for every cgroup of the memory controller, once a tick, when the collector asks for it
//! (`bpf_iter` over cgroups, from 6.1). It copies what is charged to each, and its limits. Not a signal: the kernel's files say the
//! same, at a higher price.

/// Name of the program in the ELF object.
pub const PROGRAM: &str = "cgroup_pass";
/// Map of rows: one for each cgroup, in the order in which they are visited.
pub const ROWS: &str = "PASS";
/// Map with one row, the words [`head`].
pub const HEAD: &str = "PASS_HEAD";

/// Words of a row. Memory is in pages.
pub mod word {
    /// Id of the cgroup.
    pub const ID: usize = 0;
    /// Number of the pass that wrote the row: the kernel numbers them. A row of another pass is of a cgroup that is gone.
    pub const PASS: usize = 1;
    pub const USAGE: usize = 2;
    pub const LIMIT: usize = 3;
    pub const PEAK: usize = 4;
    /// `memory.high` (v2).
    pub const HIGH: usize = 5;
    /// `memory.low` (v2).
    pub const LOW: usize = 6;
    /// `memory.min` (v2).
    pub const MIN: usize = 7;
    /// Swap in use (v2).
    pub const SWAP: usize = 8;
    /// Limit on swap; on v1 on memory and swap.
    pub const SWAP_LIMIT: usize = 9;
    /// Kernel memory (v1).
    pub const KERNEL: usize = 10;
    /// Times that the limit was reached (v1).
    pub const FAILURES: usize = 11;
    /// Events, as `memory.events` counts them.
    pub const LOW_EVENTS: usize = 12;
    pub const HIGH_EVENTS: usize = 13;
    pub const MAX_EVENTS: usize = 14;
    pub const OOM_EVENTS: usize = 15;
    pub const KILLS: usize = 16;
    pub const GROUP_KILLS: usize = 17;
    /// 1 if its tasks wait, because it has no OOM killer (v1).
    pub const UNDER_OOM: usize = 18;
    /// How readily it is swapped out (v1).
    pub const SWAPPINESS: usize = 19;
    /// Number of sets of its tasks; on v2 and of cgroups below it that have some.
    pub const POPULATED: usize = 20;
    /// Words per row.
    pub const COUNT: usize = 21;
}

/// Words of [`HEAD`], which end a pass.
pub mod head {
    /// Number of the last pass that reached its end.
    pub const PASS: usize = 0;
    /// Number of the pass that runs.
    pub const BEGUN: usize = 1;
    /// Number of cgroups that it found; the first of them have rows, as many as there are.
    pub const ROWS: usize = 2;
    /// Words.
    pub const COUNT: usize = 3;
}
