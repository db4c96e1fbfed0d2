//! pass: one program that the kernel runs for every cgroup of a hierarchy, once a tick, when the collector asks for it (`bpf_iter`
//! over cgroups, from 6.1). It copies what is charged to each, and its limits. Not a signal: the kernel's files say the same, at a
//! higher price.

/// Name of the program in the ELF object.
pub const PROGRAM: &str = "cgroup_pass";
/// Map of rows: one for each cgroup, in the order in which they are visited.
pub const ROWS: &str = "PASS";
/// Map with one row, the words [`head`].
pub const HEAD: &str = "PASS_HEAD";
/// Controllers that a cgroup can have, as bits of [`word::HAS`]. Words of others are zero.
pub mod has {
    pub const MEMORY: u64 = 1;
    /// CPU time: every cgroup of v2, and those of `cpuacct` (v1).
    pub const TIME: u64 = 2;
    /// CPU quota.
    pub const QUOTA: u64 = 4;
}

/// Words of a row. Memory is in pages.
pub mod word {
    /// Id of the cgroup.
    pub const ID: usize = 0;
    pub const USAGE: usize = 1;
    pub const LIMIT: usize = 2;
    pub const PEAK: usize = 3;
    /// `memory.high` (v2).
    pub const HIGH: usize = 4;
    /// `memory.low` (v2).
    pub const LOW: usize = 5;
    /// `memory.min` (v2).
    pub const MIN: usize = 6;
    /// Swap in use (v2).
    pub const SWAP: usize = 7;
    /// Limit on swap; on v1 on memory and swap.
    pub const SWAP_LIMIT: usize = 8;
    /// Kernel memory (v1).
    pub const KERNEL: usize = 9;
    /// Times that the limit was reached (v1).
    pub const FAILURES: usize = 10;
    /// Events, as `memory.events` counts them.
    pub const LOW_EVENTS: usize = 11;
    pub const HIGH_EVENTS: usize = 12;
    pub const MAX_EVENTS: usize = 13;
    pub const OOM_EVENTS: usize = 14;
    pub const KILLS: usize = 15;
    pub const GROUP_KILLS: usize = 16;
    /// 1 if its tasks wait, because it has no OOM killer (v1).
    pub const UNDER_OOM: usize = 17;
    /// How readily it is swapped out (v1).
    pub const SWAPPINESS: usize = 18;
    /// Number of sets of its tasks; on v2 and of cgroups below it that have some.
    pub const POPULATED: usize = 19;
    /// See [`super::has`].
    pub const HAS: usize = 20;
    /// CPU time, in nanoseconds.
    pub const TIME: usize = 21;
    /// Periods of its CPU quota in which it ran.
    pub const PERIODS: usize = 22;
    /// Those in which it was throttled.
    pub const THROTTLED_PERIODS: usize = 23;
    /// For how long, in nanoseconds.
    pub const THROTTLED: usize = 24;
    /// Time in which some task waited for memory, in nanoseconds, as of the kernel's last update of its averages (v2).
    pub const MEMORY_PRESSURE: usize = 25;
    pub const CPU_PRESSURE: usize = 26;
    pub const IO_PRESSURE: usize = 27;
    /// Words per row.
    pub const COUNT: usize = 28;
}

/// Words of [`HEAD`], which end a pass.
pub mod head {
    /// Number of the last pass that reached its end.
    pub const PASS: usize = 0;
    /// Number of the pass that runs.
    pub const BEGUN: usize = 1;
    /// Number of cgroups that it found; the first of them have rows, as many as there are.
    pub const ROWS: usize = 2;
    /// For the program itself: words of the kernel's memory, and where each CPU's memory is.
    pub const BLOCK: usize = 3;
    pub const WORDS: usize = 64;
    pub const CPU: usize = BLOCK + WORDS;
    /// CPUs that have a word in it.
    pub const CPUS: usize = 1024;
    /// Words.
    pub const COUNT: usize = CPU + CPUS;
}
