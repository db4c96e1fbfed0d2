//! Tracks that are not written: while nothing changes in a workload, its next point would be the one before. What is left out is written
//! when something changes, and at the ticks at which all are written: that is here. Does not know when nothing changes.

use super::sums::Sums;
use super::{History, NOTHING, Point, Points, Track};
use crate::series::Series;

/// How far the history is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    /// The last point.
    pub point: u64,
    /// Seconds that all complete points stand for.
    pub clock: f64,
}

impl History {
    /// How far it is written.
    pub(crate) fn written(&self) -> Written {
        Written { point: self.begun.saturating_sub(1), clock: self.clock }
    }
}

impl Points {
    /// The value of a series at a point, if it is known.
    pub(super) fn value(&self, point: u64, series: Series) -> Option<f32> {
        self.columns.get(point.min(self.columns.last()), series as usize)
    }

    /// What the open period of the finest coarse tier adds up to, with what was left out.
    pub(super) fn open(&self, clock: f64) -> Sums {
        let mut sums = self.sums[0];
        if clock > self.clock {
            sums.add(&self.last(), Some((clock - self.clock) as f32));
        }
        sums
    }

    /// Writes what was left out.
    pub(super) fn catch_up(&mut self, written: Written) {
        if written.clock > self.clock {
            self.sums[0] = self.open(written.clock);
            self.clock = written.clock;
        }
        self.columns.repeat(written.point);
    }

    fn last(&self) -> Point {
        let mut point = NOTHING;
        for series in Series::ALL {
            point[series as usize] = self.value(self.columns.last(), series).unwrap_or(f32::NAN);
        }
        point
    }
}

impl Track {
    /// Writes what was left out.
    pub(crate) fn catch_up(&mut self, written: Written) {
        if let Some(points) = &mut self.0 {
            points.catch_up(written);
        }
    }
}
