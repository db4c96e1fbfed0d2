//! Which workloads have all tiers of the history, when there is not room for all of them.

use super::{Workload, Workloads};
use crate::statistic::workload::Statistic;
use crate::view::history::{History, Signs, Track};

/// How long a workload with an incident is of interest for it, in nanoseconds.
const TROUBLE_NS: u64 = 24 * 3600 * 1_000_000_000;

impl Workloads {
    /// Every ten seconds. `total`: the host's memory.
    pub(crate) fn share_history(&mut self, time: u64, total: Option<u64>, history: &mut History) {
        // A free slot has no name. None of this is shown in a series of the workload.
        let named = |workload: &&mut Workload| !workload.name.is_empty();
        for workload in self.slots.all_unmarked().iter_mut().filter(named) {
            let signs = workload.signs(time, total);
            workload.track.follow(signs);
        }
        if history.fits(self.slots.all_unmarked().iter_mut().filter(named).map(|workload| &mut workload.track)) {
            return;
        }
        let mut ranked: Vec<&mut Workload> = self.slots.all_unmarked().iter_mut().filter(named).collect();
        ranked.sort_unstable_by(|one, other| {
            other.track.rank().total_cmp(&one.track.rank()).then_with(|| one.name.cmp(&other.name))
        });
        let mut tracks: Vec<&mut Track> = ranked.into_iter().map(|workload| &mut workload.track).collect();
        history.shed(&mut tracks);
    }
}

impl Workload {
    fn signs(&self, time: u64, total: Option<u64>) -> Signs {
        let get = |statistic| self.statistics.get(statistic).filter(|_| self.is_alive());
        let trouble = self.last_trouble().is_some_and(|trouble| time.saturating_sub(trouble) < TROUBLE_NS);
        Signs { used: get(Statistic::MemoryCurrent), limit: get(Statistic::MemoryLimit), total, trouble }
    }
}
