//! The workloads' part in the history: who has all tiers when there is not room for all, and what goes to the disk of those that leave.

use super::{Workload, Workloads};
use crate::statistic::workload::Statistic;
use crate::tier::Entry;
use crate::view::history::{History, Signs, Track, Written};

/// How long a workload with an incident is of interest for it, in nanoseconds.
const TROUBLE_NS: u64 = 24 * 3600 * 1_000_000_000;

/// Most workloads that leave between two ticks and are kept.
const MANY: usize = 4096;
/// So many are handed out before the quarter of an hour is over.
const ENOUGH: usize = 256;

/// What is known of the open quarter of an hour of workloads that left in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Departed {
    entries: Vec<Entry>,
    lost: u64,
}

impl Departed {
    pub fn add(&mut self, workload: &Workload, written: Written) {
        let Some(entry) = workload.history_left(written) else { return };
        match self.entries.len() < MANY {
            true => self.entries.push(entry),
            false => self.lost += 1,
        }
    }

    /// Number that were not kept.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

impl Workloads {
    /// What goes to the disk of workloads that left: when the quarter of an hour is over, or if they are many.
    pub(crate) fn take_departed(&mut self, over: bool) -> Vec<Entry> {
        let entries = &mut self.departed.entries;
        if over || entries.len() >= ENOUGH { std::mem::take(entries) } else { Vec::new() }
    }

    /// What of the history has not gone to the disk.
    pub(crate) fn history_left(&self) -> impl Iterator<Item = Entry> {
        self.departed
            .entries
            .iter()
            .cloned()
            .chain(self.iter().filter_map(|workload| workload.history_left(self.written)))
    }

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
    fn history_left(&self, written: Written) -> Option<Entry> {
        self.track.rest(written)?.entry(Some(self.name.clone()), self.identity.owner.clone())
    }

    fn signs(&self, time: u64, total: Option<u64>) -> Signs {
        let get = |statistic| self.statistics.get(statistic).filter(|_| self.is_alive());
        let trouble = self.last_trouble().is_some_and(|trouble| time.saturating_sub(trouble) < TROUBLE_NS);
        Signs { used: get(Statistic::MemoryCurrent), limit: get(Statistic::MemoryLimit), total, trouble }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Id;
    use crate::engine::Engine;
    use crate::engine::test::{ID, start};
    use crate::outcome::Outcome;
    use crate::sample::{Reading, Sample, Start, Statistics};
    use crate::series::Series;
    use crate::signal::cgroup;
    use crate::tier::{Quarter, kept};

    const SECOND: u64 = 1_000_000_000;
    const QUARTER: u64 = 900;

    struct Host {
        engine: Engine,
        quarters: Vec<Quarter>,
    }

    impl Host {
        fn new(now: u64) -> Host {
            let mut host = Host { engine: Engine::new(), quarters: Vec::new() };
            let start = Start { workload_max: 1000, workload_grace: 5 * SECOND, ..start() };
            host.apply(now, Reading::Start(start));
            host
        }

        fn apply(&mut self, second: u64, reading: Reading) {
            let outcomes = self.engine.apply(&Sample { time: second * SECOND, reading });
            self.quarters.extend(outcomes.into_iter().filter_map(|outcome| match outcome {
                Outcome::History(quarter) => Some(*quarter),
                _ => None,
            }));
        }

        /// A workload that holds this much memory for one tick.
        fn live_shortly(&mut self, second: u64, id: u64, memory: u64) {
            let cgroup = Id { id, ..ID };
            self.apply(second, Reading::Cgroup(cgroup::Reading::Born { id: cgroup, path: format!("/job-{id}") }));
            let values = [(Statistic::MemoryCurrent, memory)].into_iter().collect();
            self.apply(second, Reading::Statistics(Statistics { cgroup, values, turn: false }));
            self.apply(second, Reading::Tick);
            self.apply(second, Reading::Cgroup(cgroup::Reading::Died { id: cgroup }));
        }

        /// The quarters in which a workload is, with its largest memory.
        fn found(&self, name: &str) -> Vec<(u64, f32)> {
            let all =
                self.quarters.iter().flat_map(|quarter| quarter.entries.iter().map(|entry| (quarter.time, entry)));
            let of = all.filter(|(_, entry)| entry.workload.as_deref() == Some(name));
            of.map(|(time, entry)| (time / SECOND, entry.row[0][2].value(crate::tier::KEPT[0]).unwrap())).collect()
        }
    }

    #[test]
    fn a_workload_that_left_within_a_quarter_is_in_it_once() {
        let begun = 1000 * QUARTER;
        let mut host = Host::new(begun);
        host.live_shortly(begun + 100, 7, 4096);
        (begun + 101..begun + 2 * QUARTER + 1).for_each(|second| host.apply(second, Reading::Tick));
        assert!(host.engine.view().workloads.find("/job-7").is_none());
        assert_eq!(host.found("/job-7"), [(begun, 4096.0)]);
        // One that leaves at the end of a quarter belongs to that, and what is left at the end goes out, too.
        host.live_shortly(begun + 3 * QUARTER - 6, 8, 8192);
        host.live_shortly(begun + 3 * QUARTER - 5, 9, 8192);
        (-4..30).for_each(|second| host.apply((begun + 3 * QUARTER).saturating_add_signed(second), Reading::Tick));
        assert_eq!(host.found("/job-8"), [(begun + 2 * QUARTER, 8192.0)]);
        assert_eq!(host.found("/job-9"), [(begun + 2 * QUARTER, 8192.0)]);
        host.live_shortly(begun + 3 * QUARTER + 40, 10, 1 << 20);
        (41..60).for_each(|second| host.apply(begun + 3 * QUARTER + second, Reading::Tick));
        let rest = host.engine.view().rest().unwrap();
        assert_eq!((rest.time, rest.entries.len()), ((begun + 3 * QUARTER) * SECOND, 1));
    }

    #[test]
    fn a_quarter_has_the_limit_of_then_and_a_limit_alone_is_no_use() {
        let begun = 1000 * QUARTER;
        let mut host = Host::new(begun);
        let [used, idle] = [7, 8].map(|id| Id { id, ..ID });
        for (cgroup, path) in [(used, "/used"), (idle, "/idle")] {
            host.apply(begun, Reading::Cgroup(cgroup::Reading::Born { id: cgroup, path: path.to_owned() }));
        }
        for second in 0..3 * QUARTER + 1 {
            // It is raised in the middle of the second quarter.
            let limit = if second < QUARTER * 3 / 2 { 8 << 20 } else { 64 << 20 };
            for (cgroup, memory) in [(used, 4096), (idle, 0)] {
                let values = [(Statistic::MemoryCurrent, memory), (Statistic::MemoryLimit, limit)];
                let statistics = Statistics { cgroup, values: values.into_iter().collect(), turn: true };
                host.apply(begun + second, Reading::Statistics(statistics));
            }
            host.apply(begun + second, Reading::Tick);
        }
        let kept = kept(Series::MemoryLimit).unwrap();
        let limits = host.quarters.iter().flat_map(|quarter| {
            let used = quarter.entries.iter().filter(|entry| entry.workload.as_deref() == Some("/used"));
            let of = |entry: &Entry| entry.row[kept].map(|code| code.value(Series::MemoryLimit).unwrap() as u64 >> 20);
            used.map(move |entry| (quarter.time / SECOND - begun, of(entry)))
        });
        let limits: Vec<_> = limits.collect();
        // The first minute goes out at once.
        assert_eq!(limits, [(0, [8; 3]), (0, [8; 3]), (QUARTER, [8, 36, 64]), (2 * QUARTER, [64; 3])]);
        assert_eq!(host.found("/idle"), []);
    }

    #[test]
    fn many_that_leave_are_handed_out_at_once() {
        let begun = 1000 * QUARTER;
        let mut host = Host::new(begun);
        (0..600).for_each(|number| host.live_shortly(begun + 100 + number, 1000 + number, 4096));
        assert_eq!(host.quarters.iter().map(|quarter| quarter.entries.len()).filter(|count| *count > 200).count(), 2);
        assert_eq!(host.found("/job-1000"), [(begun, 4096.0)]);
    }
}
