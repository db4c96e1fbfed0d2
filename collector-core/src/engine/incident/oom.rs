//! OOM kills as incidents. Kills for the same shortage are one incident: the kernel kills several processes of a cgroup at once
//! if `memory.oom.group` is set, and several processes one after the other if the host is out of memory.

use super::consumer::Order;
use super::{APART_NS, Incidents, Open, consumer, evidence, labels, limit, open};
use crate::amount::bytes;
use crate::cgroup::Id;
use crate::incident::{Consumer, Figures, Incident, Kind, Source, Task, Victim, cause};
use crate::signal::oom::{Kill, Named, Scope};
use crate::view::View;
use crate::view::workload::Workload;

/// Maximum number of victims listed; further ones are only counted.
const MAX_VICTIMS: usize = 32;
/// An incident includes kills for this long, in nanoseconds; then the next one begins.
const LONGEST_NS: u64 = 10_000_000_000;

#[derive(Clone, Debug)]
pub(super) struct First {
    kill: Kill,
    time: u64,
    /// The path of the cgroup whose limit was hit, if known.
    path: Option<String>,
}

/// A kill begins an incident, or is added to an open one.
pub(super) fn killed(incidents: &mut Incidents, view: &View, named: &Named) -> Vec<Incident> {
    let Named { time, kill, .. } = named;
    let window = view.history.window(*time);
    let found = limit::of(view, kill, *time, &window);
    let path = found.as_ref().map(|(_, path)| path.clone());
    let same = |open: &&mut Open| open.takes(kill, *time, path.as_deref());
    if let Some(known) = incidents.open.iter_mut().find(same) {
        known.last = known.last.max(*time);
        let evidence = &mut known.incident.evidence;
        evidence.killed += 1;
        if evidence.kills.len() < MAX_VICTIMS {
            evidence.kills.push(victim(named));
        }
        return Vec::new();
    }
    let mut incident = Incident::new(Kind::Oom, incidents.id(*time), *time);
    let workload = kill.cgroup.and_then(|id| view.workloads.of(id));
    incident.labels = labels(workload);
    incident.evidence = evidence::of_host(view, &window, Order::Memory, named.workload.as_deref());
    let history = &mut incident.evidence.history;
    history.ago = evidence::ago(&window, *time);
    if let Some(workload) = workload {
        history.workload = window.lines(&workload.track);
        incident.evidence.workload = Some(evidence::figures(view, workload, &window));
    }
    incident.evidence.scope = Some(kill.scope);
    incident.evidence.kills = vec![victim(named)];
    incident.evidence.killed = 1;
    let first = First { kill: kill.clone(), time: *time, path };
    judge(view, &mut incident, &first);
    open(incidents, view, incident, *time, Some(first))
}

/// Adds what was read after the kill: limits and peaks are more recent then.
pub(super) fn complete(view: &View, incident: &mut Incident, first: Option<&First>) {
    let Some(first) = first else { return };
    let workload = first.kill.cgroup.and_then(|id| view.workloads.of(id));
    if let (Some(workload), Some(figures)) = (workload, &mut incident.evidence.workload) {
        // Without the numbers that dropped with the kill.
        let now = evidence::figures(view, workload, &view.history.window(first.time));
        *figures = Figures {
            limit_bytes: now.limit_bytes.or(figures.limit_bytes),
            high_bytes: now.high_bytes.or(figures.high_bytes),
            peak_bytes: now.peak_bytes.max(figures.peak_bytes),
            ..std::mem::take(figures)
        };
        let same = |consumer: &&mut Consumer| consumer.workload == figures.workload;
        for consumer in incident.evidence.consumers.iter_mut().filter(same) {
            consumer.limit_bytes = figures.limit_bytes;
        }
    }
    judge(view, incident, first);
}

/// Finds the limit, the workloads below it, and the cause.
fn judge(view: &View, incident: &mut Incident, first: &First) {
    let window = view.history.window(first.time);
    let victim = incident.labels.get("workload").cloned();
    if let Some((limit, path)) = limit::of(view, &first.kill, first.time, &window) {
        let evidence = &mut incident.evidence;
        if !limit.own {
            evidence.within = consumer::list(view, &window, Order::Memory, Some(&path), victim.as_deref());
            let limited = limit.workload.as_deref().and_then(|name| named(view, name));
            evidence.history.limited = limited.map(|limited| window.lines(&limited.track)).unwrap_or_default();
        }
        evidence.limit = Some(limit);
    } else if incident.evidence.limit.take().is_some() {
        // What was read since then contradicts the limit found before.
        incident.evidence.within.clear();
        incident.evidence.history.limited.clear();
    }
    let limited = incident.evidence.limit.as_ref().and_then(|limit| limit.workload.clone());
    let concerned: Vec<&str> = [victim.as_deref(), limited.as_deref()].into_iter().flatten().collect();
    incident.evidence.changes = evidence::changes(view, incident.time, &concerned);
    incident.title = title(incident);
    incident.cause = cause::find(incident);
}

fn named<'v>(view: &'v View, name: &str) -> Option<&'v Workload> {
    view.workloads.iter().find(|workload| &*workload.name == name)
}

impl Open {
    /// Whether a kill is part of this incident.
    fn takes(&self, kill: &Kill, time: u64, path: Option<&str>) -> bool {
        let Some(First { kill: first, path: limited, .. }) = &self.kill else { return false };
        let near = time.abs_diff(self.last) < APART_NS && time.abs_diff(self.incident.time) < LONGEST_NS;
        let group = |kill: &Kill| (kill.trigger_pid, kill.trigger_cgroup);
        let cgroup = |id: Option<Id>, other: Option<Id>| id.is_some() && id == other;
        let same = kill.scope == Scope::Host
            || group(kill) == group(first)
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
        trigger: Task {
            pid: kill.trigger_pid,
            comm: kill.trigger_comm.clone(),
            workload: text(&named.trigger_workload),
        },
    }
}

fn title(incident: &Incident) -> String {
    let evidence = &incident.evidence;
    let Some(first) = evidence.kills.first() else { return "OOM kill".to_owned() };
    let who = match evidence.killed {
        1 => format!("{} ({})", first.comm, first.pid),
        several => format!("{several} processes, first {} ({})", first.comm, first.pid),
    };
    let whose = first.workload.as_deref().unwrap_or("an unknown workload");
    let limit = evidence.limit.as_ref().filter(|limit| limit.source != Source::Unknown);
    let of = limit.and_then(|limit| limit.bytes).map_or(String::new(), |limit| format!(" of {}", bytes(limit)));
    let why = match (evidence.scope, limit) {
        (Some(Scope::Memcg), Some(limit)) if limit.own => format!("its own limit{of} was hit"),
        (Some(Scope::Memcg), Some(limit)) => {
            format!("the limit{of} of {} was hit", limit.workload.as_deref().unwrap_or("a cgroup above it"))
        }
        (Some(Scope::Memcg), None) => "a memory limit was hit".to_owned(),
        (Some(Scope::Host), _) => "the host was out of memory".to_owned(),
        _ => "what ran out of memory is not known".to_owned(),
    };
    format!("OOM kill of {who} in {whose}: {why}")
}
