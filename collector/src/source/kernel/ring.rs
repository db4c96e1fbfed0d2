//! Drains a ring: decodes records straight from the mapped pages, without copying them.

use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{MapData, RingBuf};

use collector_core::decode::{self, Malformed};
use collector_core::sample::Sample;
use collector_core::signal::Context;

/// Maximum number of records per call: an event storm must not keep the agent from its other work.
const BURST: usize = 64 * 1024;

/// The reading side of one of the two rings.
pub struct Ring(RingBuf<MapData>);

impl Ring {
    pub fn new(map: RingBuf<MapData>) -> Ring {
        Ring(map)
    }

    /// Decodes every waiting record and passes it to `sink`; returns the number taken and whether more may be waiting.
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
