//! The series of one threshold rule. One is evaluated when its number may have moved, and when its clock is due: that gives what
//! evaluating each of them at every tick would.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::series::{Round, Sending, Series};
use super::{Alert, SERIES, Times};
use crate::metric::visit::Seen;
use crate::rule::evaluate::Phase;
use crate::rule::window::Grid;
use crate::rule::{Rule, Threshold};

/// The series that are followed. A rule on a rate or slope follows all, others only those that are pending or fire.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    followed: Vec<Followed>,
    /// When their windows have points.
    grid: Grid,
    /// Place by the hash of the labels.
    index: HashMap<u64, usize>,
    /// Where the first series of each workload was, by slot: usually it still is.
    first: Vec<usize>,
    /// The workload of the last series, and the place after that one: usually that of the next series.
    next: (Option<usize>, usize),
    /// Everything that is to be followed is: at the next tick, only what moves can change that.
    pub complete: bool,
    /// Number of series for which the condition holds, but not for long enough yet.
    pub pending: u64,
    /// Alerts without room, since the caller last reset it.
    pub refused: u64,
    /// Series without room, since the caller last reset it.
    pub overflown: u64,
}

/// What every tick looks at, apart from the rest.
#[derive(Clone, Debug)]
struct Followed {
    /// The elapsed time at which it is evaluated although it did not move; once it is absent, at which it is forgotten.
    due: u64,
    /// The tick at which it was last visited.
    round: u64,
    /// The slot of its workload; `None` if others change its number too.
    workload: Option<usize>,
    absent: bool,
    /// The number of the metric.
    raw: f64,
    series: Box<Series>,
}

impl Track {
    /// Begins a tick.
    pub fn begin(&mut self, threshold: &Threshold, now: &Round) {
        self.next = (None, 0);
        if let Some(change) = threshold.change {
            self.grid.tick(change, now.elapsed);
        }
    }

    /// Takes the number of a series. The labels of its workload may have changed since the last tick if it is `renamed`.
    pub fn see(&mut self, threshold: &Threshold, now: &Round, seen: &Seen<'_>, renamed: bool) {
        let found = if self.followed.is_empty() { None } else { self.find(seen, renamed) };
        let place = match found {
            Some(place) => place,
            None if threshold.change.is_none() && !threshold.holds(seen.number) => return,
            None if self.followed.len() >= SERIES => {
                self.overflown += 1;
                return;
            }
            None => self.insert(seen.labels, now.elapsed),
        };
        if self.next.0 != seen.workload {
            self.keep_first(seen.workload, place);
        }
        self.next = (seen.workload, place + 1);
        let followed = &mut self.followed[place];
        // The same labels twice in a tick are a bug in the metric.
        if followed.round == now.number {
            return;
        }
        (followed.round, followed.workload) = (now.number, seen.workload);
        let moved = followed.raw.to_bits() != seen.number.to_bits();
        if moved || followed.absent || followed.due <= now.elapsed {
            (followed.due, followed.absent, followed.raw) = (0, false, seen.number);
            followed.series.begin(threshold, &self.grid, now, seen);
        }
    }

    /// Ends a tick: evaluates what was seen and what is due. Series that are gone resolve or are forgotten after a while. Of what
    /// was not seen, `moved` tells whether it would have been seen if it were there, by workload.
    pub fn end(
        &mut self,
        (rule, threshold): (&Rule, &Threshold),
        now: &Round,
        moved: impl Fn(usize) -> bool,
        send: &mut Sending,
    ) {
        let mut place = 0;
        while let Some(followed) = self.followed.get_mut(place) {
            if !followed.absent && followed.round != now.number && followed.workload.is_none_or(&moved) {
                self.pending -= u64::from(followed.series.is_pending());
                followed.series.leave(now);
                (followed.absent, followed.due, followed.workload) = (true, followed.series.end(), None);
            }
            let due = followed.due <= now.elapsed;
            if due && !followed.absent {
                let (grid, raw) = (&self.grid, followed.raw);
                self.pending -= u64::from(followed.series.is_pending());
                self.refused += u64::from(followed.series.evaluate((rule, threshold), (grid, now), raw, send));
                self.pending += u64::from(followed.series.is_pending());
                followed.due = followed.series.due(threshold, grid, now);
            }
            if !due || !followed.absent && followed.series.is_followed() {
                place += 1;
                continue;
            }
            self.remove(place).resolve(rule, threshold, now, send);
        }
        self.complete = self.overflown == 0;
    }

    /// Adds a series that fires; `false` if there is no room.
    pub fn restore(&mut self, labels: &[&str], phase: Phase, number: Option<f64>, elapsed: u64) -> bool {
        if self.followed.len() >= SERIES {
            return false;
        }
        let seen = Seen { workload: None, labels, number: 0.0, created: 0 };
        let place = self.find(&seen, true).unwrap_or_else(|| self.insert(labels, elapsed));
        let followed = &mut self.followed[place];
        self.pending -= u64::from(followed.series.is_pending());
        followed.series.restore(phase, number);
        followed.due = if followed.absent { followed.series.end() } else { 0 };
        self.complete = false;
        true
    }

    /// The alerts that fire.
    pub fn firing(&self, rule: &Rule, threshold: &Threshold) -> impl Iterator<Item = Alert> {
        self.followed.iter().filter_map(|followed| match followed.series.phase {
            Phase::Firing { started, fired } => {
                Some(followed.series.alert(rule, threshold, Times { started, fired, resolved: None }))
            }
            _ => None,
        })
    }

    /// The place of a series.
    fn find(&self, seen: &Seen<'_>, renamed: bool) -> Option<usize> {
        let same = |place: &usize| {
            self.followed.get(*place).is_some_and(|it| match seen.workload.is_some() && it.workload == seen.workload {
                true if !renamed => it.series.has_rest(seen.labels),
                _ => it.series.has(seen.labels),
            })
        };
        let next = match seen.workload {
            Some(slot) if self.next.0 != Some(slot) => self.first.get(slot).copied(),
            _ => Some(self.next.1),
        };
        next.filter(same).or_else(|| self.index.get(&hash(seen.labels.iter().copied())).copied().filter(same))
    }

    fn keep_first(&mut self, workload: Option<usize>, place: usize) {
        if let Some(slot) = workload {
            if self.first.len() <= slot {
                self.first.resize(slot + 1, 0);
            }
            self.first[slot] = place;
        }
    }

    fn insert(&mut self, labels: &[&str], elapsed: u64) -> usize {
        let place = self.followed.len();
        self.index.insert(hash(labels.iter().copied()), place);
        let series = Box::new(Series::new(labels, elapsed));
        self.followed.push(Followed { due: 0, round: 0, workload: None, absent: false, raw: 0.0, series });
        place
    }

    /// Removes a series. The last one takes its place.
    fn remove(&mut self, place: usize) -> Box<Series> {
        let left = self.followed.swap_remove(place).series;
        self.index.remove(&hash(left.labels()));
        if let Some(moved) = self.followed.get(place) {
            self.index.insert(hash(moved.series.labels()), place);
            let last = self.followed.len();
            if let Some(first) =
                moved.workload.and_then(|slot| self.first.get_mut(slot)).filter(|first| **first == last)
            {
                *first = place;
            }
        }
        left
    }
}

fn hash<'a>(labels: impl Iterator<Item = &'a str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    labels.for_each(|label| label.hash(&mut hasher));
    hasher.finish()
}
