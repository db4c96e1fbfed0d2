//! OOM kills that wait for the names of their workloads before they are reported: the name of a young container arrives late,
//! and a kill without a name helps nobody. Metrics count them at once.

use std::collections::VecDeque;

use crate::cgroup::Id;
use crate::identity::Names;
use crate::signal::oom::Kill;
use crate::view::workload::Workloads;

/// At most this many kills wait. With one more, the oldest is reported as it is.
const KEPT: usize = 64;

/// How long a kill waits, in nanoseconds.
pub(crate) const PATIENCE_NS: u64 = 2_000_000_000;

/// Waiting kills with their times.
#[derive(Clone, Debug, Default)]
pub struct Held(VecDeque<(u64, Kill)>);

impl Held {
    /// Adds a kill. Returns the oldest if there is no room for both.
    pub(crate) fn hold(&mut self, time: u64, kill: Kill) -> Option<(u64, Kill)> {
        let first = if self.0.len() == KEPT { self.0.pop_front() } else { None };
        self.0.push_back((time, kill));
        first
    }

    /// Removes and returns the kills that wait no longer, oldest first.
    pub(crate) fn release(&mut self, waits: impl Fn(u64, &Kill) -> bool) -> Vec<(u64, Kill)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let (held, released) = std::mem::take(&mut self.0).into_iter().partition(|(time, kill)| waits(*time, kill));
        self.0 = held;
        Vec::from(released)
    }
}

/// Whether names for a cgroup's workload may still arrive: it is young, and has none.
pub(super) fn expects_names(workloads: &Workloads, id: Id, time: u64) -> bool {
    workloads.of(id).is_some_and(|workload| {
        let young = time < workload.created.saturating_add(PATIENCE_NS);
        young && workload.identity.has_names() && workload.names == Names::default()
    })
}
