//! OOM kills that no program saw: the kernel's own counts grew. Used only where no program sees kills.
//!
//! On cgroup v2 a kill is counted in the cgroup and in all above it, so what grew above is explained by what grew below. Files
//! are read one after the other, and a kill may come in between: what is not explained waits for the next tick.

use super::member::Member;
use super::statistics::Statistics;
use super::{OTHER_SLOT, Workload, Workloads};
use crate::cgroup::{Id, contains, tree_order};
use crate::statistic::workload::{Statistic, Values};

/// Kills in one workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// Its memory cgroup; `None` if only the host's count shows them.
    pub cgroup: Option<Id>,
    pub kills: u64,
    /// The tick before the one at which the count had grown.
    pub time: u64,
}

/// What is known of one count.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kills {
    /// Kills counted until the last tick.
    count: Option<u64>,
    /// Of those, kills that nothing below explains. Negative: more were read below so far.
    open: i64,
    /// The tick before `open` became positive.
    since: u64,
}

impl Kills {
    /// So many of those that will be counted next are from before.
    pub fn rebase(&mut self, kills: u64) {
        self.count = Some(self.count.unwrap_or(0).saturating_add(kills));
    }

    /// Adds those of another workload that is this one from now on.
    pub fn absorb(&mut self, newer: Kills) {
        self.rebase(newer.count.unwrap_or(0));
        self.open = self.open.saturating_add(newer.open);
        self.since = self.since.max(newer.since);
    }

    /// Takes the count at a tick; returns by how much it grew. Before the first there was `origin`, if that is known.
    fn grow(&mut self, now: Option<u64>, origin: Option<u64>) -> i64 {
        let before = self.count.or(origin);
        self.count = now.or(self.count);
        let growth = before.zip(now).map_or(0, |(before, now)| now.saturating_sub(before));
        i64::try_from(growth).unwrap_or(i64::MAX)
    }

    /// Kills that are still not explained a tick later, with their time. `before` is the last tick.
    fn settle(&mut self, growth: i64, below: i64, before: u64) -> Option<(u64, u64)> {
        let open = self.open.saturating_add(growth).saturating_sub(below);
        let sure = self.open.min(open).max(0);
        let since = self.since;
        if self.open <= 0 || open > self.open {
            self.since = before;
        }
        self.open = open - sure;
        (sure > 0).then_some((sure as u64, since))
    }
}

impl Workloads {
    /// At a tick: kills of the tick before that nothing else explains. `host` is the kernel's count for the whole host.
    pub(crate) fn unseen_kills(&mut self, time: u64, host: Option<u64>) -> Vec<Unseen> {
        let Some(before) = self.kills_counted.replace(time) else {
            for workload in self.slots.all_unmarked() {
                workload.count_kills();
            }
            self.kills.grow(host, None);
            return Vec::new();
        };
        // Built only if something moved: this runs at every tick.
        let mut growths: Vec<i64> = Vec::new();
        let mut moved = self.kills.open != 0;
        for (slot, workload) in self.slots.all_unmarked().iter_mut().enumerate() {
            let growth = workload.count_kills();
            if growth > 0 {
                growths.resize(slot, 0);
                growths.push(growth);
            }
            moved |= growth > 0 || workload.recent.kills.open != 0;
        }
        let growth = self.kills.grow(host, None);
        if !moved && growth == 0 {
            return Vec::new();
        }
        growths.resize(self.slots.len(), 0);
        let (below, outermost) = self.below(&growths);
        let mut unseen = Vec::new();
        for slot in 0..self.slots.len() {
            let kills = &mut self.slots.visit(slot).recent.kills;
            if let Some((kills, time)) = kills.settle(growths[slot], below[slot], before) {
                unseen.push(Unseen { cgroup: self.own_cgroup(slot), kills, time });
            }
        }
        if let Some((kills, time)) = self.kills.settle(growth, outermost, before) {
            unseen.push(Unseen { cgroup: None, kills, time });
        }
        unseen
    }

    /// For each workload how much the counts below it grew, and the same for the host.
    fn below(&self, growths: &[i64]) -> (Vec<i64>, i64) {
        let (mut below, mut outermost) = (vec![0; growths.len()], 0i64);
        let hierarchical = self.memory_hierarchy() == 0;
        let mut tops: Vec<(&str, usize)> = self.tops.iter().map(|(path, top)| (&**path, top.slot)).collect();
        tops.sort_unstable_by(|(one, _), (two, _)| tree_order(one, two));
        let mut counted = vec![false; growths.len()];
        counted[OTHER_SLOT] = true;
        let mut above: Vec<(&str, usize)> = Vec::new();
        for (path, slot) in tops {
            while above.last().is_some_and(|(outer, _)| !contains(outer, path)) {
                above.pop();
            }
            if !std::mem::replace(&mut counted[slot], true) {
                let into = match above.last().filter(|_| hierarchical) {
                    Some((_, outer)) => &mut below[*outer],
                    None => &mut outermost,
                };
                *into = into.saturating_add(growths[slot]);
            }
            // The root cgroup of v2 counts nothing: the host does.
            if path != "/" {
                above.push((path, slot));
            }
        }
        (below, outermost)
    }

    /// A workload's own memory cgroup.
    fn own_cgroup(&self, slot: usize) -> Option<Id> {
        let own = |member: &Member| member.slot == slot && member.own() == Some(member.path());
        let mut members = self.cgroups.iter().filter(|(id, _)| id.hierarchy == self.memory_hierarchy());
        members.find(|(_, member)| own(member)).map(|(id, _)| *id)
    }
}

impl Workload {
    /// Takes the numbers of one of its cgroups. Kills that one counted before it belonged to the workload are not new. Returns
    /// whether any number of the workload changed.
    pub(super) fn measure(&mut self, member: &mut Member, values: &Values) -> bool {
        let kills = |statistics: &Statistics| statistics.get(Statistic::MemoryEventOomKill).unwrap_or(0);
        let before = kills(&self.statistics);
        let moved = self.statistics.measure(&mut member.last, values);
        if values.get(Statistic::MemoryEventOomKill).is_some() && std::mem::take(&mut member.old) {
            self.recent.kills.rebase(kills(&self.statistics).saturating_sub(before));
        }
        moved
    }

    fn count_kills(&mut self) -> i64 {
        self.recent.kills.grow(self.statistics.get(Statistic::MemoryEventOomKill), Some(0))
    }
}

#[cfg(test)]
mod tests {
    use crate::cgroup::Id;
    use crate::engine::Engine;
    use crate::engine::test::start;
    use crate::incident::{Incident, Kind};
    use crate::outcome::Outcome;
    use crate::sample::{Probe, ProbeState, Reading, Sample, Start, Statistics};
    use crate::signal::cgroup;
    use crate::statistic::host;
    use crate::statistic::workload::Statistic;

    const SECOND: u64 = 1_000_000_000;
    const MIB: u64 = 1 << 20;

    struct Host {
        engine: Engine,
        second: u64,
    }

    impl Host {
        /// With the root cgroup, `/pod`, id 1, and `/pod/web` in it, id 2, on cgroup v2 or v1.
        fn new(hierarchy: u64, probe: Option<ProbeState>) -> Host {
            let mut engine = Engine::new();
            let born = |id, path: &str| cgroup::Reading::Born { id: Id { id, hierarchy }, path: path.into() };
            let start = Start { workload_max: 10, memory_hierarchy: hierarchy, io_hierarchy: hierarchy, ..start() };
            let probe = probe.map(|state| Probe { program: "oom_mark_victim".into(), state, reason: None });
            let readings = [Reading::Start(start)].into_iter().chain(probe.map(Reading::Probe));
            for reading in readings.chain([born(9, "/"), born(1, "/pod"), born(2, "/pod/web")].map(Reading::Cgroup)) {
                engine.apply(&Sample { time: 1, reading });
            }
            Host { engine, second: 0 }
        }

        /// A tick at which these counts of kills are read, by id of the cgroup; 0 is the host. Returns new incidents.
        fn tick(&mut self, kills: &[(u64, u64)]) -> Vec<Incident> {
            self.second += 1;
            let (time, mut outcomes) = (self.second * SECOND, Vec::new());
            let hierarchy = self.engine.view().workloads.memory_hierarchy();
            for (id, count) in kills.iter().copied() {
                let reading = match id {
                    0 => Reading::Host([(host::Statistic::OomKills, count)].into_iter().collect()),
                    id => {
                        let limit = (Statistic::MemoryLimit, 64 * MIB * id);
                        let whole = [(Statistic::MemoryCurrent, 60 * MIB), (Statistic::MemoryEventOomKill, count)];
                        // cgroup v1 counts no more.
                        let more = [(Statistic::MemoryEventOom, count), limit].into_iter().filter(|_| hierarchy == 0);
                        let values = whole.into_iter().chain(more).collect();
                        Reading::Statistics(Statistics { cgroup: Id { id, hierarchy }, values, turn: true })
                    }
                };
                outcomes.extend(self.engine.apply(&Sample { time, reading }));
            }
            outcomes.extend(self.engine.apply(&Sample { time, reading: Reading::Tick }));
            let new = |outcome| match outcome {
                Outcome::Incident(it) if !it.complete => Some(*it),
                _ => None,
            };
            outcomes.into_iter().filter_map(new).collect()
        }

        /// Workload and number of each kill that is told.
        fn told(&mut self, kills: &[(u64, u64)]) -> Vec<(String, u64)> {
            let told = |it: Incident| (it.labels.get("workload").cloned().unwrap_or_default(), it.evidence.killed);
            self.tick(kills).into_iter().map(told).collect()
        }
    }

    /// A walk that finds these, besides what there is from the start.
    fn walk(host: &mut Host, found: &[(u64, &str)]) {
        let time = host.second * SECOND + 1;
        let all = [(9, "/"), (1, "/pod"), (2, "/pod/web")].into_iter().chain(found.iter().copied());
        let born = all.map(|(id, path)| cgroup::Reading::Born { id: Id { id, hierarchy: 0 }, path: path.into() });
        let walk = [cgroup::Reading::Walk].into_iter().chain(born).chain([cgroup::Reading::Walked]);
        for reading in walk.map(Reading::Cgroup) {
            host.engine.apply(&Sample { time, reading });
        }
    }

    const BLIND: Option<ProbeState> = Some(ProbeState::Failed);

    #[test]
    fn a_kill_that_only_the_count_shows_is_told_once_with_what_is_known() {
        let mut host = Host::new(0, BLIND);
        for _ in 0..20 {
            assert_eq!(host.tick(&[(1, 5), (2, 5), (0, 9)]), [], "what was counted before is not new");
        }
        assert_eq!(host.tick(&[(1, 6), (2, 6), (0, 10)]), [], "more may be read");
        let told = host.tick(&[(1, 6), (2, 6), (0, 10)]);
        let [kill] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!((kill.kind, &*kill.labels["workload"], kill.evidence.killed), (Kind::Oom, "/pod/web", 1));
        assert_eq!((kill.time, &kill.evidence.kills), (20 * SECOND, &Vec::new()));
        assert_eq!(kill.title, "OOM kill of an unknown process in /pod/web: its own limit of 128 MiB was hit");
        assert!(kill.cause.sentence.contains("not which process") && kill.cause.next.contains("doctor"), "{kill:?}");
        assert!(host.tick(&[(1, 6), (2, 6), (0, 10)]).is_empty());
        assert_eq!(host.engine.finish().len(), 0, "it is complete");
    }

    #[test]
    fn where_a_probe_sees_kills_or_nothing_is_known_of_probes_no_count_is_told() {
        for probe in [None, Some(ProbeState::Attached)] {
            let mut host = Host::new(0, probe);
            let told: Vec<_> = (0..9).flat_map(|count| host.told(&[(1, count), (2, count), (0, count)])).collect();
            assert_eq!(told, [], "{probe:?}");
        }
    }

    #[test]
    fn what_grew_above_is_explained_by_what_grew_below_whichever_is_read_first() {
        let web = [("/pod/web".to_owned(), 1)];
        for order in [[(1, 1), (2, 0), (0, 0)], [(1, 0), (2, 1), (0, 0)], [(1, 0), (2, 0), (0, 1)]] {
            let mut host = Host::new(0, BLIND);
            host.told(&[(1, 0), (2, 0), (0, 0)]);
            let mut told = host.told(&order);
            for _ in 0..5 {
                told.extend(host.told(&[(1, 1), (2, 1), (0, 1)]));
            }
            assert_eq!(told, web, "{order:?}");
        }
    }

    #[test]
    fn what_nothing_below_explains_was_above() {
        let mut host = Host::new(0, BLIND);
        host.told(&[(1, 0), (2, 0), (0, 0)]);
        host.told(&[(1, 2), (2, 0), (0, 3)]);
        let told = host.told(&[(1, 2), (2, 0), (0, 3)]);
        assert_eq!(told, [("/pod".to_owned(), 2), (String::new(), 1)]);
    }

    #[test]
    fn a_cgroup_that_a_walk_finds_late_tells_only_kills_since_then() {
        let mut host = Host::new(0, BLIND);
        host.told(&[(1, 0), (2, 0), (0, 4)]);
        walk(&mut host, &[]);
        host.told(&[(1, 0), (2, 0), (0, 4)]);
        // The walk before could have met the one with the lower id; the other is younger than that.
        walk(&mut host, &[(4, "/old"), (10, "/young")]);
        host.told(&[(4, 4), (10, 1), (0, 5)]);
        assert_eq!(host.told(&[(4, 4), (10, 1), (0, 5)]), [("/young".to_owned(), 1)]);
        host.told(&[(4, 5), (10, 1), (0, 6)]);
        assert_eq!(host.told(&[(4, 5), (10, 1), (0, 6)]), [("/old".to_owned(), 1)]);
    }

    #[test]
    fn what_a_cgroup_counted_before_it_joined_a_workload_is_not_new() {
        let mut host = Host::new(0, BLIND);
        host.told(&[(0, 0)]);
        walk(&mut host, &[]);
        let path = "/system.slice/a.service";
        walk(&mut host, &[(10, path)]);
        host.told(&[(10, 2), (0, 2)]);
        assert_eq!(host.told(&[(10, 2), (0, 2)]), [("a.service".to_owned(), 2)]);
        // Nested in it, and met too late.
        walk(&mut host, &[(10, path), (5, "/system.slice/a.service/x")]);
        let all = [(10, 2), (5, 7), (0, 2)];
        assert_eq!((host.told(&all), host.told(&all), host.told(&all)), (vec![], vec![], vec![]));
    }

    #[test]
    fn a_cgroup_that_gets_a_place_late_tells_only_kills_since_then() {
        let mut engine = Engine::new();
        let start = Start { workload_max: 1, memory_hierarchy: 0, io_hierarchy: 0, ..start() };
        let probe = Probe { program: "oom_mark_victim".into(), state: ProbeState::Failed, reason: None };
        let born = [(1, "/a"), (2, "/b")].map(|(id, path)| {
            Reading::Cgroup(cgroup::Reading::Born { id: Id { id, hierarchy: 0 }, path: path.into() })
        });
        for reading in [Reading::Start(start), Reading::Probe(probe)].into_iter().chain(born) {
            engine.apply(&Sample { time: 1, reading });
        }
        let mut host = Host { engine, second: 0 };
        host.told(&[(1, 0), (0, 3)]);
        host.told(&[(1, 0), (2, 3), (0, 3)]);
        // It holds nothing any more, so the other takes its place.
        let empty = [(Statistic::MemoryCurrent, 0), (Statistic::Populated, 0)].into_iter().collect();
        let reading = Reading::Statistics(Statistics { cgroup: Id { id: 1, hierarchy: 0 }, values: empty, turn: true });
        host.engine.apply(&Sample { time: 2 * SECOND, reading });
        let told: Vec<_> = (0..5).flat_map(|_| host.told(&[(2, 3), (0, 3)])).collect();
        assert_eq!((told, host.engine.view().workloads.find("/b").is_some()), (vec![], true));
        host.told(&[(2, 4), (0, 4)]);
        assert_eq!(host.told(&[(2, 4), (0, 4)]), [("/b".to_owned(), 1)]);
    }

    #[test]
    fn on_cgroup_v1_each_cgroup_counts_its_own() {
        let mut host = Host::new(5, BLIND);
        host.told(&[(1, 0), (2, 0), (0, 0)]);
        host.told(&[(1, 1), (2, 2), (0, 3)]);
        let mut told = host.told(&[(1, 1), (2, 2), (0, 3)]);
        told.sort();
        assert_eq!(told, [("/pod".to_owned(), 1), ("/pod/web".to_owned(), 2)]);
    }
}
