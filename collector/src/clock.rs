//! The kernel's clocks, in nanoseconds.

use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

/// CLOCK_MONOTONIC in nanoseconds: what the programs date their records by (`bpf_ktime_get_ns`).
pub fn monotonic_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// Nanoseconds since the Unix epoch.
pub fn unix_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Realtime))
}

/// Nanoseconds since the host started, the time it was suspended included: what the kernel dates processes by.
pub fn boot_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Boottime))
}

/// CPU time of this process in nanoseconds.
pub fn cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ProcessCPUTime))
}

/// CPU time of this thread in nanoseconds.
pub fn thread_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

/// Nanoseconds a jiffy, from the kernel itself: its coarse clocks are as coarse as its tick (`TICK_NSEC`), by which `jiffies`
/// moves, whatever CONFIG_HZ is.
pub fn jiffy_ns() -> u64 {
    nanoseconds(clock_getres(ClockId::MonotonicCoarse))
}

/// What is added to CLOCK_MONOTONIC to get the time since the epoch. It moves when somebody sets the clock: ask again
/// every tick.
pub fn offset_ns() -> u64 {
    unix_ns().wrapping_sub(monotonic_ns())
}

fn nanoseconds(time: Timespec) -> u64 {
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}
