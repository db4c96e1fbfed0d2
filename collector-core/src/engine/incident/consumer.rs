//! Workloads that held most memory, grew most or waited longest. A workload is charged for the workloads nested in it: here
//! their memory is subtracted.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::cgroup::contains;
use crate::identity::Kind;
use crate::incident::Consumer;
use crate::series::Series;
use crate::statistic::workload::Statistic;
use crate::view::View;
use crate::view::history::Window;
use crate::view::number::{Known, Number};
use crate::view::workload::Workload;

/// Workloads listed by the order, and further ones that grew most.
const LISTED: usize = 8;
const LISTED_FOR_GROWTH: usize = 3;

/// What the list is sorted by, highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Memory,
    MemoryWaiting,
    IoWaiting,
}

/// A workload, and the entries nested in it.
struct Entry<'v> {
    workload: &'v Workload,
    below: Vec<usize>,
    /// Without the workloads nested in it.
    memory: Option<f64>,
    growth: Option<f64>,
    swap: Option<f64>,
    /// Page cache without shared memory.
    cache: Option<f64>,
    /// What memory.min protects: at most what it protects above, up to the limit that is reclaimed for.
    protected: u64,
    /// It contains others, which have all been read, and has no process of its own.
    left: bool,
    /// All that are nested in it have been read.
    read: bool,
}

/// The cgroup of a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Within<'a> {
    pub path: &'a str,
    /// No process was in the cgroup itself when it was looked at.
    pub empty: bool,
}

/// The first workloads, only those at and below a cgroup if one is given; and the workload `always`, at any place.
pub(super) fn list(
    view: &View,
    window: &Window,
    order: Order,
    within: Option<Within<'_>>,
    always: Option<&str>,
) -> Vec<Consumer> {
    let entries = entries(view, window, within);
    // Sorted by time waited first; by bytes read and written where that time is not known.
    let score = |entry: &Entry<'_>| -> [f64; 2] {
        let track = &entry.workload.track;
        let total = |series| window.total(track, series);
        // A workload with others nested in it waits whenever one of them does.
        let waited = |series| total(series).filter(|_| entry.below.is_empty());
        let io = || Some(total(Series::Read)? + total(Series::Write)?);
        let score = match order {
            Order::Memory => [entry.memory, None],
            Order::MemoryWaiting => [waited(Series::MemoryWaiting).or(total(Series::Stalls)), None],
            Order::IoWaiting => [waited(Series::IoWaiting), io()],
        };
        score.map(|number| number.unwrap_or(0.0).max(0.0))
    };
    let scores: Vec<[f64; 2]> = entries.iter().map(score).collect();
    let mut places: Vec<usize> = (0..entries.len()).filter(|place| scores[*place] != [0.0; 2]).collect();
    places.sort_by(|one, two| {
        let ([one, less], [two, more]) = (scores[*one], scores[*two]);
        two.total_cmp(&one).then(more.total_cmp(&less))
    });
    places.truncate(LISTED);
    let mut grown: Vec<usize> = (0..entries.len()).filter(|place| entries[*place].growth > Some(0.0)).collect();
    grown.sort_by_key(|place| Reverse(entries[*place].growth.unwrap_or(0.0) as i64));
    let own = entries.iter().position(|it| Some(&*it.workload.name) == always && it.memory.is_some());
    for place in grown.into_iter().take(LISTED_FOR_GROWTH).chain(own) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    let known = Known::of(&view.coverage);
    places.into_iter().map(|place| consumer(&entries, place, window, order, known)).collect()
}

fn entries<'v>(view: &'v View, window: &Window, within: Option<Within<'_>>) -> Vec<Entry<'v>> {
    let mut entries: Vec<Entry<'v>> = Vec::new();
    let mut open: Vec<(&str, usize)> = Vec::new();
    let mut known: BTreeMap<*const Workload, usize> = BTreeMap::new();
    for (path, workload) in view.workloads.nested() {
        if within.is_some_and(|within| !contains(within.path, path)) {
            continue;
        }
        while open.last().is_some_and(|(above, _)| !contains(above, path)) {
            open.pop();
        }
        // A workload with cgroups at several paths is placed at the first.
        let place = *known.entry(workload).or_insert(entries.len());
        if place == entries.len() {
            let track = &workload.track;
            let memory = window.newest(track, Series::Memory);
            let growth = window.growth(track, Series::Memory);
            let swap = window.newest(track, Series::Swap);
            let cache = workload.page_cache().map(|cache| cache as f64);
            // The kernel's own rule (effective_protection in mm/page_counter.c): below the cgroup that is reclaimed from, each
            // is protected no more than the one above it.
            let whole = within.map_or("/", |within| within.path);
            let above =
                open.last().map(|(_, above)| &entries[*above]).filter(|above| *above.workload.identity.top != *whole);
            let min = workload.statistics.get(Statistic::MemoryMin).unwrap_or(0);
            let protected = above.map_or(min, |above| min.min(above.protected));
            entries.push(Entry {
                workload,
                below: Vec::new(),
                memory,
                growth,
                swap,
                cache,
                protected,
                left: false,
                read: true,
            });
            if let Some((_, above)) = open.last() {
                let above = &mut entries[*above];
                above.below.push(place);
                // cgroup v2 allows no process beside cgroups with a memory controller, and a kubelet puts none into a pod.
                let seen = within.is_some_and(|it| it.empty && *above.workload.identity.top == *it.path);
                let empty = seen || view.workloads.memory_hierarchy() == 0 || above.workload.identity.kind == Kind::Pod;
                let root = *above.workload.identity.top == *"/";
                above.read &= memory.is_some() || !workload.is_alive();
                above.left = empty && above.read && !root && !view.workloads.is_full();
                for (whole, part) in [
                    (&mut above.memory, memory),
                    (&mut above.growth, growth),
                    (&mut above.swap, swap),
                    (&mut above.cache, cache),
                ] {
                    *whole = whole.map(|whole| whole - part.unwrap_or(0.0));
                }
            }
        }
        open.push((path, place));
    }
    entries
}

fn consumer(entries: &[Entry<'_>], place: usize, window: &Window, order: Order, known: Known) -> Consumer {
    let Entry { workload, below, memory, growth, swap, cache, protected, left, .. } = &entries[place];
    let track = &workload.track;
    let bytes = |number: Option<f64>| number.map(|number| number.max(0.0) as u64);
    let waiting = match order {
        Order::IoWaiting => Series::IoWaiting,
        Order::Memory | Order::MemoryWaiting => Series::MemoryWaiting,
    };
    let total = |series| window.total(track, series);
    let mut line = window.column(track, Series::Memory);
    for other in below {
        let part = window.column(&entries[*other].workload.track, Series::Memory);
        for (whole, part) in line.iter_mut().zip(part) {
            *whole = whole.map(|whole| (whole - part.unwrap_or(0.0)).max(0.0));
        }
    }
    let millis = |seconds: f64| (seconds * 1e3).round() / 1e3;
    Consumer {
        workload: workload.name.to_string(),
        memory_bytes: bytes(*memory),
        growth_bytes: growth.map(|growth| growth as i64),
        cache_bytes: bytes(*cache),
        protected_bytes: memory.map(|memory| (memory.max(0.0) as u64).min(*protected)).filter(|it| *it > 0),
        left: *left,
        limit_bytes: Number::Limit.of(workload, known),
        swap_bytes: bytes(*swap),
        vram_bytes: bytes(window.newest(track, Series::Vram)),
        pinned_bytes: bytes(window.newest(track, Series::Pinned)),
        waiting_seconds: total(waiting).filter(|_| below.is_empty()).map(millis),
        stall_seconds: total(Series::Stalls).map(millis),
        io_bytes: bytes(total(Series::Read).zip(total(Series::Write)).map(|(read, written)| read + written)),
        memory: line.into_iter().map(bytes).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MIB, SECOND, apply, measure, tick};
    use super::*;
    use crate::cgroup::Id;
    use crate::engine::Engine;
    use crate::sample::{Reading, Start};
    use crate::signal::cgroup;

    /// `/a` holds 300 MiB, of which `/a/b` has 100 and `/a/b/c` 80.
    fn list(hierarchy: u64, within: Option<&str>, empty: bool) -> Vec<Consumer> {
        use Statistic::{MemoryCurrent, MemoryFile, MemoryMin, MemoryShmem};
        let mut engine = Engine::new();
        let start = Start { workload_max: 10, memory_hierarchy: hierarchy, ..crate::engine::test::start() };
        apply(&mut engine, SECOND, Reading::Start(start));
        let cgroups = [("/a", 300, 250, 50, 10), ("/a/b", 100, 70, 20, 60), ("/a/b/c", 80, 40, 0, 500)];
        for (number, (path, ..)) in (1..).zip(cgroups) {
            let id = Id { hierarchy, id: number };
            apply(&mut engine, SECOND, Reading::Cgroup(cgroup::Reading::Born { id, path: path.to_owned() }));
        }
        for (number, (_, current, file, shmem, min)) in (1..).zip(cgroups) {
            let numbers = [(MemoryCurrent, current), (MemoryFile, file), (MemoryShmem, shmem), (MemoryMin, min)];
            let numbers = numbers.map(|(statistic, mib)| (statistic, mib * MIB));
            measure(&mut engine, 2 * SECOND, Id { hierarchy, id: number }, &numbers);
        }
        tick(&mut engine, 2);
        let view = engine.view();
        super::list(
            view,
            &view.history.window(2 * SECOND),
            Order::Memory,
            within.map(|path| Within { path, empty }),
            None,
        )
    }

    fn mib(of: impl Fn(&Consumer) -> Option<u64>, consumers: &[Consumer]) -> Vec<(&str, u64)> {
        consumers.iter().map(|it| (&*it.workload, of(it).unwrap_or(0) / MIB)).collect()
    }

    #[test]
    fn page_cache_is_without_shared_memory_and_without_what_is_below() {
        let consumers = list(5, None, false);
        assert_eq!(mib(|it| it.memory_bytes, &consumers), [("/a", 200), ("/a/b/c", 80), ("/a/b", 20)]);
        assert_eq!(mib(|it| it.cache_bytes, &consumers), [("/a", 150), ("/a/b/c", 40), ("/a/b", 10)]);
    }

    #[test]
    fn protection_is_that_below_the_limit_and_no_more_than_above() {
        let wanted = [
            (None, [("/a", 10), ("/a/b/c", 10), ("/a/b", 10)]),
            (Some("/a"), [("/a", 10), ("/a/b/c", 60), ("/a/b", 20)]),
        ];
        for (within, wanted) in wanted {
            assert_eq!(mib(|it| it.protected_bytes, &list(0, within, false)), wanted, "{within:?}");
        }
    }

    #[test]
    fn on_cgroup_v2_a_cgroup_with_others_in_it_has_no_process_and_on_v1_it_may_have_been_seen_without() {
        for (hierarchy, empty, wanted) in [(0, false, ["/a", "/a/b"].as_slice()), (5, false, &[]), (5, true, &["/a"])] {
            let consumers = list(hierarchy, Some("/a"), empty);
            let left: Vec<&str> = consumers.iter().filter(|it| it.left).map(|it| &*it.workload).collect();
            assert_eq!(left, wanted, "{hierarchy} {empty}");
        }
    }
}
