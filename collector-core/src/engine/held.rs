//! Kills that are reported late, because the names of their workloads are not known yet: the name of a new container arrives
//! shortly after its creation, and a kill without a name is of little use. Kills are counted at once.

use std::collections::VecDeque;

use crate::cgroup::Id;
use crate::identity::Names;
use crate::signal::oom::Kill;
use crate::view::workload::Workloads;

/// Maximum number of kills that wait. One more, and the oldest is reported as it is.
const MAX_HELD: usize = 64;

/// Maximum time that a kill waits, in nanoseconds.
pub(crate) const MAX_WAIT_NS: u64 = 2_000_000_000;

/// The waiting kills with their times.
#[derive(Clone, Debug, Default)]
pub struct Held(VecDeque<(u64, Kill)>);

impl Held {
    /// Holds a kill back. Returns the one that must be reported instead, if there is no room.
    pub(crate) fn hold(&mut self, time: u64, kill: Kill) -> Option<(u64, Kill)> {
        let first = if self.0.len() == MAX_HELD { self.0.pop_front() } else { None };
        self.0.push_back((time, kill));
        first
    }

    /// Removes and returns the kills that no longer wait, oldest first.
    pub(crate) fn release(&mut self, waits: impl Fn(u64, &Kill) -> bool) -> Vec<(u64, Kill)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let (held, released) = std::mem::take(&mut self.0).into_iter().partition(|(time, kill)| waits(*time, kill));
        self.0 = held;
        Vec::from(released)
    }
}

/// Whether the names of a cgroup's workload are still expected: it is new, and has none yet.
pub(super) fn expects_names(workloads: &Workloads, id: Id, time: u64) -> bool {
    workloads.known(id).is_some_and(|workload| {
        let young = time < workload.created.saturating_add(MAX_WAIT_NS);
        young && workload.identity.has_names() && workload.names == Names::default()
    })
}
