//! Whose limit was hit: what the kernel says, or else what can only be.

use crate::incident::{Limit, Source};
use crate::series::Series;
use crate::signal::oom::{Kill, Scope};
use crate::statistic::workload::Statistic;
use crate::view::View;
use crate::view::history::Window;
use crate::view::workload::Workload;

/// Memory that was refused this long before a kill was refused for it: reclaim goes on for a while before the kernel gives
/// up, and the count is read once a tick.
const BEFORE_NS: u64 = 3_000_000_000;

/// The limit that a kill was for, as far as that is known at `now`, and the path of the cgroup whose it is; `window` ends at
/// the kill.
pub(super) fn of(view: &View, kill: &Kill, time: u64, window: &Window) -> Option<(Limit, String)> {
    if kill.scope != Scope::Memcg {
        return None;
    }
    let workloads = &view.workloads;
    let whose = kill.cgroup.and_then(|id| workloads.of(id));
    let limit = |path: &str, workload: &Workload, source| {
        let own = whose.is_some_and(|whose| std::ptr::eq(whose, workload));
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
    // One whose files were not read may have a limit, or have none.
    let blind = above.iter().any(|(_, workload)| workload.is_none_or(|workload| workload.memory_limit().is_none()));
    let could = above.iter().filter_map(|(path, workload)| Some((*path, (*workload)?)));
    let could: Vec<(&str, &Workload)> = could
        .filter(|(_, workload)| workload.memory_limit().flatten().is_some_and(|limit| reached(workload, limit, time)))
        .collect();
    let refused =
        |workload: &Workload| workload.lately.refused.is_some_and(|refused| refused.saturating_add(BEFORE_NS) >= time);
    match could.as_slice() {
        [(path, only)] if !blind => Some(limit(path, only, Source::Only)),
        // On cgroup v2 what is refused below is counted above as well: the nearest it is, unless one could be nearer still.
        several => {
            let mut refused = several.iter().filter(|(_, workload)| refused(workload));
            let (path, nearest) = refused.next()?;
            let hierarchical = workloads.memory_hierarchy() == 0;
            let sure = if hierarchical { !blind } else { refused.next().is_none() };
            sure.then(|| limit(path, nearest, Source::Refused))
        }
    }
}

/// Whether its memory can have been at its limit: the most that ever was, read after the kill, says so. Room for one huge
/// page may have been left.
fn reached(workload: &Workload, limit: u64, time: u64) -> bool {
    const HUGE: u64 = 4 << 20;
    let peak = workload.statistics.get(Statistic::MemoryPeak);
    let after = workload.lately.parts_read.is_some_and(|read| read > time);
    peak.filter(|_| after).is_none_or(|peak| peak.saturating_add(HUGE.max(limit / 64)) >= limit)
}
