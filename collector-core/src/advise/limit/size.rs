//! Whether the memory limit of a workload is too low, too high or missing: one verdict for each, so that no two contradict. Does not know
//! how it is told.

use crate::advise::Given;
use crate::advise::need::{DAY_SECONDS, MARGIN, Need, Served, Servers, need, reads_again, recent, round_up};
use crate::advise::shortage::Shortage;
use crate::amount::bytes;
use crate::statistic::workload::Statistic;
use crate::view::leak::Kind;
use crate::view::slow::is_shared;
use crate::view::workload::Workload;

/// A limit is raised by this share at least …
const CHANGE: f64 = 0.1;
/// … and lowered by this, because that is a risk: a third more than is needed is usual. And by so many bytes.
const LOWERS: f64 = 0.2;
const LEAST: f64 = (256u64 << 20) as f64;
/// After a kill the limit is raised by this factor, and by so many bytes at least.
const AFTER_KILL: f64 = 1.2;
const AFTER_KILL_BYTES: f64 = (100u64 << 20) as f64;
/// It was at its limit on a day on which it held this share of it, or more.
const AT_LIMIT: f64 = 0.95;
/// It waits for memory from this share of the time on.
const WAITS: f64 = 0.01;
/// Limits that differ by less are the same: the kernel rounds them to pages.
const SAME: f64 = 0.01;
/// A workload without a limit matters from this share of the host's memory on, and one of which too little is known.
const MUCH: f64 = 0.2;
const SOME: f64 = 0.05;

/// What is wrong with a limit, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::advise) enum Verdict {
    /// Nothing, as far as is known.
    Fits,
    Raise {
        limit: f64,
        to: u64,
        cause: Cause,
    },
    Lower {
        limit: f64,
        to: u64,
        need: Need,
        /// Page cache fills the limit at times.
        full: bool,
        /// It held more than that on some day that is known.
        beyond: bool,
    },
    Missing {
        to: u64,
        need: Need,
    },
    /// What is not known.
    Lacking(String),
}

/// Why a limit is too low.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::advise) enum Cause {
    /// So many processes were killed at it.
    Killed(u32),
    /// What it needs hardly fits.
    Near(Need),
    /// It reads the models that it maps again: so many bytes, of which so many were read again.
    Model { mapped: f64, again: f64 },
    /// It waited for this share of the time, and so many seconds, while the host had memory left.
    Starved { share: f64, waited: f64 },
}

/// What is common to all workloads.
pub(in crate::advise) struct Sizes<'a> {
    pub given: &'a Given<'a>,
    pub servers: Servers<'a>,
    pub host: Option<Shortage>,
}

impl<'a> Sizes<'a> {
    pub(in crate::advise) fn of(given: &'a Given<'a>) -> Sizes<'a> {
        Sizes { given, servers: Servers::of(given.view), host: Shortage::of(given) }
    }

    pub(in crate::advise) fn judge(&self, workload: &Workload) -> Verdict {
        let Some(limit) = workload.memory_limit() else { return Verdict::Fits };
        let total = self.host.map(|host| host.total);
        // A limit above the host's memory limits nothing.
        let limit = limit.map(|bytes| bytes as f64).filter(|limit| total.is_none_or(|total| *limit < total));
        let served = self.servers.get(&workload.name);
        match limit {
            Some(limit) => match (self.bounded(workload, limit, served), total) {
                (Verdict::Raise { to, .. }, Some(total)) if to as f64 >= total => Verdict::Lacking(format!(
                    "a host with more memory: by what is known it needs a limit of {}, and the host has {}",
                    bytes(to),
                    bytes(total as u64)
                )),
                (verdict, _) => verdict,
            },
            None => self.unbounded(workload, served),
        }
    }

    fn bounded(&self, workload: &Workload, limit: f64, served: Served) -> Verdict {
        let past = self.given.past;
        let need = need(past, workload);
        let at = self.at(workload, limit);
        let grows = need.is_some_and(|need| !need.with_cache && need.target >= (1.0 + CHANGE) * limit);
        if (at.kills > 0 || grows) && self.leaks(workload) {
            return Verdict::Lacking(
                "a steady use: its memory leaks, and a higher limit only postpones the kill".into(),
            );
        }
        if at.kills > 0 {
            let known = need.filter(|need| !need.with_cache).map_or(0.0, |need| need.target);
            let to = round_up(known.max(limit * AFTER_KILL).max(limit + AFTER_KILL_BYTES));
            return Verdict::Raise { limit, to, cause: Cause::Killed(at.kills) };
        }
        if let Some(verdict) = self.thrashes(workload, limit, (need, served)) {
            return verdict;
        }
        let Some(need) = need.filter(Need::is_enough) else { return self.lacking(need, limit) };
        if grows {
            return Verdict::Raise { limit, to: round_up(need.target), cause: Cause::Near(need) };
        }
        let share = at.waited / need.seconds.max(1) as f64;
        if at.days > 0 && share >= WAITS && self.host.is_none_or(|host| host.days == 0) {
            let cause = Cause::Starved { share, waited: at.waited };
            return Verdict::Raise { limit, to: round_up(limit * AFTER_KILL), cause };
        }
        let more = served.mapped + served.promised;
        let used = workload.statistics.get(Statistic::MemoryWorkingSet).map_or(0.0, |used| used as f64 * MARGIN);
        let days = past.workloads.get(&workload.name).map_or(&[][..], |span| &span.days);
        // What it held once it may need again: a job that runs each month is not seen in the last days.
        let held = days.iter().filter_map(|day| Some(day.anon?[2])).fold(0.0, f64::max);
        let to = round_up((need.target + more).max(used).max(held).max(self.reserved(workload)));
        let gives = limit - to as f64;
        // A size at which it was killed says nothing of what it needs.
        if !at.killed && limit > need.upper + more && gives >= (LOWERS * limit).max(LEAST) {
            let beyond = days.iter().any(|day| day.memory.is_some_and(|[.., most]| most > to as f64));
            return Verdict::Lower { limit, to, need, full: at.days > 0, beyond };
        }
        Verdict::Fits
    }

    /// Models that it maps do not fit into its limit beside what it needs.
    fn thrashes(&self, workload: &Workload, limit: f64, (need, served): (Option<Need>, Served)) -> Option<Verdict> {
        let get = |statistic| workload.statistics.get(statistic).map(|bytes| bytes as f64);
        if get(Statistic::MemoryCurrent)? < AT_LIMIT * limit || !reads_again(self.given.view, workload, &served) {
            return None;
        }
        let known = need.filter(|need| !need.with_cache).map(|need| need.target);
        let own = known.or_else(|| Some(get(Statistic::MemoryWithoutCache)? * MARGIN))?;
        let to = round_up(own + served.mapped + served.promised);
        let cause = Cause::Model { mapped: served.mapped, again: served.again };
        (to as f64 >= (1.0 + CHANGE) * limit).then_some(Verdict::Raise { limit, to, cause })
    }

    fn unbounded(&self, workload: &Workload, served: Served) -> Verdict {
        let Some(host) = self.host else { return Verdict::Fits };
        let need = need(self.given.past, workload);
        let holds = workload.statistics.get(Statistic::MemoryWithoutCache).unwrap_or(0) as f64;
        let Some(need) = need.filter(Need::is_enough) else { return self.lacking(need, holds) };
        let to = round_up(need.target + served.mapped + served.promised);
        // What is left to others must be worth a limit.
        let matters = need.peak >= MUCH * host.total && to as f64 <= (1.0 - SOME) * host.total;
        match matters && !self.is_limited_above(workload, host.total) {
            true => Verdict::Missing { to, need },
            false => Verdict::Fits,
        }
    }

    /// What leases promise to processes in it.
    fn reserved(&self, workload: &Workload) -> f64 {
        let leases = self.given.view.leases.held.values();
        let own = leases.filter(|lease| lease.cgroup.as_deref() == Some(&*workload.identity.top));
        own.map(|lease| lease.want.hard.peak.saturating_add(lease.want.soft) as f64).sum()
    }

    /// Of small ones nothing is missed.
    fn lacking(&self, need: Option<Need>, bytes: f64) -> Verdict {
        match self.host.is_some_and(|host| bytes >= SOME * host.total) {
            true => Verdict::Lacking(a_day(need.map_or(0, |need| need.seconds))),
            false => Verdict::Fits,
        }
    }

    pub(super) fn leaks(&self, workload: &Workload) -> bool {
        let told = self.given.view.leaks.0.get(&workload.name);
        told.is_some_and(|told| {
            [Kind::Anon, Kind::Shared, Kind::Kernel].iter().any(|kind| told[*kind as usize].is_some())
        })
    }

    /// Whether a cgroup above it has a limit.
    fn is_limited_above(&self, workload: &Workload, total: f64) -> bool {
        let above = self.given.view.workloads.above(&workload.identity.top).skip(1);
        let mut above = above.filter_map(|(_, other)| other).filter(|other| other.is_alive() && is_shared(other));
        above.any(|other| other.memory_limit().flatten().is_some_and(|limit| (limit as f64) < total))
    }

    /// What happened at this limit, not at another one that it had on a day before.
    fn at(&self, workload: &Workload, limit: f64) -> At {
        let past = self.given.past;
        let Some(span) = past.workloads.get(&workload.name) else { return At::default() };
        let same = |day: f64| (day - limit).abs() <= SAME * limit;
        recent(past, &span.days).fold(At::default(), |sum, (day, _)| {
            let most = day.memory.map_or(0.0, |[.., most]| most);
            let killed = sum.killed || day.kills.is_some_and(|kills| kills > 0);
            if !day.limit.is_some_and(same) || most < AT_LIMIT * limit {
                return At { killed, ..sum };
            }
            At {
                killed,
                days: sum.days + 1,
                kills: sum.kills + day.kills_here.unwrap_or(0),
                waited: sum.waited + day.memory_waiting.or(day.stalls).unwrap_or(0.0),
            }
        })
    }
}

/// Of the days on which a workload was at its limit.
#[derive(Clone, Copy, Debug, Default)]
struct At {
    /// Something of it was killed on any day, at any limit.
    killed: bool,
    days: u32,
    kills: u32,
    waited: f64,
}

/// What is missing where a day is needed.
pub(in crate::advise) fn a_day(seconds: u64) -> String {
    match seconds {
        0 => "a day of history: there is none".to_owned(),
        1..3600 => format!("a day of history: there are {} minutes", seconds.div_ceil(60)),
        DAY_SECONDS.. => "more history".to_owned(),
        _ => format!("a day of history: there are {} hours", seconds / 3600),
    }
}
