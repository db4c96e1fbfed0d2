//! What a cgroup with its limit, or the host, held at a tick, and what it would have held. Pure numbers; knows neither kills nor stalls.

use super::change::Change;
use crate::cgroup::contains;
use crate::statistic::workload::Statistic;
use crate::view::View;
use crate::view::workload::Workload;

/// In bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Held {
    pub total: u64,
    /// What of that reclaim cannot free: all but page cache.
    pub hard: u64,
    /// What of that could be swapped out, if there were swap.
    pub anon: u64,
}

/// What was held at a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    pub held: Held,
    /// Absent: there is none.
    pub limit: Option<u64>,
    /// What of it the changed workload held.
    pub subject: Held,
    /// What is reclaimable was read now, and not some ticks ago.
    pub fresh: bool,
}

/// Where the changed workload is, seen from a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It has that limit.
    Own,
    /// It is below it.
    Below,
    /// It is above it.
    Above,
    /// It is somewhere else, or none is named.
    Elsewhere,
}

impl Place {
    /// Of a subject's cgroup, seen from that of a limit; the host's is `/`.
    pub fn of(subject: Option<&str>, limit: &str) -> Place {
        match subject {
            Some(subject) if subject == limit => Place::Own,
            Some(subject) if contains(limit, subject) => Place::Below,
            Some(subject) if contains(subject, limit) => Place::Above,
            _ => Place::Elsewhere,
        }
    }
}

/// What a workload holds now. `before` is what was known of it, for what is read less often.
pub fn held(workload: &Workload, before: Option<Held>, fresh: bool) -> Option<Held> {
    use Statistic::{MemoryAnon, MemoryCurrent, MemoryKernel, MemoryShmem, MemoryWithoutCache};
    use Statistic::{MemorySwap, MemorySwapLimit, MemorySwappiness};
    let get = |statistic| workload.statistics.get(statistic);
    let total = get(MemoryCurrent)?;
    let anon = get(MemoryAnon).unwrap_or(0);
    let parts =
        || Some(anon.checked_add(get(MemoryShmem).unwrap_or(0))?.saturating_add(get(MemoryKernel).unwrap_or(0)));
    let hard = match before.filter(|_| !fresh) {
        // What is not page cache grows; that is what kills.
        Some(before) => total.saturating_sub(before.total.saturating_sub(before.hard)),
        None => get(MemoryWithoutCache).or_else(|| get(MemoryAnon).and_then(|_| parts()))?.min(total),
    };
    // Of those that may not swap, none is swapped out: v1 says so by swappiness, v2 by a limit.
    let may = get(MemorySwappiness) != Some(0);
    let room = get(MemorySwapLimit).map_or(u64::MAX, |limit| limit.saturating_sub(get(MemorySwap).unwrap_or(0)));
    let anon = if may { anon.min(hard).min(room) } else { 0 };
    Some(Held { total, hard, anon })
}

/// What the host holds now, and how much there is.
pub fn host(view: &View) -> Option<(Held, u64)> {
    let memory = view.host.memory()?;
    let held = memory.total.saturating_sub(memory.available);
    let anon = view.host.statistics.get(crate::statistic::host::Statistic::MemoryAnon).unwrap_or(0);
    Some((Held { total: held, hard: held, anon: anon.min(held) }, memory.total))
}

impl Point {
    /// The same with the change. `dead`: the changed workload would have been killed before.
    pub fn changed(&self, change: &Change, place: Place, dead: bool) -> Point {
        let mut point = *self;
        match (change, place) {
            (Change::Limit { bytes, .. }, Place::Own) => point.limit = *bytes,
            (Change::Limit { .. }, Place::Below) if dead => point.remove(self.subject),
            (Change::Limit { bytes: Some(limit), .. }, Place::Below) => {
                let over = |bytes: u64| bytes.saturating_sub(*limit);
                let Held { total, hard, anon } = self.subject;
                point.remove(Held { total: over(total), hard: over(hard), anon: over(anon) });
            }
            (Change::Without { .. }, Place::Own | Place::Above) => point.held = Held::default(),
            (Change::Without { .. }, Place::Below) => point.remove(self.subject),
            (Change::Start { bytes, .. }, Place::Own | Place::Below) => {
                point.held.total = point.held.total.saturating_add(*bytes);
                point.held.hard = point.held.hard.saturating_add(*bytes);
            }
            (Change::Swap { bytes }, _) => {
                let out = point.held.anon.min(*bytes);
                point.remove(Held { total: out, hard: out, anon: out });
            }
            _ => {}
        }
        point
    }

    fn remove(&mut self, less: Held) {
        let held = &mut self.held;
        held.total = held.total.saturating_sub(less.total);
        held.hard = held.hard.saturating_sub(less.hard);
        held.anon = held.anon.saturating_sub(less.anon);
    }

    /// Whether what cannot be reclaimed is more than the limit.
    pub fn is_over(&self) -> bool {
        self.limit.is_some_and(|limit| self.held.hard > limit)
    }

    /// Whether it is at its limit: each new allocation there needs reclaim.
    pub fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.held.total as f64 >= 0.95 * limit as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn mib(total: u64, hard: u64) -> Held {
        Held { total: total * MIB, hard: hard * MIB, anon: hard * MIB }
    }

    fn point() -> Point {
        Point { time: 1, held: mib(100, 80), limit: Some(128 * MIB), subject: mib(60, 50), fresh: true }
    }

    #[test]
    fn a_place_is_seen_from_the_limit() {
        let of = |subject, limit| Place::of(Some(subject), limit);
        assert_eq!([of("/a", "/a"), of("/a/b", "/a"), of("/a", "/a/b")], [Place::Own, Place::Below, Place::Above]);
        assert_eq!(
            [of("/ab", "/a"), Place::of(None, "/"), of("/a", "/")],
            [Place::Elsewhere, Place::Elsewhere, Place::Below]
        );
    }

    #[test]
    fn a_change_moves_what_is_held_and_the_limit() {
        let limit = |bytes| Change::Limit { workload: "/a".to_owned(), bytes };
        let without = Change::Without { workload: "/a".to_owned() };
        let start = Change::Start { bytes: 10 * MIB, within: None };
        let changed = |change: &Change, place| point().changed(change, place, false);
        assert_eq!(changed(&limit(Some(70 * MIB)), Place::Own).limit, Some(70 * MIB));
        assert!(changed(&limit(Some(70 * MIB)), Place::Own).is_over());
        assert_eq!(changed(&limit(None), Place::Own).limit, None);
        assert_eq!(changed(&limit(Some(30 * MIB)), Place::Below).held, mib(70, 60));
        assert_eq!(point().changed(&limit(Some(30 * MIB)), Place::Below, true).held, mib(40, 30), "it was killed");
        assert_eq!(changed(&without, Place::Below).held, mib(40, 30));
        assert_eq!(changed(&without, Place::Above).held, mib(0, 0));
        assert_eq!(changed(&without, Place::Elsewhere), point());
        assert_eq!(changed(&start, Place::Below).held.hard, 90 * MIB);
        assert_eq!(changed(&Change::Swap { bytes: 30 * MIB }, Place::Elsewhere).held, mib(70, 50));
    }
}
