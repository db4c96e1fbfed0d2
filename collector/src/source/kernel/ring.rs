//! Draining a ring: from the mapped pages straight into samples, without a copy of the record.

use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{MapData, RingBuf};

use crate::decode::{self, Malformed};
use crate::sample::Sample;
use crate::signal::Context;

/// Records that are taken in one go: a storm must not keep the agent from its other duties.
const BURST: usize = 64 * 1024;

/// One of the two rings, on the reader's side.
pub struct Ring(RingBuf<MapData>);

impl Ring {
    /// Over the map that the loader made.
    pub fn new(map: RingBuf<MapData>) -> Ring {
        Ring(map)
    }

    /// Hands every waiting record to `sink`, decoded; gives the number taken and whether more may be waiting.
    pub fn drain(&mut self, context: &Context, sink: &mut dyn FnMut(Result<Sample, Malformed>)) -> (usize, bool) {
        let mut taken = 0;
        while taken < BURST {
            let Some(record) = self.0.next() else { return (taken, false) };
            sink(decode::record(&record, context));
            taken += 1;
        }
        (taken, true)
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
