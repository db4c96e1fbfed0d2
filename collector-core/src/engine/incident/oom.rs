//! OOM kills as incidents. Kills for the same shortage are one incident: the kernel kills several processes of a cgroup at once
//! if `memory.oom.group` is set, and several processes one after the other if the host is out of memory.

use super::consumer::{Order, Within};
use super::limit::Found;
use super::{APART_NS, Incidents, Open, consumer, evidence, labels, limit, open};
use crate::amount::bytes;
use crate::cgroup::Id;
use crate::count::{grow, sum};
use crate::incident::ran_out::{self, RanOut};
use crate::incident::{Change, Consumer, Figures, Incident, Kind, Limit, Source, Task, Victim, What};
use crate::signal::oom::{Constraint, Kill, Named, Scope};
use crate::view::View;
use crate::view::history::Window;
use crate::view::workload::{Unseen, Workload};

/// Maximum number of victims listed; further ones are only counted.
pub(super) const MAX_VICTIMS: usize = 32;
/// An incident includes kills for this long, in nanoseconds; then the next one begins.
const LONGEST_NS: u64 = 10_000_000_000;
/// The order of an allocation that stands for a kill on request (`oom_control.order`, include/linux/oom.h).
const REQUESTED: i32 = -1;

#[derive(Clone, Debug)]
pub(super) struct First {
    kill: Kill,
    time: u64,
    /// The path of the cgroup whose limit was hit, if known.
    path: Option<String>,
}

/// A kill begins an incident, or is added to an open one.
pub(super) fn killed(incidents: &mut Incidents, view: &View, named: &Named) -> Vec<Incident> {
    tell(incidents, view, named.time, &named.kill, Some(victim(named)), 1)
}

/// Kills that no program saw: neither the processes nor who asked for memory are known.
pub(super) fn unseen(incidents: &mut Incidents, view: &View, unseen: &Unseen) -> Vec<Incident> {
    let Unseen { cgroup, kills, time } = *unseen;
    let path = cgroup.and_then(|id| view.workloads.path(id));
    // The kernel counts how often a cgroup was out of memory there and, on cgroup v2, above it.
    let refused = |workload: &Workload| workload.recent.refused.is_some_and(|refused| refused >= time);
    let limit = path.is_some_and(|path| view.workloads.above(path).any(|(_, top)| top.is_some_and(refused)));
    let scope = if limit { Scope::Memcg } else { Scope::Unknown };
    tell(incidents, view, time, &Kill { cgroup, scope, ..Kill::default() }, None, kills)
}

fn tell(
    incidents: &mut Incidents,
    view: &View,
    time: u64,
    kill: &Kill,
    victim: Option<Victim>,
    killed: u64,
) -> Vec<Incident> {
    let window = view.history.window(time);
    let found = limit::of(view, kill, time, &window);
    let same = |open: &&mut Open| open.takes(kill, time, found.path());
    if let Some(known) = incidents.open.iter_mut().find(same) {
        known.last = known.last.max(time);
        let evidence = &mut known.incident.evidence;
        grow(&mut evidence.killed, killed);
        if evidence.kills.len() < MAX_VICTIMS {
            evidence.kills.extend(victim);
        }
        return Vec::new();
    }
    let mut incident = Incident::new(Kind::Oom, incidents.id(time), time);
    let workload = kill.cgroup.and_then(|id| view.workloads.known(id));
    let workload = workload.as_deref();
    incident.labels = labels(workload);
    incident.evidence = evidence::of_host(view, &window, Order::Memory, workload.map(|workload| &*workload.name));
    let history = &mut incident.evidence.history;
    history.ago = evidence::ago(&window, time);
    if let Some(workload) = workload {
        history.workload = window.lines(&workload.track);
        history.last = kill.charged.iter().map(|it| (evidence::seconds_before(it.time, time), it.bytes)).collect();
        incident.evidence.workload = Some(evidence::figures(view, workload, &window));
    }
    incident.evidence.scope = Some(kill.scope);
    incident.evidence.constraint = kill.constraint.filter(|it| *it != Constraint::Memcg);
    incident.evidence.requested = kill.order == Some(REQUESTED);
    incident.evidence.kills = victim.into_iter().collect();
    incident.evidence.killed = killed;
    let first = First { kill: kill.clone(), time, path: found.path().map(str::to_owned) };
    judge(view, &mut incident, &first, &window, found);
    open(incidents, view, incident, time, Some(first))
}

/// Adds what was read after the kill: limits and peaks are more recent then.
pub(super) fn complete(view: &View, incident: &mut Incident, first: Option<&First>) {
    let Some(first) = first else { return };
    let window = view.history.window(first.time);
    let workload = first.kill.cgroup.and_then(|id| view.workloads.known(id));
    if let (Some(workload), Some(figures)) = (workload.as_deref(), &mut incident.evidence.workload) {
        // Without the numbers that dropped with the kill.
        let now = evidence::figures(view, workload, &window);
        *figures = Figures {
            limit_bytes: now.limit_bytes.or(figures.limit_bytes),
            high_bytes: now.high_bytes.or(figures.high_bytes),
            swap_limit_bytes: now.swap_limit_bytes.or(figures.swap_limit_bytes),
            peak_bytes: now.peak_bytes.max(figures.peak_bytes),
            ..std::mem::take(figures)
        };
        let same = |consumer: &&mut Consumer| consumer.workload == figures.workload;
        for consumer in incident.evidence.consumers.iter_mut().filter(same) {
            consumer.limit_bytes = figures.limit_bytes;
        }
        // What was started since then says nothing.
        let same = |now: &Figures| now.parts_read > Some(first.time) && now.born.is_none_or(|born| born < first.time);
        incident.evidence.after = Some(now).filter(same);
    }
    judge(view, incident, first, &window, limit::of(view, &first.kill, first.time, &window));
}

/// Finds the limit, the workloads below it, and the changes that concern them.
fn judge(view: &View, incident: &mut Incident, first: &First, window: &Window, found: Found) {
    let victim = incident.labels.get("workload").cloned();
    let evidence = &mut incident.evidence;
    let lowered = match found {
        Found::One(mut limit, path) => {
            evidence.candidates.clear();
            if !limit.own {
                let empty = first.kill.limits.iter().any(|bound| bound.path == path && bound.empty);
                let within = Within { path: &path, empty };
                evidence.within = consumer::list(view, window, Order::Memory, Some(within), victim.as_deref());
                let limited = limit.workload.as_deref().and_then(|name| view.workloads.find(name));
                evidence.history.limited = limited.map(|limited| window.lines(&limited.track)).unwrap_or_default();
                limit.holder = holder(&limit, &evidence.within, &evidence.kills);
            }
            let lowered = lowered(view, &limit, &path, first);
            evidence.limit = Some(limit);
            lowered
        }
        Found::Among(candidates) => {
            // What was read since then may contradict the limit found before.
            if evidence.limit.take().is_some() {
                evidence.within.clear();
                evidence.history.limited.clear();
            }
            evidence.candidates = candidates;
            None
        }
    };
    let limited = incident.evidence.limit.as_ref().and_then(|limit| limit.workload.clone());
    let concerned: Vec<&str> = [victim.as_deref(), limited.as_deref()].into_iter().flatten().collect();
    incident.evidence.changes = evidence::changes(view, incident.time, &concerned, lowered);
}

/// The workload below a limit that held nearly all of it: what the victims held is known from the kills themselves.
fn holder(limit: &Limit, within: &[Consumer], kills: &[Victim]) -> Option<String> {
    let whole = limit.bytes?;
    let killed =
        |name: &str| sum(kills.iter().filter(|kill| kill.workload.as_deref() == Some(name)).map(Victim::charged));
    let held = |it: &Consumer| it.memory_bytes.unwrap_or(0).max(killed(&it.workload));
    let others = within.iter().filter(|it| Some(&it.workload) != limit.workload.as_ref());
    let most = others.max_by_key(|it| held(it))?;
    (held(most) as f64 >= Limit::NEARLY_ALL * whole as f64).then(|| most.workload.clone())
}

/// The change of a limit that only shows at the kill so far: in the kernel's own number, or in the file just after it.
fn lowered(view: &View, limit: &Limit, path: &str, first: &First) -> Option<Change> {
    let workload = view.workloads.find(limit.workload.as_deref()?)?;
    let own = limit.pod.is_none() && *workload.identity.top == *path;
    let (before, after) = (workload.memory_limit().filter(|_| own)?, limit.bytes?);
    let lower = before.is_none_or(|before| before > after);
    let since = workload.recent.parts_read.filter(|read| *read <= first.time);
    let of = workload.name.to_string();
    lower.then_some(Change { time: first.time, since, what: What::Limit, of, before, after: Some(after) })
}

impl Open {
    /// Whether a kill is part of this incident.
    fn takes(&self, kill: &Kill, time: u64, path: Option<&str>) -> bool {
        let Some(First { kill: first, path: limited, .. }) = &self.kill else { return false };
        let near = time.abs_diff(self.last) < APART_NS && time.abs_diff(self.incident.time) < LONGEST_NS;
        let group = |kill: &Kill| (kill.trigger_pid > 0).then_some((kill.trigger_pid, kill.trigger_cgroup));
        let cgroup = |id: Option<Id>, other: Option<Id>| id.is_some() && id == other;
        let same = kill.scope == Scope::Host
            || group(kill).is_some() && group(kill) == group(first)
            || cgroup(kill.cgroup, first.cgroup)
            || cgroup(kill.limited, first.limited)
            || path.is_some() && path == limited.as_deref();
        near && kill.scope == first.scope && same
    }
}

fn victim(named: &Named) -> Victim {
    let kill = &named.kill;
    let text = |name: &Option<std::sync::Arc<str>>| name.as_deref().map(str::to_owned);
    Victim {
        time: named.time,
        pid: kill.pid,
        comm: kill.comm.clone(),
        uid: kill.uid,
        score_adj: kill.score_adj,
        workload: text(&named.workload),
        anon_bytes: kill.anon_bytes,
        file_bytes: kill.file_bytes,
        shmem_bytes: kill.shmem_bytes,
        swap_bytes: kill.swap_bytes,
        peak_bytes: kill.peak_bytes,
        gpus: named.gpus.clone(),
        signal: None,
        survives: false,
        trigger: Task {
            pid: kill.trigger_pid,
            comm: kill.trigger_comm.clone(),
            workload: text(&named.trigger_workload),
        },
    }
}

pub(super) fn title(incident: &Incident) -> String {
    let evidence = &incident.evidence;
    let first = evidence.kills.first();
    let who = match (first, evidence.killed) {
        (None, 0) => return "OOM kill".to_owned(),
        (None, 1) => "an unknown process".to_owned(),
        (None, several) => format!("{several} unknown processes"),
        (Some(first), 1) => format!("{} ({})", first.comm, first.pid),
        (Some(first), several) => format!("{several} processes, first {} ({})", first.comm, first.pid),
    };
    let whose = match first {
        Some(first) => first.workload.as_deref(),
        None => incident.labels.get("workload").map(String::as_str),
    };
    let whose = whose.unwrap_or("an unknown workload");
    let limit = evidence.limit.as_ref().filter(|limit| limit.source != Source::Unknown);
    let of = limit.and_then(|limit| limit.bytes).map_or(String::new(), |limit| format!(" of {}", bytes(limit)));
    let why = match (ran_out::of(incident), limit) {
        (RanOut::Limit, Some(limit)) if limit.own => format!("its own limit{of} was hit"),
        (RanOut::Limit, Some(limit)) => {
            format!("the limit{of} of {} was hit", limit.workload.as_deref().unwrap_or("a cgroup above it"))
        }
        (RanOut::Limit, None) => "a memory limit was hit".to_owned(),
        (RanOut::Host, _) => "the host was out of memory".to_owned(),
        (RanOut::Nodes(Some(_)), _) => "the memory nodes that it may use were full".to_owned(),
        (RanOut::Nodes(None), _) => "most likely the memory nodes that it may use were full".to_owned(),
        (RanOut::Nothing, _) => "somebody asked for it (SysRq)".to_owned(),
        (RanOut::Unknown, _) => "what ran out of memory is not known".to_owned(),
    };
    format!("OOM kill of {who} in {whose}: {why}")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{HALF, MIB, SECOND, apply, host, id, kill, killed, measure, tick};
    use super::Scope;
    use crate::engine::Engine;
    use crate::sample::{Reading, Start};
    use crate::signal::{cgroup, oom};
    use crate::statistic::workload::Statistic;

    /// `/a` has held its limit of 64 MiB for long: tmpfs, page cache or anonymous memory.
    fn full(parts: &[(Statistic, u64)], grace: u64) -> Engine {
        let mut engine = Engine::new();
        let start = Start { workload_max: 10, workload_grace: grace, ..crate::engine::test::start() };
        apply(&mut engine, SECOND, Reading::Start(start));
        apply(&mut engine, SECOND, Reading::Cgroup(cgroup::Reading::Born { id: id(1), path: "/a".into() }));
        for second in 2..30 {
            read(&mut engine, second, 63, parts);
        }
        engine
    }

    fn read(engine: &mut Engine, second: u64, current: u64, parts: &[(Statistic, u64)]) {
        let whole = [(Statistic::MemoryCurrent, current), (Statistic::MemoryLimit, 64)];
        let numbers: Vec<_> = whole.iter().chain(parts).map(|(statistic, mib)| (*statistic, mib * MIB)).collect();
        measure(engine, second * SECOND, id(1), &numbers);
        tick(engine, second);
    }

    #[test]
    fn a_known_cause_stays_when_the_workload_is_gone() {
        let mut engine = full(&[], 0);
        let first = killed(&mut engine, 29 * SECOND + HALF, kill(7, 1, Scope::Memcg));
        assert_eq!(first[0].cause.rule, "limit_too_low");
        apply(&mut engine, 30 * SECOND, Reading::Cgroup(cgroup::Reading::Died { id: id(1) }));
        tick(&mut engine, 30);
        assert!(engine.view().workloads.find("/a").is_none(), "it has left the view");
        let last = tick(&mut engine, 31);
        assert_eq!((last[0].complete, &last[0].cause), (true, &first[0].cause));
        assert_eq!((&last[0].title, &last[0].labels), (&first[0].title, &first[0].labels));
        assert_eq!(last[0].evidence.limit, first[0].evidence.limit);
    }

    #[test]
    fn what_is_still_charged_after_the_kill_was_not_the_victims() {
        use Statistic::{MemoryAnon, MemoryFile, MemoryKernel, MemoryShmem};
        let small = oom::Kill { anon_bytes: Some(8 * MIB), ..kill(7, 1, Scope::Memcg) };
        // Nothing but the whole was known before the kill.
        let complete = |after: [u64; 4]| {
            let mut engine = full(&[], 60 * SECOND);
            let first = killed(&mut engine, 29 * SECOND + HALF, small.clone());
            assert_eq!(first[0].cause.rule, "limit_too_low");
            let parts = [MemoryAnon, MemoryFile, MemoryShmem, MemoryKernel];
            let parts: Vec<_> = parts.into_iter().zip(after).collect();
            read(&mut engine, 30, 56, &parts);
            let last = tick(&mut engine, 31);
            last[0].cause.clone()
        };
        let tmpfs = complete([2, 50, 50, 1]);
        assert_eq!((&*tmpfs.rule, tmpfs.numbers["filled_bytes"]), ("shared_memory", (50 * MIB) as f64));
        let others = complete([50, 1, 0, 1]);
        assert_eq!((&*others.rule, others.numbers["others_bytes"]), ("other_processes", (50 * MIB) as f64));
        assert!(others.sentence.contains("held 8.00 MiB"), "{others:?}");
    }

    #[test]
    fn cache_that_was_dropped_by_the_kill_had_not_filled_the_limit() {
        use Statistic::{MemoryAnon, MemoryFile, MemoryShmem};
        let cache = |mib: u64| [(MemoryAnon, 2), (MemoryFile, mib), (MemoryShmem, 0)];
        let small = oom::Kill { anon_bytes: Some(8 * MIB), ..kill(7, 1, Scope::Memcg) };
        for (after, filled) in [(54, true), (5, false)] {
            let mut engine = full(&cache(55), 60 * SECOND);
            let first = killed(&mut engine, 29 * SECOND + HALF, small.clone());
            assert_eq!(first[0].cause.rule, "file_pages");
            read(&mut engine, 30, 58, &cache(after));
            let last = tick(&mut engine, 31);
            assert_eq!(last[0].cause.rule == "file_pages", filled, "{after}");
        }
    }

    #[test]
    fn a_limit_that_was_found_after_the_kill_may_have_been_lowered() {
        let mut engine = host(5);
        let numbers = |limit: u64| [(Statistic::MemoryCurrent, 50 * MIB), (Statistic::MemoryLimit, limit * MIB)];
        for second in 2..5 {
            measure(&mut engine, second * SECOND, id(1), &numbers(60));
            measure(&mut engine, second * SECOND, id(2), &numbers(200));
            tick(&mut engine, second);
        }
        // In the file just after the kill it is lower than when last read.
        let bound = oom::Bound { path: "/a/b".into(), limit_bytes: Some(55 * MIB), peak_bytes: None, empty: false };
        let first = oom::Kill { limits: vec![bound], ..kill(7, 2, Scope::Memcg) };
        let first = killed(&mut engine, 4 * SECOND + HALF, first);
        assert_eq!((&first[0].evidence.limit, first[0].evidence.candidates.len()), (&None, 2));
        let peak = [(Statistic::MemoryPeak, 51 * MIB)];
        measure(&mut engine, 5 * SECOND, id(1), &[&numbers(60)[..], &peak].concat());
        tick(&mut engine, 5);
        let last = tick(&mut engine, 6);
        assert_eq!(
            (&*last[0].cause.rule, last[0].cause.numbers["limit_before_bytes"]),
            ("limit_lowered", (200 * MIB) as f64)
        );
    }
}
