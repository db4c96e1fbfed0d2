//! Host memory: the least of what the kernel counts as available and of what is left below the limits of the cgroup and of all above
//! it. What is mapped may be reclaimed, so it can be short without a kill.

use super::{Case, Claimed, Found, HOLDERS, way};
use crate::cgroup::contains;
use crate::lease::{Decision, Held, HeldKind, Lease, Line, Way};
use crate::statistic::host::Statistic::MemoryFree;
use crate::statistic::workload::Statistic::{MemoryActiveFile, MemoryInactiveFile, MemoryWithoutCache};
use crate::view::View;
use crate::view::host::Memory;
use crate::view::workload::Workload;

/// One limit that holds.
struct Bound {
    /// The cgroup; the whole host if absent.
    path: Option<String>,
    /// What could be had if nobody had been promised anything.
    left: u64,
    /// What there is in all.
    most: u64,
    high: bool,
    /// Page cache and the like in it that counts as left.
    cached: u64,
}

pub(super) fn memory(view: &View, case: &Case<'_>, claimed: &[Claimed]) -> Vec<Found> {
    let (hard, soft) = (case.want.hard.peak, case.want.soft);
    if hard == 0 && soft == 0 {
        return Vec::new();
    }
    let lines = || [("host memory", hard), ("page cache", soft)].into_iter().filter(|(_, need)| *need > 0);
    let unknown = |why: &str| lines().map(|(what, need)| Found::new(what, None, need).unknown(why)).collect();
    let Some(host) = view.host.memory() else { return unknown("how much memory this host has available") };
    if let Some(why) = &case.caller.missing {
        return unknown(why);
    }
    let bounds = bounds(view, case, host);
    let scoped = |bound: &Bound| scoped(bound, claimed);
    let sum =
        |bound: &Bound, of: &dyn Fn(&Claimed) -> u64| scoped(bound).fold(0_u64, |sum, one| sum.saturating_add(of(one)));
    let mut found = Vec::new();
    let mut hard_fits = true;
    if hard > 0 {
        let free = |bound: &Bound| bound.left.saturating_sub(sum(bound, &|one| one.hard));
        let Some(least) = bounds.iter().min_by_key(|bound| free(bound)) else { return found };
        let promised = scoped(least).map(|one| (one.hard, one.left));
        let Some(smallest) = bounds.iter().min_by_key(|bound| bound.most) else { return found };
        let mut line = Found::new("host memory", None, hard).compared(free(least), smallest.most, promised);
        line.line.limited_by = least.path.as_ref().map(|path| limit(path, least.high));
        if case.told && line.line.short > 0 {
            line.line.holders = holders(view, least.path.as_deref(), scoped(least));
            line.room = match line.hopeless {
                true => vec![way::total(smallest.path.as_deref().unwrap_or("this host"), smallest.most)],
                false => room(view, case, &line.line, scoped(least), least),
            };
        }
        hard_fits = line.line.short == 0;
        found.push(line);
    }
    if soft > 0 && hard_fits {
        // What others map may be dropped as well: it is what thrashes, not what kills.
        let free = |bound: &Bound| {
            bound.left.saturating_sub(sum(bound, &|one| one.hard.saturating_add(one.soft))).saturating_sub(hard)
        };
        let Some(least) = bounds.iter().min_by_key(|bound| free(bound)) else { return found };
        let mut line = Found::new("page cache", None, soft).compared(free(least), u64::MAX, std::iter::empty());
        line.line.limited_by = least.path.as_ref().map(|path| limit(path, least.high));
        if line.line.short > 0 {
            line.line.verdict = Decision::Tight;
            if case.told {
                line.room = caches(view, least.path.as_deref());
            }
        }
        found.push(line);
    }
    found
}

/// All limits that hold.
fn bounds(view: &View, case: &Case<'_>, host: Memory) -> Vec<Bound> {
    let kept = super::kept(view, host.total, view.level.limits.memory);
    let (left, most) = (host.available.saturating_sub(kept), host.total.saturating_sub(kept));
    // What is free needs not to be dropped.
    let free = view.host.statistics.get(MemoryFree).unwrap_or(host.available);
    let whole = Bound { path: None, left, most, high: false, cached: host.available.saturating_sub(free) };
    let ceilings = case.caller.ceilings.iter().filter_map(|it| {
        Some(Bound {
            path: Some(it.path.clone()),
            left: it.left()?,
            most: it.limit?,
            high: it.high,
            cached: it.reclaimable,
        })
    });
    std::iter::once(whole).chain(ceilings).collect()
}

fn scoped<'a>(bound: &Bound, claimed: &'a [Claimed]) -> impl Iterator<Item = &'a Claimed> + use<'a> {
    let path = bound.path.clone();
    claimed.iter().filter(move |one| path.as_deref().is_none_or(|path| within(path, one)))
}

/// How much memory that cannot be reclaimed is short below each limit that holds, by its cgroup (none: the host).
pub(super) fn short(view: &View, case: &Case<'_>, claimed: &[Claimed]) -> Vec<(Option<String>, u64)> {
    let Some(host) = view.host.memory() else { return Vec::new() };
    let short = |bound: Bound| {
        let promised = scoped(&bound, claimed).fold(0_u64, |sum, one| sum.saturating_add(one.hard));
        let short = case.want.hard.peak.saturating_sub(bound.left.saturating_sub(promised));
        (short > 0).then_some((bound.path, short))
    };
    bounds(view, case, host).into_iter().filter_map(short).collect()
}

fn within(path: &str, one: &Claimed) -> bool {
    one.cgroup.as_deref().is_some_and(|cgroup| contains(path, cgroup))
}

fn limit(path: &str, high: bool) -> String {
    format!("the limit of {path}{}", if high { " (memory.high)" } else { "" })
}

/// Who has most there: workloads by what cannot be reclaimed, and leases.
fn holders<'a>(view: &View, path: Option<&str>, claimed: impl Iterator<Item = &'a Claimed>) -> Vec<Held> {
    let mut used = users(view, path, |workload| workload.statistics.get(MemoryWithoutCache).unwrap_or(0));
    used.extend(claimed.filter(|one| one.hard > 0).map(|one| Held {
        workload: view.workloads.name_at(one.cgroup.as_deref()).to_string(),
        amount: one.hard,
        kind: HeldKind::Reservation,
        id: one.id,
    }));
    used.sort_by(|one, other| other.amount.cmp(&one.amount).then_with(|| one.workload.cmp(&other.workload)));
    used.truncate(HOLDERS);
    used
}

/// Workloads below a cgroup by an amount that each has.
fn users(view: &View, path: Option<&str>, of: impl Fn(&Workload) -> u64) -> Vec<Held> {
    let inside = |above: &str| path.is_none_or(|path| contains(path, above));
    let mut used: Vec<Held> = Vec::new();
    for (top, workload) in view.workloads.nested().into_iter().filter(|(top, _)| inside(top)) {
        // A cgroup's memory counts for those above it, too: only leaves are named.
        let parent = |held: &Held| contains(&held.workload, top);
        used.retain(|held| !parent(held) || contains(top, &held.workload));
        let amount = of(workload);
        if amount > 0 && used.iter().all(|held| held.workload != *workload.name) {
            used.push(Held { workload: workload.name.to_string(), amount, kind: HeldKind::Use, id: None });
        }
    }
    used.sort_by(|one, other| other.amount.cmp(&one.amount).then_with(|| one.workload.cmp(&other.workload)));
    used.truncate(HOLDERS);
    used
}

/// What would make room for so much: what owners can be asked for, what is kept and not used, and less in use.
fn room<'a>(
    view: &View,
    case: &Case<'_>,
    line: &Line,
    claimed: impl Iterator<Item = &'a Claimed>,
    least: &Bound,
) -> Vec<Way> {
    let inside = |lease: &Lease| {
        let path = crate::view::lease::place(lease);
        least.path.as_deref().is_none_or(|above| path.is_some_and(|path| contains(above, path)))
    };
    let has = |lease: &Lease| if inside(lease) { lease.spent.hard.saturating_add(lease.unspent_host()[0]) } else { 0 };
    let mut room = way::evictable(view, case, line, has);
    let mut kept = room.iter().filter_map(|way| way.amount).fold(0_u64, u64::saturating_add);
    for one in claimed
        .filter(|one| one.hard > 0 && !room.iter().any(|way| way.id.is_some() && way.id == one.id))
        .collect::<Vec<_>>()
    {
        kept = kept.saturating_add(one.hard);
        room.extend(way::reserved(one, one.hard, line));
    }
    room.truncate(HOLDERS);
    let what = least.path.as_deref().unwrap_or("this host");
    if kept < line.short {
        room.push(way::less(what, line.short - kept));
    }
    if least.cached > line.short / 4 {
        room.push(way::page_cache(what, least.cached));
    }
    room
}

/// Who has most page cache there.
fn caches(view: &View, path: Option<&str>) -> Vec<Way> {
    let file = |workload: &Workload| {
        let get = |statistic| workload.statistics.get(statistic);
        get(MemoryInactiveFile).unwrap_or(0).saturating_add(get(MemoryActiveFile).unwrap_or(0))
    };
    users(view, path, file).into_iter().map(|held| way::cached(&held.workload, held.amount)).collect()
}
