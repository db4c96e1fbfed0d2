//! [`Domain`]: one limit that the change concerns, over time: of a cgroup, or what memory the host has. Finds where more than the limit
//! would have been held. Knows nothing of what was killed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::change::Change;
use super::point::{Place, Point};
use super::report::Caused;
use crate::amount::bytes;

/// Points that are kept: growth before a kill is seen in them.
const KEPT: usize = 150;
/// The host kills before the last page is taken.
const HOST: f64 = 0.99;

#[derive(Debug)]
pub struct Domain {
    /// The workload that has the limit; absent: the host.
    pub name: Option<Arc<str>>,
    pub place: Place,
    pub points: VecDeque<Point>,
    /// More than the changed limit was held, so there would have been a kill, and since then it was not much less.
    pub dead: bool,
    pub caused: Vec<Caused>,
    /// When each of these rises was over.
    ends: Vec<Option<u64>>,
    /// The most that all but the changed workload held while the limit was not reached, and at how many ticks.
    pub others: u64,
    pub free_ticks: u32,
    /// The most that the changed workload held.
    pub subject: u64,
    /// Page cache in use that would have had no room, at most.
    pub displaced: u64,
    /// The most that would have been held.
    pub peak: u64,
    /// Time that tasks of each workload waited while this was the nearest limit that was reached, in nanoseconds.
    pub stalls: BTreeMap<Arc<str>, u64>,
}

impl Domain {
    pub fn new(name: Option<Arc<str>>, place: Place) -> Domain {
        Domain {
            name,
            place,
            points: VecDeque::new(),
            dead: false,
            caused: Vec::new(),
            ends: Vec::new(),
            others: 0,
            free_ticks: 0,
            subject: 0,
            displaced: 0,
            peak: 0,
            stalls: BTreeMap::new(),
        }
    }

    /// At a tick; `active`: page cache that was used more than once; `gone`: the changed workload would have been killed before.
    pub fn read(&mut self, change: &Change, point: Point, active: u64, gone: bool) {
        let changed = point.changed(change, self.place, gone);
        if !point.is_full() {
            self.others = self.others.max(point.held.total.saturating_sub(point.subject.total));
            self.free_ticks += 1;
        }
        self.subject = self.subject.max(point.subject.total);
        let limit = changed.limit.unwrap_or(u64::MAX);
        self.peak = self.peak.max(changed.held.total.min(limit));
        if self.place == Place::Own && point.fresh && !changed.is_over() {
            let needed =
                changed.held.hard.saturating_add(active.min(changed.held.total.saturating_sub(changed.held.hard)));
            self.displaced = self.displaced.max(needed.saturating_sub(limit));
        }
        let limit = if self.name.is_none() { (limit as f64 * HOST) as u64 } else { limit };
        if self.dead {
            // It started again: its growth counts from here.
            self.dead = changed.held.hard > limit / 2;
            if let Some(end) = self.ends.last_mut().filter(|_| !self.dead) {
                *end = Some(point.time);
            }
        } else if changed.held.hard > limit && (point.fresh || self.was_over(change, gone)) {
            self.dead = true;
            self.caused.push(self.cause(changed, limit));
            self.ends.push(None);
        }
        if self.points.len() == KEPT {
            self.points.pop_front();
        }
        self.points.push_back(point);
    }

    /// What was not read now may be page cache: twice in a row it is believed.
    fn was_over(&self, change: &Change, gone: bool) -> bool {
        self.points.back().is_some_and(|point| point.changed(change, self.place, gone).is_over())
    }

    fn cause(&self, point: Point, limit: u64) -> Caused {
        let held = point.held.hard;
        let whose = match &self.name {
            Some(name) => format!("{name} would have had {} at a limit of {}", bytes(held), bytes(limit)),
            None => format!("the host would have had {} of {}", bytes(held), bytes(limit)),
        };
        Caused {
            time: point.time,
            workload: self.name.as_deref().map(str::to_owned),
            held,
            limit,
            why: format!("{whose}, none of which can be reclaimed."),
        }
    }

    /// The last point at or before a moment.
    pub fn at(&self, time: u64) -> Option<&Point> {
        self.points.iter().rev().find(|point| point.time <= time)
    }

    /// The rise in which there would have been a kill, if it was then.
    fn rise(&self, time: u64) -> Option<usize> {
        let at = self.caused.iter().rposition(|caused| caused.time <= time)?;
        self.ends[at].is_none_or(|end| end >= time).then_some(at)
    }

    /// Whether there would have been a kill before, in the same rise.
    pub fn was_dead(&self, time: u64) -> bool {
        self.rise(time).is_some()
    }

    /// A kill at this limit: takes back what would have been caused before, since it is the same rise. Returns when that was.
    pub fn take_caused(&mut self, time: u64) -> Option<u64> {
        let at = self.rise(time)?;
        self.ends.remove(at);
        Some(self.caused.remove(at).time)
    }
}

#[cfg(test)]
mod tests {
    use super::super::point::Held;
    use super::*;

    const MIB: u64 = 1 << 20;

    fn limit(mib: u64) -> Change {
        Change::Limit { workload: "/a".to_owned(), bytes: Some(mib * MIB) }
    }

    fn run(change: &Change, held: &[(u64, u64, bool)]) -> Domain {
        let mut domain = Domain::new(Some("/a".into()), Place::Own);
        for (time, (total, hard, fresh)) in (1..).zip(held) {
            let held = Held { total: total * MIB, hard: hard * MIB, anon: hard * MIB };
            let point = Point { time, held, limit: Some(128 * MIB), subject: held, fresh: *fresh };
            domain.read(change, point, 8 * MIB, false);
        }
        domain
    }

    #[test]
    fn what_cannot_be_reclaimed_and_has_no_room_is_a_kill_once_a_rise() {
        let rises = [(20, 20, true), (70, 70, true), (90, 90, true), (20, 20, true), (80, 80, true)];
        let domain = run(&limit(64), &rises);
        assert_eq!(domain.caused.iter().map(|it| it.time).collect::<Vec<_>>(), [2, 5]);
        assert_eq!([1, 2, 3, 4, 5].map(|time| domain.was_dead(time)), [false, true, true, true, true]);
        let mut domain = domain;
        assert_eq!((domain.take_caused(3), domain.take_caused(3), domain.caused.len()), (Some(2), None, 1));
        assert_eq!(domain.peak, 64 * MIB);
        assert!(run(&limit(100), &rises).caused.is_empty());
    }

    #[test]
    fn page_cache_gives_way_and_only_what_was_used_again_is_missed() {
        let domain = run(&limit(64), &[(100, 30, true), (100, 30, true)]);
        assert!(domain.caused.is_empty() && domain.displaced == 0, "{domain:?}");
        assert_eq!(run(&limit(32), &[(100, 30, true)]).displaced, 6 * MIB);
    }

    #[test]
    fn what_was_not_read_now_is_believed_when_it_stays() {
        assert!(run(&limit(64), &[(20, 20, true), (70, 70, false), (60, 20, true)]).caused.is_empty());
        assert_eq!(run(&limit(64), &[(20, 20, true), (70, 70, false), (75, 75, false)]).caused.len(), 1);
    }
}
