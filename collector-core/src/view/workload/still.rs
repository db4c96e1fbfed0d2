//! Which workloads a tick looks at: those in which something changed, and those in which something does with time alone. In most nothing
//! happens, and looking at all of them every second would take what the processor keeps at hand from the host. All are looked at when
//! a period or a chunk of the history begins, every ten seconds at the latest. Does not know what a tick does with them.

use super::{Workload, Workloads};
use crate::signal::transfer::Memory;
use crate::statistic::workload::holds;
use crate::view::history::{Write, Written};

/// What a tick looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass {
    /// All workloads.
    pub all: bool,
    /// One in which nothing has changed since the tick before has the same point again at the next.
    pub whole: bool,
}

impl Pass {
    /// At the begin of a tick. `same`: this host has the same numbers as at the tick before.
    pub(crate) fn begin(write: &mut Write, same: bool) -> Pass {
        let all = !same || !write.may_leave_out();
        if !all {
            write.leave_out();
        }
        Pass { all, whole: same && write.is_whole() }
    }
}

impl Workloads {
    /// At the end of a tick: how far the history is written.
    pub(crate) fn wrote(&mut self, time: u64, written: Written) {
        (self.ticked, self.written) = (time, written);
    }

    /// Whether the last tick did not look at the workload with this name.
    #[cfg(test)]
    pub(crate) fn is_left_out(&self, name: &str) -> bool {
        self.find(name).is_some_and(|it| it.recent.visited > 0 && it.recent.visited < self.ticked)
    }
}

impl Workload {
    /// What ticks that did not look at it would have changed, the last of them at this time.
    pub(super) fn catch_up(&mut self, ticked: u64) {
        let visited = self.recent.visited;
        if visited == 0 || visited >= ticked {
            return;
        }
        if self.held == Some(visited) {
            self.held = Some(ticked);
        }
        self.recent.cpu.rest(ticked);
    }

    /// Whether the next tick has nothing to change in it, but what [`Self::catch_up`] does. Its rates are zero. `before` is the tick
    /// before; only where the clock was set back, a reading can be later.
    pub(super) fn is_still(&self, before: Option<u64>) -> bool {
        let partless = self.recent.parts_read.is_none_or(|read| before.is_some_and(|before| read <= before));
        let leaves = holds(|statistic| self.statistics.get(statistic)) == Some(false);
        let settled = !leaves || self.hidden || self.was_counted();
        let pinned = self.amounts.transfer.bytes_held(Memory::Pinned) > 0;
        settled && partless && self.is_alive() && self.vram().is_none() && !pinned && self.recent.cpu.is_still()
    }
}
