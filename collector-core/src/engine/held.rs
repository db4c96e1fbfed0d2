//! Kills that wait to be told until the host's names for who is in them are known: a container's name is on its way while
//! the container is still young, and a kill that names nobody helps nobody. They are counted at once.

use std::collections::VecDeque;

use crate::cgroup::Id;
use crate::identity::Names;
use crate::signal::oom::Kill;
use crate::view::workload::Workloads;

/// Kills that wait; one more, and the oldest is told as it is.
const KEPT: usize = 64;

/// How long one waits, in nanoseconds.
pub(crate) const PATIENCE_NS: u64 = 2_000_000_000;

/// The kills that wait, with their times.
#[derive(Clone, Debug, Default)]
pub struct Held(VecDeque<(u64, Kill)>);

impl Held {
    /// Holds one back. Gives the one that has to be told instead.
    pub(crate) fn hold(&mut self, time: u64, kill: Kill) -> Option<(u64, Kill)> {
        let first = if self.0.len() == KEPT { self.0.pop_front() } else { None };
        self.0.push_back((time, kill));
        first
    }

    /// Gives those that wait no longer, oldest first.
    pub(crate) fn release(&mut self, waits: impl Fn(u64, &Kill) -> bool) -> Vec<(u64, Kill)> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let (held, released) = std::mem::take(&mut self.0).into_iter().partition(|(time, kill)| waits(*time, kill));
        self.0 = held;
        Vec::from(released)
    }
}

/// Whether the host's names for a cgroup's workload are still on their way: it is young, and has none.
pub(super) fn expects_names(workloads: &Workloads, id: Id, time: u64) -> bool {
    workloads.of(id).is_some_and(|workload| {
        let young = time < workload.created.saturating_add(PATIENCE_NS);
        young && workload.identity.has_names() && workload.names == Names::default()
    })
}
