//! Which limit was hit: reported by the kernel, or else inferred if only one is possible.

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
    let victim = kill.cgroup.and_then(|id| view.workloads.of(id));
    let search = Search { view, kill, time, window, victim };
    let named = kill.limited.and_then(|id| Some((view.workloads.path(id)?, view.workloads.of(id)?)));
    match named {
        Some((path, workload)) => search.found(path, workload, Source::Kernel),
        None => search.infer(),
    }
}

impl Search<'_> {
    fn infer(&self) -> Found {
        let Search { view, kill, time, .. } = *self;
        let workloads = &view.workloads;
        let Some(path) = kill.cgroup.and_then(|id| workloads.path(id)) else { return Found::Among(Vec::new()) };
        let above: Vec<_> = workloads.above(path).filter(|(path, _)| *path != "/").collect();
        // A workload whose files were not read may or may not have a limit.
        let unread =
            above.iter().any(|(_, workload)| workload.is_none_or(|workload| workload.memory_limit().is_none()));
        let known = above.iter().filter_map(|(path, workload)| Some((*path, (*workload)?)));
        let reached =
            |workload: &Workload| workload.memory_limit().flatten().is_some_and(|it| reached(workload, it, time));
        let mut candidates: Vec<(&str, &Workload)> = known.filter(|(_, workload)| reached(workload)).collect();
        let own = |workload: &Workload| !is_sum(workload);
        if candidates.iter().any(|(_, workload)| own(workload)) {
            candidates.retain(|(_, workload)| own(workload));
        }
        let refused = |workload: &Workload| {
            workload.recent.refused.is_some_and(|refused| refused.saturating_add(BEFORE_NS) >= time)
        };
        if let ([(path, only)], false) = (candidates.as_slice(), unread) {
            return self.found(path, only, Source::Only);
        }
        // On cgroup v2 a refusal below is counted above as well: it is the nearest, unless an unread one is nearer.
        let mut refused = candidates.iter().filter(|(_, workload)| refused(workload));
        if let Some((path, nearest)) = refused.next() {
            let hierarchical = workloads.memory_hierarchy() == 0;
            let sure = if hierarchical { !unread } else { refused.next().is_none() };
            if sure {
                return self.found(path, nearest, Source::Refused);
            }
        }
        let full = |share: f64| move |workload: &Workload| self.use_of(workload).is_some_and(|used| used >= share);
        let mut full_ones = candidates.iter().filter(|(_, workload)| full(REACHED)(workload));
        if let (Some((path, one)), None, false) = (full_ones.next(), full_ones.next(), unread)
            && candidates.iter().filter(|(_, workload)| !full(0.0)(workload) || full(FAR)(workload)).count() == 1
        {
            return self.found(path, one, Source::Used);
        }
        Found::Among(candidates.iter().map(|(path, workload)| self.limit(path, workload, Source::Unknown)).collect())
    }

    /// The share of its limit that a workload used at the kill, by its last reading and by what the victim held beyond that.
    fn use_of(&self, workload: &Workload) -> Option<f64> {
        let limit = workload.memory_limit().flatten().filter(|limit| *limit > 0)?;
        let newest = |workload: &Workload| self.window.newest(&workload.track, Series::Memory);
        let unseen = self.victim.map_or(0.0, |victim| (self.held() as f64 - newest(victim).unwrap_or(0.0)).max(0.0));
        Some((newest(workload)? + unseen) / limit as f64)
    }

    /// Memory of the victim that was surely charged to it.
    fn held(&self) -> u64 {
        sum([self.kill.anon_bytes, self.kill.shmem_bytes].into_iter().flatten())
    }

    fn found(&self, path: &str, workload: &Workload, source: Source) -> Found {
        let limit = self.limit(path, workload, source);
        match self.container(&limit, workload) {
            Some(container) => {
                Found::One(container, self.victim.map_or_else(String::new, |it| it.identity.top.to_string()))
            }
            None => Found::One(limit, path.to_owned()),
        }
    }

    fn limit(&self, path: &str, workload: &Workload, source: Source) -> Limit {
        let Search { kill, window, victim, .. } = *self;
        let own_cgroup = *workload.identity.top == *path;
        let read = workload.statistics.get(Statistic::MemoryLimit).filter(|_| own_cgroup);
        let used = window.newest(&workload.track, Series::Memory).filter(|_| own_cgroup);
        let named = source == Source::Kernel;
        Limit {
            workload: Some(workload.name.to_string()),
            kind: workload.identity.kind.label().to_owned(),
            own: victim.is_some_and(|victim| std::ptr::eq(victim, workload)),
            source,
            // The kernel's own number is that of the kill; the file may have been read before or after a change.
            bytes: kill.limit_bytes.filter(|_| named).or(read),
            used_bytes: used.map(|used| used as u64),
            writer: self.writer(path).filter(|_| named),
            ..Limit::default()
        }
    }

    /// The limit of the victim's container, if what was reached is the limit of its pod and that is no more than the sum of
    /// its containers' limits: the kernel names the pod, because what is charged to none of its containers counts as well.
    fn container(&self, limit: &Limit, workload: &Workload) -> Option<Limit> {
        let victim = self.victim.filter(|_| !limit.own && is_sum(workload))?;
        let bytes = victim.memory_limit().flatten()?;
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
        let of = view.workloads.path(cgroup)?;
        let within = of.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        // A kernel thread may do the IO of a process, and be charged for it.
        let outside = !within && !kill.trigger_comm.starts_with("kworker");
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

/// Whether its memory can have reached its limit, judged by the peak if that was read after the kill. Room for one huge page
/// may have been left.
fn reached(workload: &Workload, limit: u64, time: u64) -> bool {
    const HUGE: u64 = 4 << 20;
    let peak = workload.statistics.get(Statistic::MemoryPeak);
    let after = workload.recent.parts_read.is_some_and(|read| read > time);
    peak.filter(|_| after).is_none_or(|peak| peak.saturating_add(HUGE.max(limit / 64)) >= limit)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MIB, SECOND, apply, kill, killed, measure, tick};
    use crate::cgroup::Id;
    use crate::engine::Engine;
    use crate::incident::{Incident, Source, What};
    use crate::sample::{Reading, Start};
    use crate::signal::{cgroup, oom};
    use crate::statistic::workload::Statistic::{MemoryCurrent, MemoryLimit};

    const POD: &str = "/kubepods.slice/kubepods-burstable-pod2fc932ce_fdcc_454b_97bd_aadfdeb4c340.slice";

    /// A host with these cgroups, numbered from one, in hierarchy 5 (v1) or 0 (v2).
    fn host(hierarchy: u64, paths: &[&str]) -> Engine {
        let mut engine = Engine::new();
        let start = Start { workload_max: 10, memory_hierarchy: hierarchy, ..crate::engine::test::start() };
        apply(&mut engine, SECOND, Reading::Start(start));
        for (number, path) in (1..).zip(paths) {
            let id = Id { hierarchy, id: number };
            apply(&mut engine, SECOND, Reading::Cgroup(cgroup::Reading::Born { id, path: (*path).to_owned() }));
        }
        engine
    }

    /// A second in which the cgroups hold so many MiB, and have this limit.
    fn second(engine: &mut Engine, second: u64, hierarchy: u64, cgroups: &[(u64, Option<u64>)]) -> Vec<Incident> {
        for (number, (current, limit)) in (1..).zip(cgroups) {
            let limit = limit.map(|limit| (MemoryLimit, limit * MIB));
            let numbers: Vec<_> = [Some((MemoryCurrent, current * MIB)), limit].into_iter().flatten().collect();
            measure(engine, second * SECOND, Id { hierarchy, id: number }, &numbers);
        }
        tick(engine, second)
    }

    fn limited(hierarchy: u64, victim: u64, limited: u64) -> oom::Kill {
        let id = |id| Some(Id { hierarchy, id });
        let trigger = id(victim);
        let kill = kill(7, victim, oom::Scope::Memcg);
        oom::Kill { cgroup: id(victim), trigger_cgroup: trigger, limited: id(limited), anon_bytes: Some(MIB), ..kill }
    }

    #[test]
    fn the_limit_of_a_pod_that_is_only_a_sum_is_that_of_its_container() {
        let container = |letter: &str| format!("{POD}/cri-containerd-{}.scope", letter.repeat(64));
        let (a, b) = (container("a"), container("b"));
        let mut engine = host(5, &[POD, &a, &b, "/kubepods.slice"]);
        for at in 2..20 {
            second(&mut engine, at, 5, &[(620, Some(640)), (500, Some(512)), (119, Some(128)), (620, None)]);
        }
        for (victim, own) in [(2, 512), (3, 128)] {
            let reported = killed(&mut engine.clone(), 20 * SECOND, limited(5, victim, 1));
            let limit = reported[0].evidence.limit.as_ref().unwrap();
            assert_eq!((limit.own, limit.source, limit.bytes), (true, Source::Kernel, Some(own * MIB)));
            assert!(limit.pod.as_deref().is_some_and(|pod| pod.contains("2fc932ce")), "{limit:?}");
        }
        // Where the kernel does not name the limit, the pod is no candidate.
        let reported = killed(&mut engine.clone(), 20 * SECOND, oom::Kill { limited: None, ..limited(5, 2, 1) });
        let limit = reported[0].evidence.limit.as_ref().unwrap();
        assert_eq!((limit.own, limit.source, limit.bytes), (true, Source::Only, Some(512 * MIB)));
        // A container far below its limit was not killed at that: the pod itself was full.
        second(&mut engine, 20, 5, &[(620, Some(640)), (100, Some(512)), (10, Some(128)), (620, None)]);
        let reported = killed(&mut engine, 20 * SECOND, limited(5, 2, 1));
        let limit = reported[0].evidence.limit.as_ref().unwrap();
        assert_eq!((limit.own, limit.bytes, &*limit.kind), (false, Some(640 * MIB), "pod"));
        let cause = &reported[0].cause;
        assert_eq!((&*cause.rule, cause.numbers["left_bytes"]), ("left_behind", (510 * MIB) as f64));
    }

    #[test]
    fn a_service_that_holds_its_slice_is_judged_by_its_own_memory() {
        let mut engine = host(0, &["/big.slice", "/big.slice/model.service", "/big.slice/helper.service"]);
        for at in 2..60 {
            second(&mut engine, at, 0, &[(302 + 3 * at, Some(512)), (300 + 3 * at, None), (2, None)]);
        }
        let hog = oom::Kill { anon_bytes: Some(490 * MIB), ..limited(0, 2, 1) };
        let reported = killed(&mut engine.clone(), 59 * SECOND + SECOND / 2, hog);
        let limit = reported[0].evidence.limit.as_ref().unwrap();
        assert_eq!((limit.own, limit.holder.as_deref()), (false, Some("model.service")));
        let cause = &reported[0].cause;
        assert!(!["parents_limit", "grown_by_another"].contains(&&*cause.rule), "{cause:?}");
        assert!(cause.sentence.contains("the limit of 512 MiB of big.slice, nearly all of which it held"), "{cause:?}");
        assert!(cause.next.contains("the limit of big.slice"), "{cause:?}");
        // The small one is killed for it.
        let reported = killed(&mut engine, 59 * SECOND + SECOND / 2, limited(0, 3, 1));
        let cause = &reported[0].cause;
        assert_eq!((&*cause.rule, cause.sentence.starts_with("model.service filled")), ("grown_by_another", true));
    }

    #[test]
    fn two_limits_that_both_can_have_been_hit_are_both_told() {
        let mut engine = host(5, &["/a", "/a/b"]);
        for at in 2..10 {
            second(&mut engine, at, 5, &[(98, Some(100)), (60, Some(64))]);
        }
        let both = oom::Kill { limited: None, ..limited(5, 2, 1) };
        let reported = killed(&mut engine, 10 * SECOND, both);
        let cause = &reported[0].cause;
        assert_eq!((&*cause.rule, &reported[0].evidence.limit), ("not_known", &None));
        for words in ["that of 64.0 MiB of /a/b", "that of 100 MiB of /a", "may settle it"] {
            assert!(cause.sentence.contains(words), "{words}: {cause:?}");
        }
        assert_eq!(reported[0].evidence.candidates.len(), 2);
        // What is read after the kill settles it.
        let peak = |engine: &mut Engine, id: u64, current: u64, limit: u64, peak: u64| {
            let numbers = [(MemoryCurrent, current), (MemoryLimit, limit), (super::Statistic::MemoryPeak, peak)];
            measure(
                engine,
                11 * SECOND,
                Id { hierarchy: 5, id },
                &numbers.map(|(statistic, mib)| (statistic, mib * MIB)),
            );
        };
        peak(&mut engine, 1, 40, 100, 92);
        peak(&mut engine, 2, 2, 64, 64);
        let done = tick(&mut engine, 12);
        let limit = done[0].evidence.limit.as_ref().unwrap();
        assert_eq!((limit.workload.as_deref(), limit.source), (Some("/a/b"), Source::Only));
        assert!(done[0].evidence.candidates.is_empty() && done[0].cause.rule != "not_known", "{:?}", done[0].cause);
    }

    #[test]
    fn a_limit_inside_a_container_is_its_own() {
        let scope = format!("/machine.slice/libpod-{}.scope", "c".repeat(64));
        let mut engine = host(0, &[&scope, &format!("{scope}/container")]);
        for at in 2..10 {
            second(&mut engine, at, 0, &[(60, None)]);
        }
        let inner = oom::Kill { limit_bytes: Some(64 * MIB), anon_bytes: Some(62 * MIB), ..limited(0, 2, 2) };
        let reported = killed(&mut engine, 10 * SECOND, inner);
        let limit = reported[0].evidence.limit.as_ref().unwrap();
        assert_eq!((limit.own, limit.bytes), (true, Some(64 * MIB)));
        assert!(reported[0].title.ends_with("its own limit of 64.0 MiB was hit"), "{}", reported[0].title);
        assert_eq!(reported[0].cause.rule, "own_limit");
    }

    #[test]
    fn a_limit_that_was_lowered_is_told_by_the_kernels_number_and_with_who_did_it() {
        let mut engine = host(0, &["/a.slice", "/a.slice/web.service", "/init.scope"]);
        for at in 2..10 {
            second(&mut engine, at, 0, &[(202, None), (200, Some(400)), (1, None)]);
        }
        let trigger_cgroup = Some(Id { hierarchy: 0, id: 3 });
        let lowered = oom::Kill {
            limit_bytes: Some(128 * MIB),
            anon_bytes: Some(190 * MIB),
            trigger_cgroup,
            trigger_pid: 1,
            trigger_comm: "systemd".into(),
            ..limited(0, 2, 2)
        };
        let reported = killed(&mut engine, 9 * SECOND + SECOND / 2, lowered);
        let cause = &reported[0].cause;
        assert_eq!(cause.rule, "limit_lowered");
        for words in ["from 400 MiB to 128 MiB", "by systemd (1)", "used 200 MiB"] {
            assert!(cause.sentence.contains(words), "{words}: {cause:?}");
        }
        // The file, read after the kill, says the same.
        second(&mut engine, 10, 0, &[(102, None), (100, Some(128)), (1, None)]);
        let done = tick(&mut engine, 11);
        let changes = done[0].evidence.changes.iter().filter(|change| change.what == What::Limit);
        let changes: Vec<_> = changes.map(|change| (change.before, change.after, change.since)).collect();
        assert_eq!(changes, [(Some(400 * MIB), Some(128 * MIB), Some(9 * SECOND))]);
        assert_eq!(done[0].cause.rule, "limit_lowered");
        assert!(done[0].cause.sentence.contains("from 400 MiB to 128 MiB"), "{:?}", done[0].cause);
    }
}
