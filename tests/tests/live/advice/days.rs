//! What was on the days before, as the tests leave it. All numbers are such that the history keeps them to the byte.

use std::path::Path;

use collector_core::past::{DAY_NS, midnight};
use collector_core::series::Series;
use collector_core::tier::Rare;
use collector_tests::past::{QUARTER_NS, count, leave, quarters};

const MIB: f32 = (1 << 20) as f32;
const GIB: f32 = (1 << 30) as f32;
/// So many whole days are left, and today.
pub const DAYS: u64 = 10;

/// The host's memory, what of it was in use, and what in its worst hour.
pub const MEMORY: f32 = 64.0 * GIB;
const USED: f32 = 16.0 * GIB;
pub const MOST: f32 = 48.0 * GIB;
/// What a workload took by day and by night.
pub const BY_DAY: f32 = 200.0 * MIB;
pub const BY_NIGHT: f32 = 60.0 * MIB;
pub const LIMIT: f32 = 256.0 * MIB;
pub const BATCH: &str = "docker/batch";
/// What never fits into the worst hour.
pub const LARGE: &str = "docker/large";
pub const TAKES: f32 = 12.0 * GIB;
/// Seconds of stalls in each second, until somebody changed something, and since.
pub const STALLS: [f32; 2] = [1.0 / 64.0, 1.0 / 1024.0];

/// When the worst hour began: on the day before yesterday, at nine.
pub fn worst(now: u64) -> u64 {
    midnight(now) - 2 * DAY_NS + 9 * 4 * QUARTER_NS
}

/// A host that mostly idles.
pub fn host(journal: &Path, now: u64) {
    let (begins, ends) = (worst(now), worst(now) + 4 * QUARTER_NS);
    leave(journal, None, quarters(DAYS, now), |time| {
        let used = if (begins..ends).contains(&time) { MOST } else { USED };
        vec![(Series::Memory, used), (Series::MemoryLimit, MEMORY), (Series::Cpu, 0.25)]
    });
    count(journal, begins, vec![(Rare::Cpus, 16)]);
}

/// A workload that needs 864 MiB, and no more.
pub fn steady(journal: &Path, workload: &str, now: u64, limit: u64) {
    leave(journal, Some(workload), quarters(DAYS, now), |_| {
        vec![(Series::Memory, 900.0 * MIB), (Series::Anon, 864.0 * MIB), (Series::MemoryLimit, limit as f32)]
    });
}

/// Whether a quarter is one of the day, from eight to eight.
pub fn by_day(time: u64) -> bool {
    (8..20).contains(&(time % DAY_NS / (4 * QUARTER_NS)))
}

/// A workload with a daily rhythm, of which something was changed at a moment.
pub fn batch(journal: &Path, now: u64, changed: u64) {
    leave(journal, Some(BATCH), quarters(DAYS, now), |time| {
        let memory = if by_day(time) { BY_DAY } else { BY_NIGHT };
        let stalls = STALLS[usize::from(time >= changed)];
        vec![(Series::Memory, memory), (Series::MemoryLimit, LIMIT), (Series::Cpu, 0.5), (Series::Stalls, stalls)]
    });
}

/// A workload that takes much, all the time.
pub fn large(journal: &Path, now: u64) {
    leave(journal, Some(LARGE), quarters(DAYS, now), |_| vec![(Series::Memory, TAKES), (Series::Cpu, 0.5)]);
}
