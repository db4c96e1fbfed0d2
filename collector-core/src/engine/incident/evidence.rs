//! Gathers the evidence: what the view knows at a moment.

use crate::incident::{Change, Evidence, Figures, History, Host, What};
use crate::series::Series;
use crate::statistic::host::Statistic as OfHost;
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
    let seconds = |at: u64| (time as f64 - at as f64) / 1e9;
    window.times().map(|at| (seconds(at) * 1e3).round() / 1e3).collect()
}

/// The figures of one workload.
pub(super) fn figures(view: &View, workload: &Workload, window: &Window) -> Figures {
    let known = Known::of(&view.coverage);
    let now = |number: Number| number.of(workload, known);
    let level = |series| window.newest(&workload.track, series).map(|value| value as u64);
    Figures {
        workload: workload.name.to_string(),
        kind: workload.identity.kind.label().to_owned(),
        cgroup: workload.identity.top.to_string(),
        memory_bytes: level(Series::Memory),
        peak_bytes: now(Number::Peak),
        limit_bytes: now(Number::Limit),
        high_bytes: now(Number::High),
        swap_bytes: level(Series::Swap),
        anon_bytes: now(Number::Anon),
        file_bytes: now(Number::File),
        shmem_bytes: now(Number::Shmem),
        kernel_bytes: now(Number::Kernel),
        parts_read: workload.recent.parts_read,
        pinned_bytes: level(Series::Pinned),
    }
}

fn host(view: &View) -> Host {
    let get = |statistic| view.host.statistics.get(statistic);
    Host {
        total_bytes: get(OfHost::MemoryTotal),
        available_bytes: get(OfHost::MemoryAvailable),
        free_bytes: get(OfHost::MemoryFree),
        anon_bytes: get(OfHost::MemoryAnon),
        cached_bytes: get(OfHost::MemoryCached),
        shmem_bytes: get(OfHost::MemoryShmem),
        slab_bytes: get(OfHost::MemorySlab),
        unevictable_bytes: get(OfHost::MemoryUnevictable),
        dirty_bytes: get(OfHost::MemoryDirty),
        swap_total_bytes: get(OfHost::SwapTotal),
        swap_free_bytes: get(OfHost::SwapFree),
    }
}

/// The latest changes before a moment. If there are too many, changes of the workloads `concerned` are kept rather than others.
pub(super) fn changes(view: &View, time: u64, concerned: &[&str]) -> Vec<Change> {
    let recent = |at: u64, reach: u64| at <= time && time - at <= reach;
    let change = |time, what, of: &str| Change { time, what, of: of.to_owned(), before: None, after: None };
    let mut changes: Vec<Change> = view.changes.iter().filter(|it| recent(it.time, REACH_NS)).cloned().collect();
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
    let concerns = |change: &Change| concerned.contains(&change.of.as_str());
    // The ones to leave out come first.
    changes.sort_by_key(|change| (concerns(change) || !matches!(change.what, What::Came | What::Went), change.time));
    changes.drain(..changes.len().saturating_sub(MAX_CHANGES));
    changes.sort_by_key(|change| change.time);
    changes
}
