//! How full filesystems were, by day. Knows neither where it was counted nor what follows from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::DAYS;
use super::day::midnight;
use crate::tier::Rare;

/// A day in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DiskDay {
    /// When it began, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// The most that was used, what other programs than root's could not have included, and the size, in bytes.
    pub used: f64,
    pub size: f64,
}

/// At most so many mount points.
const MOUNTS: usize = 64;

/// Counts of quarters of an hour, put together.
#[derive(Clone, Debug, Default)]
pub struct Disks(BTreeMap<Arc<str>, BTreeMap<u64, DiskDay>>);

impl Disks {
    pub fn add(&mut self, counts: &[(u64, Rare, u64)]) {
        for (time, rare, bytes) in counts {
            let (Rare::Disk(mount) | Rare::DiskSize(mount)) = rare else { continue };
            if self.0.len() >= MOUNTS && !self.0.contains_key(mount) {
                continue;
            }
            let begin = midnight(*time);
            let days = self.0.entry(mount.clone()).or_default();
            let day = days.entry(begin).or_insert(DiskDay { time: begin, ..DiskDay::default() });
            let value = if matches!(rare, Rare::Disk(_)) { &mut day.used } else { &mut day.size };
            *value = value.max(*bytes as f64);
        }
    }

    /// The last days, oldest first. Of a day without a size nothing is known.
    pub fn finish(self) -> BTreeMap<Arc<str>, Vec<DiskDay>> {
        let last = |days: BTreeMap<u64, DiskDay>| {
            let known: Vec<DiskDay> = days.into_values().filter(|day| day.size > 0.0).collect();
            known[known.len().saturating_sub(DAYS)..].to_vec()
        };
        self.0.into_iter().map(|(mount, days)| (mount, last(days))).filter(|(_, days)| !days.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::past::DAY_NS;

    #[test]
    fn a_day_has_the_most_that_was_used_and_its_size() {
        let mount = || Arc::from("/");
        let mut counts = vec![(0, Rare::Start, 1)];
        for (time, used) in [(0, 5), (900, 9), (1800, 7)] {
            counts.push((time, Rare::Disk(mount()), used));
            counts.push((time, Rare::DiskSize(mount()), 20));
        }
        counts.push((DAY_NS + 5, Rare::Disk(mount()), 3));
        let mut disks = Disks::default();
        disks.add(&counts);
        let days = disks.finish();
        assert_eq!(days["/"], [DiskDay { time: 0, used: 9.0, size: 20.0 }], "of a day without a size nothing is known");
    }
}
