//! How much of the host's memory can be had, and for how long tasks waited for memory while the host itself was short of it.

use super::Host;
use crate::statistic::host::{Statistic, Values, sum};

/// The host is short of memory if less than this share of it can be had …
const SHORT: f64 = 0.1;
/// … or if it reclaims this share of its memory per second, or more: then what is in use is dropped, even if it counts as available.
const RECLAIMING: f64 = 0.0005;
const RECLAIMED: [Statistic; 2] = [Statistic::ReclaimedKswapd, Statistic::ReclaimedDirect];

/// Memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What processes and caches share: without free huge pages, which are kept for those who ask for them.
    pub total: u64,
    /// What a process can have without swapping: what the kernel counts as available, and what ZFS gives back.
    pub available: u64,
}

/// Waits for memory while the host was short of it.
#[derive(Clone, Debug, Default)]
pub struct Shortage {
    /// Nanoseconds in which at least one task waited, and in which all did, since the agent started; `None` without PSI.
    pub waited: [Option<u64>; 2],
    /// When memory was last looked for to reclaim it for the host, not for the limit of a cgroup.
    scanned: Option<u64>,
    /// The last reading: when, the waits, and the bytes reclaimed for the host.
    last: Option<(u64, [Option<u64>; 2], u64)>,
}

impl Memory {
    pub fn used_ratio(self) -> f64 {
        1.0 - self.available_ratio()
    }

    pub fn available_ratio(self) -> f64 {
        self.available as f64 / self.total as f64
    }

    /// Whether the host is short of memory.
    pub fn is_short(self) -> bool {
        self.available_ratio() < SHORT
    }
}

impl Host {
    /// `None` if the kernel does not say it, or if its numbers are of different hosts: in a container, the part may be the host's
    /// and the total the container's own.
    pub fn memory(&self) -> Option<Memory> {
        let get = |statistic| self.statistics.get(statistic);
        let (total, available) = (get(Statistic::MemoryTotal)?, get(Statistic::MemoryAvailable)?);
        let free = get(Statistic::MemoryHugePagesFree).unwrap_or(0);
        let total = total.checked_sub(free).filter(|left| *left > 0 && available <= *left)?;
        let cached = get(Statistic::MemoryArcReclaimable).unwrap_or(0);
        Some(Memory { total, available: available.saturating_add(cached).min(total) })
    }

    /// Replaces the statistics by newer ones.
    pub(crate) fn measure(&mut self, time: u64, values: &Values) {
        let before = self.scanned();
        self.statistics.advance(values);
        self.past.keep(time, self.statistics.clone());
        if before.zip(self.scanned()).is_some_and(|(before, now)| now > before) {
            self.shortage.scanned = Some(time);
        }
        let waits = [Statistic::MemoryPressureSome, Statistic::MemoryPressureFull].map(|it| self.statistics.get(it));
        let reclaimed = sum(&self.statistics, &RECLAIMED);
        let last = self.shortage.last.replace((time, waits, reclaimed));
        let short = last.is_some_and(|(then, _, earlier)| {
            self.is_short(time.saturating_sub(then), reclaimed.saturating_sub(earlier))
        });
        let before = last.map_or([None; 2], |(_, before, _)| before);
        for ((total, now), before) in self.shortage.waited.iter_mut().zip(waits).zip(before) {
            let grown = now.zip(before).map_or(0, |(now, before)| now.saturating_sub(before));
            *total = now.and(Some(total.unwrap_or(0).saturating_add(if short { grown } else { 0 })));
        }
    }

    /// Bytes looked at to reclaim memory for the host.
    fn scanned(&self) -> Option<u64> {
        let get = |statistic| self.statistics.get(statistic);
        Some(get(Statistic::ScannedKswapd)?.saturating_add(get(Statistic::ScannedDirect)?))
    }

    /// Whether the host itself reclaimed memory since `time`, and not only cgroups at their limits; `true` if nobody knows.
    pub(crate) fn reclaims_since(&self, time: u64) -> bool {
        self.scanned().is_none() || self.shortage.scanned.is_some_and(|last| last >= time)
    }

    /// Whether the host was short of memory for the last `ns` nanoseconds, in which it reclaimed this many bytes.
    fn is_short(&self, ns: u64, reclaimed: u64) -> bool {
        let Some(memory) = self.memory() else { return false };
        let much = RECLAIMING * memory.total as f64 * (ns as f64 / 1e9);
        memory.is_short() || ns > 0 && reclaimed as f64 >= much
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Statistic::*;

    const SECOND: u64 = 1_000_000_000;

    fn memory(values: &[(Statistic, u64)]) -> Option<(u64, u64)> {
        let host = Host { statistics: Values::from_iter(values.iter().copied()), ..Host::default() };
        host.memory().map(|memory| (memory.total, memory.available))
    }

    #[test]
    fn what_can_be_had_back_is_available() {
        let plain = [(MemoryTotal, 100), (MemoryAvailable, 3)];
        assert_eq!(memory(&plain), Some((100, 3)));
        assert_eq!(memory(&[plain[0], plain[1], (MemoryArc, 60), (MemoryArcReclaimable, 50)]), Some((100, 53)));
        assert_eq!(memory(&[plain[0], plain[1], (MemoryArcReclaimable, 99)]), Some((100, 100)));
        // A pool of 95 of which 90 are free: the rest of the host has 10, and 3 of them are left.
        assert_eq!(memory(&[plain[0], plain[1], (MemoryHugePages, 95), (MemoryHugePagesFree, 90)]), Some((10, 3)));
        assert_eq!(memory(&[plain[0]]), None);
        assert_eq!(memory(&[(MemoryTotal, 2), plain[1]]), None);
        assert_eq!(memory(&[(MemoryTotal, 0), (MemoryAvailable, 0)]), None);
    }

    /// Seconds that tasks waited in a second of which the host had `available` of 100 000 bytes and reclaimed `reclaimed`.
    fn waited(available: u64, reclaimed: u64) -> [f64; 2] {
        let mut host = Host::default();
        let read = |some: u64, reclaimed: u64| {
            let full = some / 2;
            let values = [(MemoryTotal, 100_000), (MemoryAvailable, available), (ReclaimedKswapd, reclaimed)];
            let waits = [(MemoryPressureSome, some), (MemoryPressureFull, full)];
            Values::from_iter(values.into_iter().chain(waits))
        };
        host.measure(SECOND, &read(70 * SECOND, 5));
        host.measure(2 * SECOND, &read(71 * SECOND, 5 + reclaimed));
        host.shortage.waited.map(|ns| ns.unwrap() as f64 / 1e9)
    }

    #[test]
    fn a_wait_counts_only_while_the_host_is_short() {
        assert_eq!(waited(80_000, 0), [0.0, 0.0], "a cgroup at its own limit");
        assert_eq!(waited(9_999, 0), [1.0, 0.5]);
        assert_eq!(waited(10_000, 49), [0.0, 0.0]);
        assert_eq!(waited(80_000, 50), [1.0, 0.5], "page cache in use is dropped");
    }

    #[test]
    fn without_pressure_information_nothing_is_known() {
        let mut host = Host::default();
        for second in 1..4 {
            host.measure(second * SECOND, &Values::from_iter([(MemoryTotal, 10), (MemoryAvailable, 0)]));
        }
        assert_eq!(host.shortage.waited, [None, None]);
    }
}
