//! Which limit was hit: reported by the kernel, or else inferred if only one is possible.

#[cfg(test)]
mod tests;

use crate::cgroup::contains;
use crate::count::sum;
use crate::identity::Kind;
use crate::incident::{Limit, Source, Task};
use crate::series::Series;
use crate::signal::oom::{Kill, Scope};
use crate::statistic::workload::Statistic;
use crate::view::View;
use crate::view::history::Window;
use crate::view::workload::Workload;

/// A refusal this long before a kill, in nanoseconds, belongs to it: reclaim goes on for a while before the kernel gives up,
/// and the count is read once per tick.
const BEFORE_NS: u64 = 3_000_000_000;
/// A limit is reached from this share of it …
const REACHED: f64 = 0.9;
/// … and certainly not below this share.
const FAR: f64 = 0.75;

/// What is known of the limit that caused a kill.
pub(super) enum Found {
    /// The limit, and the path of its cgroup.
    One(Limit, String),
    /// One of these, or one that was not read.
    Among(Vec<Limit>),
}

impl Found {
    /// The path of the cgroup whose limit it is, if it is known which.
    pub(super) fn path(&self) -> Option<&str> {
        match self {
            Found::One(_, path) => Some(path),
            Found::Among(_) => None,
        }
    }
}

/// A kill, and what is known around it. `window` ends at `time`, the time of the kill.
struct Search<'a> {
    view: &'a View,
    kill: &'a Kill,
    time: u64,
    window: &'a Window,
    victim: Option<&'a Workload>,
}

/// The limit that caused a kill, as far as the view knows it now.
pub(super) fn of(view: &View, kill: &Kill, time: u64, window: &Window) -> Found {
    if kill.scope != Scope::Memcg {
        return Found::Among(Vec::new());
    }
    let [victim, limited] = [kill.cgroup, kill.limited].map(|id| id.and_then(|id| view.workloads.known(id)));
    let search = Search { view, kill, time, window, victim: victim.as_deref() };
    let named = kill.limited.and_then(|id| Some((view.workloads.path(id)?, limited.as_deref()?)));
    let Some((path, workload)) = named else { return search.infer() };
    let own = Some(workload).filter(|workload| *workload.identity.top == *path);
    let step = search.step(path, own).unwrap_or(Step { path, workload, limit: None, peak: None });
    search.found(&Step { workload, ..step }, Source::Kernel)
}

/// A cgroup that may have been at its limit.
struct Step<'a> {
    path: &'a str,
    workload: &'a Workload,
    /// `None` is unlimited.
    limit: Option<u64>,
    /// The peak of its memory, if that was read after the kill.
    peak: Option<u64>,
}

impl Step<'_> {
    /// Whether it is the workload's own cgroup, not one inside it.
    fn own_cgroup(&self) -> bool {
        *self.workload.identity.top == *self.path
    }

    /// Whether its memory can have reached its limit. Room for one huge page may have been left.
    fn is_reached(&self) -> bool {
        const HUGE: u64 = 4 << 20;
        self.limit.is_some_and(|limit| self.peak.is_none_or(|peak| peak.saturating_add(HUGE.max(limit / 64)) >= limit))
    }
}

impl Search<'_> {
    fn infer(&self) -> Found {
        let Search { view, kill, time, .. } = *self;
        let workloads = &view.workloads;
        let Some(path) = kill.cgroup.and_then(|id| workloads.path(id)) else { return Found::Among(Vec::new()) };
        let above: Vec<_> = workloads.above(path).filter(|(path, _)| *path != "/").collect();
        // A victim without a place is known all the same.
        let own = |path: &str| self.victim.filter(|victim| *victim.identity.top == *path);
        let known: Vec<Option<Step<'_>>> =
            above.into_iter().map(|(path, top)| self.step(path, top.or_else(|| own(path)))).collect();
        // A cgroup whose files were not read may or may not have a limit.
        let unread = known.iter().any(Option::is_none);
        let mut steps: Vec<Step<'_>> = known.into_iter().flatten().filter(Step::is_reached).collect();
        if steps.iter().any(|step| !is_sum(step.workload)) {
            steps.retain(|step| !is_sum(step.workload));
        }
        if let ([only], false) = (steps.as_slice(), unread) {
            return self.found(only, Source::Only);
        }
        let refused = |step: &&Step<'_>| {
            let refused = step.workload.recent.refused.filter(|_| step.own_cgroup());
            refused.is_some_and(|refused| refused.saturating_add(BEFORE_NS) >= time)
        };
        // On cgroup v2 a refusal below is counted above as well: it is the nearest, unless an unread one is nearer.
        let mut refused = steps.iter().filter(refused);
        if let Some(nearest) = refused.next() {
            let hierarchical = workloads.memory_hierarchy() == 0;
            let sure = if hierarchical { !unread } else { refused.next().is_none() };
            if sure {
                return self.found(nearest, Source::Refused);
            }
        }
        let mut full = steps.iter().filter(|step| self.use_of(step).is_some_and(|used| used >= REACHED));
        let possible = |step: &&Step<'_>| self.use_of(step).is_none_or(|used| used >= FAR);
        if let (Some(one), None, false) = (full.next(), full.next(), unread)
            && steps.iter().filter(possible).count() == 1
        {
            return self.found(one, Source::Used);
        }
        Found::Among(steps.iter().map(|step| self.limit(step, Source::Unknown)).collect())
    }

    /// A cgroup above the victim, if its limit is known: from its file just after the kill, or else as it was last read.
    fn step<'s>(&'s self, path: &'s str, top: Option<&'s Workload>) -> Option<Step<'s>> {
        let fresh = self.kill.limits.iter().find(|bound| bound.path == path);
        let limit = fresh.map(|bound| bound.limit_bytes).or_else(|| top.and_then(Workload::memory_limit))?;
        let after = |workload: &&Workload| workload.recent.parts_read.is_some_and(|read| read > self.time);
        let read = top.filter(after).and_then(|top| top.statistics.get(Statistic::MemoryPeak));
        let peak = fresh.and_then(|bound| bound.peak_bytes).max(read);
        // A cgroup inside a workload's own belongs to it. One above it may have no place: whose a limit there is, is not known.
        let within = |victim: &&Workload| contains(&victim.identity.top, path);
        let workload = top.or(self.victim.filter(|victim| limit.is_none() || within(victim)))?;
        Some(Step { path, workload, limit, peak })
    }

    /// The share of its limit that a workload used at the kill, by its last reading and by what the victim held beyond that.
    fn use_of(&self, step: &Step<'_>) -> Option<f64> {
        let limit = step.limit.filter(|limit| *limit > 0)?;
        let newest = |workload: &Workload| self.window.newest(&workload.track, Series::Memory);
        let unseen = self.victim.map_or(0.0, |victim| (self.held() as f64 - newest(victim).unwrap_or(0.0)).max(0.0));
        Some((newest(step.workload)? + unseen) / limit as f64)
    }

    /// Memory of the victim that was surely charged to it.
    fn held(&self) -> u64 {
        sum([self.kill.anon_bytes, self.kill.shmem_bytes].into_iter().flatten())
    }

    fn found(&self, step: &Step<'_>, source: Source) -> Found {
        let limit = self.limit(step, source);
        match self.container(&limit, step.workload) {
            Some(container) => {
                Found::One(container, self.victim.map_or_else(String::new, |it| it.identity.top.to_string()))
            }
            None => Found::One(limit, step.path.to_owned()),
        }
    }

    fn limit(&self, step: &Step<'_>, source: Source) -> Limit {
        let Search { kill, window, victim, .. } = *self;
        let Step { path, workload, limit, .. } = *step;
        let used = window.newest(&workload.track, Series::Memory).filter(|_| step.own_cgroup());
        let named = source == Source::Kernel;
        Limit {
            workload: Some(workload.name.to_string()),
            kind: workload.identity.kind.label().to_owned(),
            own: victim.is_some_and(|victim| victim.name == workload.name),
            source,
            // The kernel's own number is that of the kill; the file may have been read before or after a change.
            bytes: kill.limit_bytes.filter(|_| named).or(limit),
            used_bytes: used.map(|used| used as u64),
            writer: self.writer(path).filter(|_| named),
            ..Limit::default()
        }
    }

    /// The limit of the victim's container, if what was reached is the limit of its pod and that is no more than the sum of
    /// its containers' limits: the kernel names the pod, because what is charged to none of its containers counts as well.
    fn container(&self, limit: &Limit, workload: &Workload) -> Option<Limit> {
        let victim = self.victim.filter(|_| !limit.own && is_sum(workload))?;
        let bytes = self.step(&victim.identity.top, Some(victim))?.limit?;
        let used = self.window.newest(&victim.track, Series::Memory).map(|used| used as u64);
        let most = used.unwrap_or(0).max(self.held());
        (most as f64 >= REACHED * bytes as f64).then(|| Limit {
            workload: Some(victim.name.to_string()),
            kind: victim.identity.kind.label().to_owned(),
            own: true,
            source: limit.source,
            bytes: Some(bytes),
            used_bytes: used,
            pod: limit.workload.clone(),
            ..Limit::default()
        })
    }

    /// The process that lowered the limit of a cgroup, if that is what caused the kill. cgroup v2 kills in the call that writes
    /// memory.max (memory_max_write in mm/memcontrol.c); otherwise whoever asks for memory is in the cgroup or below it.
    fn writer(&self, path: &str) -> Option<Task> {
        let Search { view, kill, .. } = *self;
        let cgroup = kill.trigger_cgroup.filter(|_| view.workloads.memory_hierarchy() == 0)?;
        // A kernel thread may do the IO of a process, and be charged for it.
        let outside = !contains(path, view.workloads.path(cgroup)?) && !kill.trigger_comm.starts_with("kworker");
        outside.then(|| Task {
            pid: kill.trigger_pid,
            comm: kill.trigger_comm.clone(),
            workload: view.workloads.name(cgroup).map(|name| name.to_string()),
        })
    }
}

/// Whether its limit is only the sum of its containers' limits.
fn is_sum(workload: &Workload) -> bool {
    workload.identity.kind == Kind::Pod && workload.is_limited_below()
}
