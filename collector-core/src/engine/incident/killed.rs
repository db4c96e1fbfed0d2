//! Signals that ended processes while memory was short, as incidents: somebody else than the OOM killer made room.

use super::consumer::Order;
use super::oom::MAX_VICTIMS;
use super::{APART_NS, Incidents, Open, evidence, labels, open};
use crate::incident::{Incident, Kind, Task, Victim};
use crate::signal::kill::{Named, Sent};
use crate::view::View;

/// A signal begins an incident.
pub(super) fn began(incidents: &mut Incidents, view: &View, named: &Named) -> Vec<Incident> {
    let Named { time, sent, .. } = named;
    let window = view.history.window(*time);
    let workload = sent.cgroup.and_then(|id| view.workloads.known(id));
    let workload = workload.as_deref();
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

/// A further signal of the same sender to the same workload is added.
pub(super) fn further(incidents: &mut Incidents, view: &View, time: u64, sent: &Sent) {
    // Usually there is none, and names of workloads without a place are costly.
    if !incidents.open.iter().any(|open| open.incident.kind == Kind::Killed) {
        return;
    }
    let victim = victim(view, time, sent);
    let same = |incident: &Incident| {
        let first = incident.evidence.kills.first().filter(|_| incident.kind == Kind::Killed);
        first.is_some_and(|it| (it.trigger.pid, &it.workload) == (victim.trigger.pid, &victim.workload))
    };
    let near = |open: &&mut Open| same(&open.incident) && time.abs_diff(open.last) < APART_NS;
    let Some(open) = incidents.open.iter_mut().find(near) else { return };
    open.last = open.last.max(time);
    let evidence = &mut open.incident.evidence;
    if let Some(known) = evidence.kills.iter_mut().find(|it| it.pid == victim.pid) {
        // Asked to end first, and then killed.
        if known.survives {
            (known.signal, known.survives) = (victim.signal, victim.survives);
        }
        return;
    }
    evidence.killed += 1;
    if evidence.kills.len() < MAX_VICTIMS {
        evidence.kills.push(victim);
    }
}

pub(super) fn complete(view: &View, incident: &mut Incident) {
    let victim = incident.labels.get("workload").cloned();
    incident.evidence.changes = evidence::changes(view, incident.time, victim.as_deref().as_slice(), None);
}

fn victim(view: &View, time: u64, sent: &Sent) -> Victim {
    let name = |id: Option<_>| id.and_then(|id| Some(view.workloads.known(id)?.name.to_string()));
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

    use crate::cgroup::Id;
    use crate::decode::record as decode_record;
    use crate::engine::Engine;
    use crate::engine::test::{CONTEXT, ID, engine, start};
    use crate::incident::{Incident, Kind};
    use crate::outcome::Outcome;
    use crate::sample::{Reading, Sample, Start};
    use crate::signal::cgroup;
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
        let sentence = "earlyoom (77) sent SIGKILL to python (1234) of /a, which ended it, while /a held 380 KiB of its limit of 400 KiB";
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
        let asked = signal(&mut engine(), 1234, 15, 0);
        let [asked] = asked.as_slice() else { panic!("{asked:?}") };
        assert_eq!(asked.title, "python (1234) in /a was asked to end by earlyoom (SIGTERM)");
        assert!(asked.cause.sentence.contains("which handles it"), "{}", asked.cause.sentence);
        assert!(!asked.cause.next.contains("exit status"), "{}", asked.cause.next);
    }

    #[test]
    fn a_process_that_gets_several_signals_is_one() {
        let mut engine = engine();
        assert_eq!(signal(&mut engine, 1234, 15, 0).len(), 1);
        for (pid, number, fatal) in [(1235, 15, 0), (1235, 9, 1), (1234, 9, 1), (1234, 15, 0)] {
            assert_eq!(signal(&mut engine, pid, number, fatal), []);
        }
        let complete = incidents(engine.apply(&Sample { time: 2_000_000_000, reading: Reading::Tick }));
        assert_eq!(complete[0].title, "2 processes, first python (1234), in /a were killed by earlyoom (SIGKILL)");
        let kills = complete[0].evidence.kills.iter().map(|it| (it.pid, it.signal.as_deref(), it.survives));
        assert_eq!(kills.collect::<Vec<_>>(), [(1234, Some("SIGKILL"), false), (1235, Some("SIGKILL"), false)]);
    }

    /// An engine with two places, and a signal from one cgroup to each of `to`, while they are nearly full. Returns the
    /// incidents when they are complete.
    fn signals(paths: &[&str], from: usize, to: &[usize]) -> Vec<Incident> {
        let mut engine = Engine::new();
        engine.apply(&Sample { time: 10, reading: Reading::Start(Start { workload_max: 2, ..start() }) });
        let id = |place: usize| Id { id: place as u64 + 1, ..ID };
        for (place, path) in paths.iter().enumerate() {
            let born = cgroup::Reading::Born { id: id(place), path: (*path).to_owned() };
            engine.apply(&Sample { time: 10, reading: Reading::Cgroup(born) });
        }
        let mut record = sent();
        (record.usage, record.limit) = (95, 100);
        record.sender_cgroup.id = id(from).id;
        record.sender_cgroup.hierarchy = ID.hierarchy;
        for place in to {
            record.cgroup.id = id(*place).id;
            record.target.pid += 1;
            engine.apply(&decode_record(record.as_bytes(), &CONTEXT).unwrap());
        }
        incidents(engine.finish())
    }

    #[test]
    fn signals_to_nested_cgroups_of_a_workload_are_one_incident() {
        let service = "/system.slice/vllm.service";
        let paths = ["/a", service, &format!("{service}/one"), &format!("{service}/two")];
        let complete = signals(&paths, 0, &[1, 2, 3, 2]);
        let shown: Vec<_> = complete.iter().map(|it| (&*it.labels["workload"], it.evidence.killed)).collect();
        assert_eq!(shown, [("vllm.service", 4)]);
    }

    #[test]
    fn signals_between_workloads_without_a_place_have_their_names() {
        let complete = signals(&["/a", "/b", "/c", "/d"], 2, &[3]);
        let [incident] = complete.as_slice() else { panic!("{complete:?}") };
        assert_eq!(incident.title, "python (1235) in /d was killed by earlyoom (SIGKILL)");
        assert_eq!(
            (&*incident.labels["workload"], &*incident.evidence.workload.as_ref().unwrap().cgroup),
            ("/d", "/d")
        );
        let sender = &incident.evidence.kills[0].trigger;
        assert_eq!(sender.workload.as_deref(), Some("/c"));
        assert!(incident.cause.sentence.contains("while /d held 380 KiB"), "{}", incident.cause.sentence);
    }
}
