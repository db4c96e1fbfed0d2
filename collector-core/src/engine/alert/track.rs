//! The series of one threshold rule. One is evaluated when its number may have moved, and when its clock is due: that gives what
//! evaluating each of them at every tick would.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::series::{Round, Sending, Series};
use super::{Alert, SERIES, Times};
use crate::metric::row::WORKLOAD;
use crate::metric::visit::Seen;
use crate::rule::evaluate::Phase;
use crate::rule::window::Grid;
use crate::rule::{Rule, Threshold};
use crate::view::workload::Workloads;

/// The series that are followed. A rule on a rate or slope follows all, others only those that are pending or fire.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    followed: Vec<Followed>,
    /// When their windows have points.
    grid: Grid,
    /// Place by the hash of the labels.
    index: HashMap<u64, usize>,
    /// What is there of each workload, by slot.
    held: Vec<Held>,
    /// How many series that are there may change without a workload's moving.
    free: u32,
    /// How many were seen in this tick, and the places of those to evaluate.
    seen: u32,
    turns: Vec<u32>,
    /// No other is due before.
    due: u64,
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

/// The series of a workload.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    /// Where the first was: usually it still is.
    first: u32,
    /// How many of them are there.
    count: u32,
}

/// What a tick looks at first, apart from the rest.
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
    /// Tells apart the series of a workload: a hash of the other labels. Those themselves are out of the processor's reach.
    rest: u64,
    series: Box<Series>,
}

impl Track {
    /// Begins a tick.
    pub fn begin(&mut self, threshold: &Threshold, now: &Round) {
        self.next = (None, 0);
        self.seen = 0;
        self.turns.clear();
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
        if let (Some(slot), true) = (seen.workload, self.next.0 != seen.workload) {
            self.held(slot).first = place as u32;
        }
        self.next = (seen.workload, place + 1);
        let followed = &mut self.followed[place];
        // The same labels twice in a tick are a bug in the metric.
        if followed.round == now.number {
            return;
        }
        followed.round = now.number;
        self.seen += 1;
        let (absent, before) = (followed.absent, followed.workload);
        let moved = followed.raw.to_bits() != seen.number.to_bits();
        if moved || absent || followed.due <= now.elapsed {
            (followed.due, followed.absent, followed.raw) = (0, false, seen.number);
            followed.series.begin(threshold, &self.grid, now, seen);
            self.turns.push(place as u32);
        }
        if absent || before != seen.workload {
            followed.workload = seen.workload;
            if !absent {
                *self.count(before) -= 1;
            }
            *self.count(seen.workload) += 1;
        }
    }

    /// How many series of a workload are there.
    fn count(&mut self, workload: Option<usize>) -> &mut u32 {
        match workload {
            Some(slot) => &mut self.held(slot).count,
            None => &mut self.free,
        }
    }

    /// Ends a tick: evaluates what was seen and what is due. Series that are gone resolve or are forgotten after a while. Of what
    /// was not seen, `moved` tells whether it would have been seen if it were there, by workload; all would if it is `None`.
    pub fn end(
        &mut self,
        (rule, threshold): (&Rule, &Threshold),
        now: &Round,
        moved: Option<&Workloads>,
        send: &mut Sending,
    ) {
        self.complete = self.overflown == 0;
        if self.followed.is_empty() {
            return;
        }
        let held = |slot: usize| self.held.get(slot).map_or(0, |held| held.count);
        let there = moved.map(|moved| self.free + moved.moved_slots().map(held).sum::<u32>());
        if there != Some(self.seen) || self.due <= now.elapsed {
            self.look(now, moved);
        }
        let mut turns = std::mem::take(&mut self.turns);
        turns.retain(|place| {
            let followed = &mut self.followed[*place as usize];
            if followed.absent {
                return true;
            }
            let (grid, raw) = (&self.grid, followed.raw);
            self.pending -= u64::from(followed.series.is_pending());
            self.refused += u64::from(followed.series.evaluate((rule, threshold), (grid, now), raw, send));
            self.pending += u64::from(followed.series.is_pending());
            followed.due = followed.series.due(threshold, grid, now);
            self.due = self.due.min(followed.due);
            !followed.series.is_followed()
        });
        // What is left are those to forget. The last one takes the place of one that is removed.
        turns.sort_unstable();
        for place in turns.drain(..).rev() {
            self.remove(place as usize).resolve(rule, threshold, now, send);
        }
        self.turns = turns;
    }

    /// Looks at all: which are gone, and which are due.
    fn look(&mut self, now: &Round, moved: Option<&Workloads>) {
        self.turns.clear();
        self.due = u64::MAX;
        for place in 0..self.followed.len() {
            let followed = &mut self.followed[place];
            let seen = |slot| moved.is_none_or(|moved| moved.has_moved(slot));
            if !followed.absent && followed.round != now.number && followed.workload.is_none_or(seen) {
                self.pending -= u64::from(followed.series.is_pending());
                followed.series.leave(now);
                let workload = followed.workload.take();
                (followed.absent, followed.due) = (true, followed.series.end());
                *self.count(workload) -= 1;
            }
            match self.followed[place].due {
                due if due <= now.elapsed => self.turns.push(place as u32),
                due => self.due = self.due.min(due),
            }
        }
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
        self.due = 0;
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
        let known = |it: &Followed| !renamed && seen.workload.is_some() && it.workload == seen.workload;
        let same = |place: &usize| {
            self.followed.get(*place).is_some_and(|it| match known(it) {
                true => it.rest == rest(seen.labels),
                false => it.series.has(seen.labels),
            })
        };
        let next = match seen.workload {
            Some(slot) if self.next.0 != Some(slot) => self.held.get(slot).map(|held| held.first as usize),
            _ => Some(self.next.1),
        };
        next.filter(same).or_else(|| self.index.get(&hash(seen.labels.iter().copied())).copied().filter(same))
    }

    fn held(&mut self, slot: usize) -> &mut Held {
        if self.held.len() <= slot {
            self.held.resize(slot + 1, Held::default());
        }
        &mut self.held[slot]
    }

    fn insert(&mut self, labels: &[&str], elapsed: u64) -> usize {
        let place = self.followed.len();
        self.index.insert(hash(labels.iter().copied()), place);
        let series = Box::new(Series::new(labels, elapsed));
        let rest = rest(labels);
        self.followed.push(Followed { due: 0, round: 0, workload: None, absent: false, raw: 0.0, rest, series });
        self.free += 1;
        // All may be due in one tick, which shall not allocate.
        self.turns.reserve(self.followed.len().saturating_sub(self.turns.len()));
        place
    }

    /// Removes a series. The last one takes its place.
    fn remove(&mut self, place: usize) -> Box<Series> {
        let Followed { workload, absent, series: left, .. } = self.followed.swap_remove(place);
        if !absent {
            *self.count(workload) -= 1;
        }
        self.index.remove(&hash(left.labels()));
        if let Some(moved) = self.followed.get(place) {
            self.index.insert(hash(moved.series.labels()), place);
            let last = self.followed.len();
            if let Some(slot) = moved.workload
                && self.held(slot).first as usize == last
            {
                self.held(slot).first = place as u32;
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

/// A hash of the labels that do not name a workload (FNV-1a, which is quick for a few bytes).
fn rest(labels: &[&str]) -> u64 {
    let bytes = labels.iter().skip(WORKLOAD.len()).flat_map(|label| label.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
