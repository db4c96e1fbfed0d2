//! Signals that ended processes while memory was short, as incidents: somebody else than the OOM killer made room.

use super::consumer::Order;
use super::oom::MAX_VICTIMS;
use super::{APART_NS, Incidents, evidence, labels, open};
use crate::incident::{Incident, Kind, Task, Victim};
use crate::signal::kill::{Named, Sent};
use crate::view::View;

/// A signal begins an incident.
pub(super) fn began(incidents: &mut Incidents, view: &View, named: &Named) -> Vec<Incident> {
    let Named { time, sent, .. } = named;
    let window = view.history.window(*time);
    let workload = sent.cgroup.and_then(|id| view.workloads.of(id));
    let mut incident = Incident::new(Kind::Killed, incidents.id(*time), *time);
    incident.labels = labels(workload);
    incident.evidence = evidence::of_host(view, &window, Order::Memory, named.workload.as_deref());
    let history = &mut incident.evidence.history;
    history.ago = evidence::ago(&window, *time);
    if let Some(workload) = workload {
        history.workload = window.lines(&workload.track);
        incident.evidence.workload = Some(evidence::figures(view, workload, &window));
    }
    incident.evidence.shortage = Some(named.shortage.clone());
    incident.evidence.kills = vec![victim(view, *time, sent)];
    incident.evidence.killed = 1;
    complete(view, &mut incident);
    open(incidents, view, incident, *time, None)
}

/// A further signal of the same sender is added.
pub(super) fn further(incidents: &mut Incidents, view: &View, time: u64, sent: &Sent) {
    let known = victim(view, time, sent);
    let same = |incident: &Incident| {
        let first = incident.evidence.kills.first();
        let same = |first: &Victim| first.trigger.pid == sent.sender_pid && first.workload == known.workload;
        incident.kind == Kind::Killed && first.is_some_and(|first| first.pid != sent.pid && same(first))
    };
    let near = |open: &&mut super::Open| same(&open.incident) && time.abs_diff(open.last) < APART_NS;
    if let Some(open) = incidents.open.iter_mut().find(near) {
        open.last = open.last.max(time);
        let evidence = &mut open.incident.evidence;
        evidence.killed += 1;
        if evidence.kills.len() < MAX_VICTIMS {
            evidence.kills.push(known);
        }
    }
}

pub(super) fn complete(view: &View, incident: &mut Incident) {
    let victim = incident.labels.get("workload").cloned();
    incident.evidence.changes = evidence::changes(view, incident.time, victim.as_deref().as_slice(), None);
}

fn victim(view: &View, time: u64, sent: &Sent) -> Victim {
    let name = |id: Option<_>| id.and_then(|id| view.workloads.name(id)).map(|name| name.to_string());
    Victim {
        time,
        pid: sent.pid,
        comm: sent.comm.clone(),
        workload: name(sent.cgroup),
        signal: Some(sent.signal.label().to_owned()),
        survives: !sent.fatal,
        trigger: Task { pid: sent.sender_pid, comm: sent.sender_comm.clone(), workload: name(sent.sender_cgroup) },
        ..Victim::default()
    }
}

pub(super) fn title(incident: &Incident) -> String {
    let Some(first) = incident.evidence.kills.first() else { return "killed".to_owned() };
    let who = match incident.evidence.killed {
        1 => format!("{} ({})", first.comm, first.pid),
        several => format!("{several} processes, first {} ({}),", first.comm, first.pid),
    };
    let was = if incident.evidence.killed == 1 { "was" } else { "were" };
    let what = if first.survives { "asked to end" } else { "killed" };
    let whose = first.workload.as_deref().unwrap_or("an unknown workload");
    let signal = first.signal.as_deref().unwrap_or("a signal");
    format!("{who} in {whose} {was} {what} by {} ({signal})", first.trigger.comm)
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use crate::decode::record as decode_record;
    use crate::engine::Engine;
    use crate::engine::test::{CONTEXT, engine};
    use crate::incident::{Incident, Kind};
    use crate::outcome::Outcome;
    use crate::sample::{Reading, Sample};
    use crate::signal::kill::test::sent;

    fn incidents(outcomes: Vec<Outcome>) -> Vec<Incident> {
        let incident = |outcome| match outcome {
            Outcome::Incident(incident) => Some(*incident),
            _ => None,
        };
        outcomes.into_iter().filter_map(incident).collect()
    }

    /// A signal to a process of a workload that uses 95 % of its limit.
    fn signal(engine: &mut Engine, pid: u32, signal: u32, fatal: u32) -> Vec<Incident> {
        let mut record = sent();
        (record.usage, record.limit) = (95, 100);
        (record.target.pid, record.signal, record.fatal) = (pid, signal, fatal);
        incidents(engine.apply(&decode_record(record.as_bytes(), &CONTEXT).unwrap()))
    }

    #[test]
    fn the_signals_of_one_sender_are_one_incident_that_names_it() {
        let mut engine = engine();
        let first = signal(&mut engine, 1234, 9, 1);
        let [first] = first.as_slice() else { panic!("{first:?}") };
        assert_eq!((first.kind, &*first.title), (Kind::Killed, "python (1234) in /a was killed by earlyoom (SIGKILL)"));
        assert_eq!(first.cause.rule, "killed_by_a_process");
        let sentence = "earlyoom (77) sent SIGKILL to python (1234) of /a, which ended of it, while /a held 380 KiB of its limit of 400 KiB";
        assert_eq!(first.cause.sentence, sentence);
        assert!(first.cause.next.contains("exit status 137"), "{}", first.cause.next);
        assert_eq!(first.labels["workload"], "/a");

        assert_eq!(signal(&mut engine, 1235, 9, 1), []);
        let complete = incidents(engine.apply(&Sample { time: 2_000_000_000, reading: Reading::Tick }));
        let [complete] = complete.as_slice() else { panic!("{complete:?}") };
        assert_eq!((&complete.id, complete.complete, complete.evidence.killed), (&first.id, true, 2));
        assert_eq!(complete.title, "2 processes, first python (1234), in /a were killed by earlyoom (SIGKILL)");
        let pids: Vec<_> = complete.evidence.kills.iter().map(|victim| victim.pid).collect();
        assert_eq!(pids, [1234, 1235]);
    }

    #[test]
    fn who_handles_the_signal_was_only_asked() {
        let told = signal(&mut engine(), 1234, 15, 0);
        let [told] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(told.title, "python (1234) in /a was asked to end by earlyoom (SIGTERM)");
        assert!(told.cause.sentence.contains("which handles it"), "{}", told.cause.sentence);
        assert!(!told.cause.next.contains("exit status"), "{}", told.cause.next);
    }
}
