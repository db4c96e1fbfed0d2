//! Which limit was hit: reported by the kernel, or else inferred if only one is possible.

use crate::incident::{Limit, Source};
use crate::series::Series;
use crate::signal::oom::{Kill, Scope};
use crate::statistic::workload::Statistic;
use crate::view::View;
use crate::view::history::Window;
use crate::view::workload::Workload;

/// A refusal this long before a kill, in nanoseconds, belongs to it: reclaim goes on for a while before the kernel gives up,
/// and the count is read once per tick.
const BEFORE_NS: u64 = 3_000_000_000;

/// The limit that caused a kill, as far as the view knows it now, and the path of its cgroup. `window` ends at `time`, the
/// time of the kill.
pub(super) fn of(view: &View, kill: &Kill, time: u64, window: &Window) -> Option<(Limit, String)> {
    if kill.scope != Scope::Memcg {
        return None;
    }
    let workloads = &view.workloads;
    let victim = kill.cgroup.and_then(|id| workloads.of(id));
    let limit = |path: &str, workload: &Workload, source| {
        let own = victim.is_some_and(|victim| std::ptr::eq(victim, workload));
        let limit = Limit {
            workload: Some(workload.name.to_string()),
            own,
            source,
            bytes: workload.statistics.get(Statistic::MemoryLimit).filter(|_| *workload.identity.top == *path),
            used_bytes: window.newest(&workload.track, Series::Memory).map(|used| used as u64),
        };
        (limit, path.to_owned())
    };
    if let Some(id) = kill.limited {
        return Some(limit(workloads.path(id)?, workloads.of(id)?, Source::Kernel));
    }
    let path = workloads.path(kill.cgroup?)?;
    let above: Vec<_> = workloads.above(path).filter(|(path, _)| *path != "/").collect();
    // A workload whose files were not read may or may not have a limit.
    let unread = above.iter().any(|(_, workload)| workload.is_none_or(|workload| workload.memory_limit().is_none()));
    let candidates = above.iter().filter_map(|(path, workload)| Some((*path, (*workload)?)));
    let candidates: Vec<(&str, &Workload)> = candidates
        .filter(|(_, workload)| workload.memory_limit().flatten().is_some_and(|limit| reached(workload, limit, time)))
        .collect();
    let refused =
        |workload: &Workload| workload.recent.refused.is_some_and(|refused| refused.saturating_add(BEFORE_NS) >= time);
    match candidates.as_slice() {
        [(path, only)] if !unread => Some(limit(path, only, Source::Only)),
        // On cgroup v2 a refusal below is counted above as well: it is the nearest, unless an unread one is nearer.
        several => {
            let mut refused = several.iter().filter(|(_, workload)| refused(workload));
            let (path, nearest) = refused.next()?;
            let hierarchical = workloads.memory_hierarchy() == 0;
            let sure = if hierarchical { !unread } else { refused.next().is_none() };
            sure.then(|| limit(path, nearest, Source::Refused))
        }
    }
}

/// Whether its memory can have reached its limit, judged by the peak if that was read after the kill. Room for one huge page
/// may have been left.
fn reached(workload: &Workload, limit: u64, time: u64) -> bool {
    const HUGE: u64 = 4 << 20;
    let peak = workload.statistics.get(Statistic::MemoryPeak);
    let after = workload.recent.parts_read.is_some_and(|read| read > time);
    peak.filter(|_| after).is_none_or(|peak| peak.saturating_add(HUGE.max(limit / 64)) >= limit)
}
