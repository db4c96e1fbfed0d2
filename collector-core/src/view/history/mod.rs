//! The history of the host and of each workload, in tiers: every series second by second for five minutes; the minimum, mean and
//! maximum of some for an hour and a day; and what goes to the disk. The ticks carry the time: ticks less than a second apart share a
//! point, others have one each.
//!
//! All tracks have their points at the same rows, so that the times are stored once. Rows that are complete are packed and shared with
//! whoever holds an older state: only the open ones are copied. Writing a point allocates nothing, except where a chunk is complete.
//! Of a workload in which nothing changes the last point stands for all after it (`still.rs`).

mod budget;
mod chunk;
mod open;
mod outgoing;
mod query;
mod read;
mod steps;
mod still;
mod sums;
#[cfg(test)]
mod tests;
mod value;
mod write;

use std::sync::Arc;

use crate::series::{COUNT, Series};
use crate::tier::{Code, KEPT, Limits, Tier};
use budget::Interest;
pub(crate) use budget::Signs;
pub use budget::Use;
use chunk::Columns;
pub(crate) use read::Window;
use steps::Steps;
pub(crate) use still::Written;
pub(crate) use sums::Sum;
use sums::Sums;
use value::ROWS;
pub(crate) use write::Write;

/// Complete chunks of points: with the fewest rows that is five minutes, and a few points more because ticks are not exactly a second
/// apart.
const CHUNKS: usize = 11;
/// Of a track that was shortened: the minute that incidents read.
const SHORT: usize = 3;
/// Number of points whose times are kept.
const CAPACITY: usize = (CHUNKS + 1) * ROWS as usize;
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

/// The tiers of [`Detail`], and the most of their periods that are kept.
const COARSE: [(Tier, usize); 2] = [(Tier::TenSeconds, 360), (Tier::Minute, 1440)];

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
    /// Seconds that all complete points stand for.
    clock: f64,
    /// Which series a workload had at the last tick at which all were written.
    known: [bool; COUNT],
    /// The periods of the coarse tiers, then those of the disk's.
    steps: [Steps; 3],
    /// How much it may hold, and holds.
    limits: Limits,
    used: Use,
    pub host: Track,
}

/// The points of the host or of one workload.
#[derive(Clone, Debug, Default)]
pub struct Track(Option<Box<Points>>);

#[derive(Clone, Debug)]
struct Points {
    columns: Columns<f32>,
    /// The first point of this track.
    first: u64,
    /// [`History::clock`] when its last point was written.
    clock: f64,
    /// The numbers when the point before the last was completed.
    before: [u64; COUNT],
    now: [u64; COUNT],
    /// What the open periods add up to.
    sums: [Sums; 3],
    /// The coarse tiers, where they are kept. They change once in ten seconds: only then are they copied.
    detail: Option<Arc<Detail>>,
    interest: Interest,
    /// It keeps the last minute only.
    short: bool,
}

/// Minimum, mean and maximum in the periods of each coarse tier: a column for each of each series.
#[derive(Clone, Debug)]
struct Detail {
    columns: [Columns<Code>; 2],
    /// The first row of each.
    first: [u64; 2],
}

impl Default for History {
    fn default() -> History {
        let [ten, minute] = COARSE.map(|(tier, max)| Steps::new(tier, max));
        History {
            times: [0; CAPACITY],
            begun: 0,
            first: 0,
            done: true,
            since: None,
            clock: 0.0,
            known: [false; COUNT],
            steps: [ten, minute, Steps::new(Tier::QuarterHour, 0)],
            limits: Limits::default(),
            used: Use::default(),
            host: Track::default(),
        }
    }
}

impl Points {
    fn new(point: u64, origin: &[u64; COUNT], detail: Option<Arc<Detail>>) -> Points {
        Points {
            columns: Columns::new(point),
            first: point,
            clock: 0.0,
            before: *origin,
            now: *origin,
            sums: [Sums::default(); 3],
            detail,
            interest: Interest::default(),
            short: false,
        }
    }

    /// The value of a series at a point, if it is known.
    fn get(&self, point: u64, series: Series) -> Option<f64> {
        self.value(point, series).map(f64::from)
    }

    fn bytes(&self) -> usize {
        let detail = self
            .detail
            .as_ref()
            .map_or(0, |detail| size_of::<Detail>() + detail.columns.iter().map(Columns::bytes).sum::<usize>());
        size_of::<Points>() + self.columns.bytes() + detail
    }
}

impl Detail {
    /// From these rows on.
    fn new(first: [u64; 2]) -> Arc<Detail> {
        Arc::new(Detail { columns: first.map(Columns::new), first })
    }

    fn write(&mut self, tier: usize, row: u64, sums: &Sums) {
        let columns = &mut self.columns[tier];
        columns.begin(row, COARSE[tier].1.div_ceil(ROWS as usize));
        columns.write(row, sums.row().as_flattened());
    }

    /// Minimum, mean and maximum of one of [`KEPT`].
    fn get(&self, tier: usize, row: u64, kept: usize) -> [Option<f32>; 3] {
        let columns = &self.columns[tier];
        [0, 1, 2].map(|part| columns.get(row, kept * 3 + part)?.value(KEPT[kept]))
    }
}

impl Track {
    /// The value of a series at a point, if it is known.
    fn get(&self, point: u64, series: Series) -> Option<f64> {
        self.0.as_ref()?.get(point, series)
    }

    /// Bytes that it takes on the heap.
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |points| points.bytes())
    }

    /// Adds another track to this one.
    pub(crate) fn absorb(&mut self, newer: Track) {
        let Some(newer) = newer.0 else { return };
        let Some(points) = &mut self.0 else { return self.0 = Some(newer) };
        points.columns.absorb(newer.columns, |_, one, other| one + other);
        (points.first, points.clock) = (points.first.min(newer.first), points.clock.max(newer.clock));
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
        points.sums.iter_mut().zip(&newer.sums).for_each(|(sums, more)| sums.extend(more));
        points.interest.absorb(newer.interest);
        points.short &= newer.short;
        match (&mut points.detail, newer.detail) {
            (Some(detail), Some(newer)) => Arc::make_mut(detail).absorb(Arc::unwrap_or_clone(newer)),
            (detail @ None, newer) => *detail = newer,
            (Some(_), None) => {}
        }
    }
}

impl Detail {
    /// Like [`Sums::extend`].
    fn absorb(&mut self, newer: Detail) {
        for (columns, more) in self.columns.iter_mut().zip(newer.columns) {
            columns.absorb(more, |column, one, other| if column % 3 == 0 { one.min(other) } else { one.max(other) });
        }
        for (first, more) in self.first.iter_mut().zip(newer.first) {
            *first = (*first).min(more);
        }
    }
}

/// The place of a point's time in the ring.
fn place(point: u64) -> usize {
    (point % CAPACITY as u64) as usize
}
