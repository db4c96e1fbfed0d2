//! The last minute, second by second, of the host and of each workload. Time comes with the ticks: ticks closer than a
//! second share a point, those further apart have one each. Writing a point allocates nothing.
//!
//! All tracks have their points at the same places of a ring, so that the times are kept once.

mod read;
#[cfg(test)]
mod tests;
mod write;

use crate::series::{COUNT, Series};
pub(crate) use read::Window;

/// Points that are kept: a minute of them, and a few more, because seconds are not all of one length.
const KEPT: usize = 68;
/// A point that is this old is done with, in nanoseconds: ticks of a second may come a little early.
const APART_NS: u64 = 900_000_000;
/// How far back is looked, in nanoseconds.
pub(crate) const REACH_NS: u64 = 60_000_000_000;

/// A number of each series; not a number where nothing is known. Single precision: it has the pages of 64 GiB each apart,
/// and half the memory.
type Point = [f32; COUNT];

/// A number that is not known.
pub(crate) const UNKNOWN: u64 = u64::MAX;
const NOTHING: Point = [f32::NAN; COUNT];

/// When the points are, and the host's.
#[derive(Clone, Debug)]
pub struct History {
    times: [u64; KEPT],
    /// Points begun so far; the last of them is written until it is done with.
    begun: u64,
    /// The first of them whose time is right.
    first: u64,
    /// Whether the last one is done with.
    done: bool,
    /// When the one before the last was done with.
    since: Option<u64>,
    /// The host's.
    pub host: Track,
}

/// The points of one subject.
#[derive(Clone, Debug, Default)]
pub struct Track(Option<Box<Points>>);

#[derive(Clone, Debug)]
struct Points {
    points: [Point; KEPT],
    /// The first that is its.
    first: u64,
    /// The numbers when the point before the last was done with.
    before: [u64; COUNT],
    /// The numbers now.
    now: [u64; COUNT],
}

impl Default for History {
    fn default() -> History {
        History { times: [0; KEPT], begun: 0, first: 0, done: true, since: None, host: Track::default() }
    }
}

impl Track {
    /// The number of a series at a point, if it is known.
    fn get(&self, point: u64, series: Series) -> Option<f64> {
        let points = self.0.as_ref().filter(|points| points.first <= point)?;
        let value = points.points[place(point)][series as usize];
        (!value.is_nan()).then_some(f64::from(value))
    }

    /// What another was is a part of this from now on.
    pub(crate) fn absorb(&mut self, newer: Track) {
        let Some(newer) = newer.0 else { return };
        let Some(points) = &mut self.0 else { return self.0 = Some(newer) };
        for (place, more) in newer.points.iter().enumerate() {
            for (sum, more) in points.points[place].iter_mut().zip(more) {
                *sum = if sum.is_nan() {
                    *more
                } else if more.is_nan() {
                    *sum
                } else {
                    *sum + *more
                };
            }
        }
        points.first = points.first.min(newer.first);
        for (sums, more) in [(&mut points.before, newer.before), (&mut points.now, newer.now)] {
            for (sum, more) in sums.iter_mut().zip(more) {
                *sum = if *sum == UNKNOWN {
                    more
                } else if more == UNKNOWN {
                    *sum
                } else {
                    sum.saturating_add(more)
                };
            }
        }
    }
}

/// Where the point of this number is kept.
fn place(point: u64) -> usize {
    (point % KEPT as u64) as usize
}
