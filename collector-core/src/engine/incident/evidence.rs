//! Gathers the evidence: what the view knows at a moment.

use crate::cgroup::contains;
use crate::incident::{Change, Evidence, Figures, History, Host, What};
use crate::series::Series;
use crate::statistic::host::Statistic as OfHost;
use crate::statistic::workload::Statistic;
use crate::view::View;
use crate::view::history::Window;
use crate::view::number::{Known, Number};
use crate::view::workload::Workload;

use super::consumer;

/// Maximum number of changes listed.
const MAX_CHANGES: usize = 20;
/// How far back changes reach, in nanoseconds: workloads that started or ended, of which there are many; and other changes.
const LIFE_REACH_NS: u64 = 120_000_000_000;
const REACH_NS: u64 = 900_000_000_000;
/// Workloads seen this soon after the agent started were there before it.
const STARTUP_NS: u64 = 2_000_000_000;

/// Evidence about the host, and the workloads that held its memory.
pub(super) fn of_host(view: &View, window: &Window, order: consumer::Order, always: Option<&str>) -> Evidence {
    Evidence {
        read: window.times().last(),
        consumers: consumer::list(view, window, order, None, always),
        host: host(view),
        history: History { host: window.lines(&view.history.host), ..History::default() },
        ..Evidence::default()
    }
}

/// How many seconds before `time` each point is.
pub(super) fn ago(window: &Window, time: u64) -> Vec<f64> {
    window.times().map(|at| seconds_before(at, time)).collect()
}

/// How many seconds before `time` a moment is, to the millisecond.
pub(super) fn seconds_before(at: u64, time: u64) -> f64 {
    ((time as f64 - at as f64) / 1e6).round() / 1e3
}

/// The figures of one workload.
pub(super) fn figures(view: &View, workload: &Workload, window: &Window) -> Figures {
    let known = Known::of(&view.coverage);
    let now = |number: Number| number.of(workload, known);
    let number = |statistic| workload.statistics.get(statistic);
    let dirty = number(Statistic::MemoryDirty).zip(number(Statistic::MemoryWriteback));
    let level = |series| window.newest(&workload.track, series).map(|value| value as u64);
    Figures {
        workload: workload.name.to_string(),
        kind: workload.identity.kind.label().to_owned(),
        cgroup: workload.identity.top.to_string(),
        memory_bytes: level(Series::Memory),
        peak_bytes: now(Number::Peak),
        limit_bytes: now(Number::Limit),
        high_bytes: now(Number::High),
        throttled: workload.recent.throttled,
        frozen: number(Statistic::MemoryUnderOom) == Some(1),
        swap_bytes: level(Series::Swap),
        swap_limit_bytes: now(Number::SwapLimit),
        read_limit_bytes_per_second: number(Statistic::IoReadLimit),
        write_limit_bytes_per_second: number(Statistic::IoWriteLimit),
        anon_bytes: now(Number::Anon),
        file_bytes: now(Number::File),
        shmem_bytes: now(Number::Shmem),
        kernel_bytes: now(Number::Kernel),
        socket_bytes: number(Statistic::MemorySockets),
        unevictable_bytes: number(Statistic::MemoryUnevictable),
        dirty_bytes: dirty.map(|(dirty, writeback)| dirty.saturating_add(writeback)),
        parts_read: workload.recent.parts_read,
        pinned_bytes: level(Series::Pinned),
        born: workload.recent.born.filter(|born| *born > view.started.saturating_add(STARTUP_NS)),
        killed_before: workload.recent.killed_before,
    }
}

pub(super) fn host(view: &View) -> Host {
    let get = |statistic| view.host.statistics.get(statistic);
    let memory = view.host.memory();
    Host {
        total_bytes: memory.map(|memory| memory.total).or(get(OfHost::MemoryTotal)),
        available_bytes: memory.map(|memory| memory.available).or(get(OfHost::MemoryAvailable)),
        free_bytes: get(OfHost::MemoryFree),
        anon_bytes: get(OfHost::MemoryAnon),
        cached_bytes: get(OfHost::MemoryCached),
        shmem_bytes: get(OfHost::MemoryShmem),
        slab_bytes: get(OfHost::MemorySlab),
        unevictable_bytes: get(OfHost::MemoryUnevictable),
        pinned_bytes: get(OfHost::MemoryPinned),
        dirty_bytes: get(OfHost::MemoryDirty),
        swap_total_bytes: get(OfHost::SwapTotal),
        swap_free_bytes: get(OfHost::SwapFree),
    }
}

/// The latest changes before a moment: first those of the workloads `concerned` (the affected one first), of those above it
/// and beside it, then others. If there are too many, those of the workloads `concerned` are kept, then near ones and those
/// that are not the start or end of a workload. A limit of theirs that was only read after that moment may have changed before
/// it, and is among them. `found` is a change that no reading has shown yet.
pub(super) fn changes(view: &View, time: u64, concerned: &[&str], found: Option<Change>) -> Vec<Change> {
    let recent = |at: u64, reach: u64| at <= time && time - at <= reach;
    let change = |time, what, of: &str| {
        let of = of.to_owned();
        Change { time, since: None, what, of, before: None, after: None }
    };
    let late =
        |it: &Change| it.time > time && it.since.is_some_and(|since| since <= time) && concerned.contains(&&*it.of);
    let kept = |it: &&Change| recent(it.time, REACH_NS) || late(it);
    let mut changes: Vec<Change> = view.changes.iter().filter(kept).cloned().collect();
    let same = |one: &Change, two: &Change| (one.what, &one.of, one.after) == (two.what, &two.of, two.after);
    changes.extend(found.filter(|found| !changes.iter().any(|change| same(change, found))));
    if recent(view.started, LIFE_REACH_NS) {
        changes.push(change(view.started, What::Agent, "headroom"));
    }
    for workload in view.workloads.iter().skip(1) {
        if recent(workload.created, LIFE_REACH_NS) && workload.created > view.started.saturating_add(STARTUP_NS) {
            changes.push(change(workload.created, What::Came, &workload.name));
        }
        if let Some(gone) = workload.gone_since().filter(|gone| recent(*gone, LIFE_REACH_NS)) {
            changes.push(change(gone, What::Went, &workload.name));
        }
    }
    let path = |name: &str| view.workloads.find(name).map(|workload| &*workload.identity.top);
    let own = concerned.first().and_then(|name| path(name));
    // The root contains all, and says nothing of any.
    let above = |of: &str, own: &str| of != "/" && contains(of, own);
    let beside = |change: &Change| {
        own.zip(path(&change.of))
            .is_some_and(|(own, of)| above(of, own) || parent(of).is_some() && parent(of) == parent(own))
    };
    let placed = |change: Change| {
        let concerned = concerned.contains(&change.of.as_str());
        (concerned, concerned || beside(&change), change)
    };
    let life = |change: &Change| matches!(change.what, What::Came | What::Went);
    let mut changes: Vec<(bool, bool, Change)> = changes.into_iter().map(placed).collect();
    // The ones to leave out come first.
    changes.sort_by_key(|(concerned, near, change)| (*concerned, *near || !life(change), change.time));
    changes.drain(..changes.len().saturating_sub(MAX_CHANGES));
    changes.sort_by_key(|(_, near, change)| (!near, change.time));
    changes.into_iter().map(|(.., change)| change).collect()
}

/// The path above a path; `None` directly below the root.
fn parent(path: &str) -> Option<&str> {
    path.rfind('/').filter(|at| *at > 0).map(|at| &path[..at])
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MIB, SECOND, apply, id, measure, tick};
    use super::*;
    use crate::engine::Engine;
    use crate::sample::{Reading, Start};
    use crate::signal::cgroup;

    #[test]
    fn of_many_changes_those_that_concern_the_workload_stay() {
        let mut engine = Engine::new();
        let start = Start { workload_max: 100, ..crate::engine::test::start() };
        apply(&mut engine, SECOND, Reading::Start(start));
        for number in 1..40 {
            let born = cgroup::Reading::Born { id: id(number), path: format!("/a/{number}") };
            apply(&mut engine, SECOND, Reading::Cgroup(born));
        }
        // The limit of /a/1 changes first, then those of all its siblings, and some come and go.
        for second in 2..6 {
            for number in 1..40 {
                let changed = if number == 1 { 3 } else { 4 };
                let limit = if second < changed { 9 } else { 8 };
                let numbers = [(Statistic::MemoryCurrent, MIB), (Statistic::MemoryLimit, limit * MIB)];
                measure(&mut engine, second * SECOND, id(number), &numbers);
            }
            tick(&mut engine, second);
        }
        apply(&mut engine, 5 * SECOND, Reading::Cgroup(cgroup::Reading::Died { id: id(1) }));
        let limit = |of: &str, after| (What::Limit, of.to_owned(), Some(after * MIB));
        let told = |found: Option<Change>| -> Vec<(What, String, Option<u64>)> {
            let changes = changes(engine.view(), 6 * SECOND, &["/a/1"], found);
            assert_eq!(changes.len(), MAX_CHANGES);
            changes.into_iter().map(|it| (it.what, it.of, it.after)).collect()
        };
        assert_eq!(told(None)[0], limit("/a/1", 8));
        assert!(told(None).contains(&(What::Went, "/a/1".to_owned(), None)));
        let (before, after) = (Some(8 * MIB), Some(7 * MIB));
        let found = Change { time: 6 * SECOND, since: None, what: What::Limit, of: "/a/1".to_owned(), before, after };
        assert!(told(Some(found.clone())).contains(&limit("/a/1", 7)));
        let again = Change { after: Some(8 * MIB), ..found };
        assert_eq!(told(Some(again)), told(None), "it is known");
    }
}
