//! What goes to the disk's tier: the finished quarters of an hour of all workloads, and what of the open one is not there yet. Does not
//! know who writes it.

use std::sync::Arc;

use super::still::Written;
use super::sums::Sums;
use super::{History, Track};
use crate::tier::{Entry, KEPT, Known};

impl Sums {
    /// None if nothing of it was ever more than zero.
    pub(crate) fn entry(&self, workload: Option<Arc<str>>, owner: Option<Arc<str>>) -> Option<Entry> {
        // A part of a second is one, too.
        let seconds = self.seconds().ceil() as u16;
        (!self.is_empty()).then(|| Entry { workload, owner, seconds, row: self.row() })
    }
}

impl Track {
    /// All that was not handed out, when there are no more ticks.
    pub(crate) fn rest(&self, written: Written) -> Option<Sums> {
        let points = self.0.as_ref()?;
        let mut rest = points.sums[2];
        rest.extend(&points.sums[1]);
        rest.extend(&points.open(written.clock));
        Some(rest)
    }
}

impl History {
    /// When the quarter began that is not over.
    pub(crate) fn quarter_begun(&self) -> Option<u64> {
        self.steps[2].open
    }

    /// What of a track has not gone to the disk: of the quarter that is not over.
    pub(crate) fn open_quarter(&self, track: &Track) -> Option<Known> {
        let (time, rest) = (self.quarter_begun()?, track.rest(self.written())?);
        let values: [_; KEPT.len()] = std::array::from_fn(|kept| rest.values(kept));
        let known = values.as_flattened().iter().any(Option::is_some);
        known.then(|| Known { time, seconds: rest.seconds().ceil() as u16, values })
    }
}
