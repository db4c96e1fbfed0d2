//! The last minute of the host and of each workload, second by second. The ticks carry the time: ticks less than a second
//! apart share a point, others have one each. Writing a point allocates nothing.
//!
//! All tracks have their points at the same places of a ring, so that the times are stored once.

mod read;
#[cfg(test)]
mod tests;
mod write;

use crate::series::{COUNT, Series};
pub(crate) use read::Window;

/// Number of points kept: a minute, and a few more because ticks are not exactly a second apart.
const CAPACITY: usize = 68;
/// A point this old is complete, in nanoseconds: ticks of a second may come slightly early.
const APART_NS: u64 = 900_000_000;
/// How far back a window reaches, in nanoseconds.
pub(crate) const REACH_NS: u64 = 60_000_000_000;

/// A value of each series; NaN where it is not known. Single precision distinguishes the pages of 64 GiB, and takes half the
/// memory.
type Point = [f32; COUNT];

/// Stands for a number that is not known.
pub(crate) const UNKNOWN: u64 = u64::MAX;
const NOTHING: Point = [f32::NAN; COUNT];

/// The times of the points, and the host's track.
#[derive(Clone, Debug)]
pub struct History {
    times: [u64; CAPACITY],
    /// Number of points begun so far; the last one is written until it is complete.
    begun: u64,
    /// The first of them with a valid time.
    first: u64,
    /// Whether the last one is complete.
    done: bool,
    /// When the one before the last was completed.
    since: Option<u64>,
    pub host: Track,
}

/// Bytes that the history of a workload takes.
pub const TRACK_BYTES: usize = size_of::<Points>();
const _: () = assert!(TRACK_BYTES <= 6 << 10);

/// The points of the host or of one workload.
#[derive(Clone, Debug, Default)]
pub struct Track(Option<Box<Points>>);

#[derive(Clone, Debug)]
struct Points {
    points: [Point; CAPACITY],
    /// The first point of this track.
    first: u64,
    /// The numbers when the point before the last was completed.
    before: [u64; COUNT],
    now: [u64; COUNT],
}

impl Default for History {
    fn default() -> History {
        History { times: [0; CAPACITY], begun: 0, first: 0, done: true, since: None, host: Track::default() }
    }
}

impl Track {
    /// The value of a series at a point, if it is known.
    fn get(&self, point: u64, series: Series) -> Option<f64> {
        let points = self.0.as_ref().filter(|points| points.first <= point)?;
        let value = points.points[place(point)][series as usize];
        (!value.is_nan()).then_some(f64::from(value))
    }

    /// Adds another track to this one.
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

/// The place of a point in the ring.
fn place(point: u64) -> usize {
    (point % CAPACITY as u64) as usize
}
