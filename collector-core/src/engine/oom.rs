//! oom: counts kills, distinguishes a kill from one more marked thread of the same process and from a process that was dying
//! already, and names its workloads.

use std::sync::Arc;

use super::State;
use super::held::{Held, MAX_WAIT_NS, expects_names};
use crate::cgroup::Id;
use crate::outcome::Outcome;
use crate::signal::kill::SIGNALS;
use crate::signal::oom::{Kill, Named, Reading, SIGKILL};
use crate::statistic::workload::Statistic;
use crate::view::View;

pub(super) fn fold(State { view, held, victims, .. }: State<'_>, time: u64, reading: &Reading) -> Option<Outcome> {
    let Reading::Kill(kill) = reading;
    let mut kill = kill.clone();
    kill.dying = kill.dying && is_sure(view, &kill);
    if !victims.mark(time, kill.pid, kill.tid, kill.dying) {
        return None;
    }
    if !kill.dying {
        count(view, time, &kill);
    }
    let reported = match waits(view, time, &kill) {
        true => held.hold(time, kill),
        false => Some((time, kill)),
    };
    reported.map(|(time, kill)| name(view, time, kill))
}

/// Whether a process was dying already: the OOM killer's signal was not seen although it would have been, or the process ends in
/// another way.
fn is_sure(view: &View, kill: &Kill) -> bool {
    view.coverage.sees(SIGNALS) || kill.signal != Some(SIGKILL)
}

fn count(view: &mut View, time: u64, kill: &Kill) {
    kill.cgroup.into_iter().for_each(|cgroup| view.workloads.make_place(cgroup));
    view.workloads.charge(kill.cgroup).oom_kills[kill.scope.index()] += 1;
    view.workloads.killed(kill.cgroup, time);
    if kill.limited.is_some() {
        view.coverage.limit_reported = true;
        view.workloads.charge(kill.limited).limit_kills += 1;
    }
}

/// Kills that need not be held back any longer.
pub(super) fn release(view: &View, held: &mut Held) -> Vec<Outcome> {
    let waits = |time: u64, kill: &Kill| view.time < time.saturating_add(MAX_WAIT_NS) && waits(view, time, kill);
    held.release(waits).into_iter().map(|(time, kill)| name(view, time, kill)).collect()
}

/// All kills that are held back.
pub(super) fn release_all(view: &View, held: &mut Held) -> Vec<Outcome> {
    held.release(|_, _| false).into_iter().map(|(time, kill)| name(view, time, kill)).collect()
}

/// Whether one of its workloads will soon have a better name.
fn waits(view: &View, time: u64, kill: &Kill) -> bool {
    let cgroups = [kill.cgroup, kill.trigger_cgroup, kill.limited];
    cgroups.into_iter().flatten().any(|id| expects_names(&view.workloads, id, time))
}

fn name(view: &View, time: u64, kill: Kill) -> Outcome {
    let name = |id: Option<Id>| id.and_then(|id| Some(view.workloads.known(id)?.name.clone()));
    let victim = kill.cgroup.and_then(|id| view.workloads.known(id));
    let named = Box::new(Named {
        time,
        workload: name(kill.cgroup),
        path: kill.cgroup.and_then(|id| view.workloads.path(id)).map(Arc::from),
        container_id: victim.as_ref().and_then(|victim| victim.identity.container_id.clone()),
        limit_bytes: victim.as_ref().and_then(|victim| victim.statistics.get(Statistic::MemoryLimit)),
        trigger_workload: name(kill.trigger_cgroup),
        limited_workload: name(kill.limited),
        gpus: view.gpus.held(&view.workloads, kill.pid, kill.cgroup, time),
        kill,
    });
    if named.kill.dying { Outcome::Dying(named) } else { Outcome::OomKill(named) }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;
    use crate::decode::record as decode_record;
    use crate::engine::test::{CONTEXT, ID, engine, facts, facts_of};
    use crate::sample::{self, Sample};
    use crate::signal::oom::test::victim;

    #[test]
    fn the_victim_is_charged_and_named() {
        let mut engine = engine();
        let mut record = victim();
        record.trigger_cgroup = collector_common::cgroup::Id { id: 999, hierarchy: ID.hierarchy };
        let outcomes = facts(&mut engine, &decode_record(record.as_bytes(), &CONTEXT).unwrap());
        let [Outcome::OomKill(kill)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
        assert_eq!((kill.workload.as_deref(), kill.trigger_workload.as_deref()), (Some("/a"), None));
        let workload = engine.view().workloads.iter().find(|workload| &*workload.name == "/a").unwrap();
        assert_eq!(workload.amounts.oom_kills, [1, 0, 0]);
    }

    #[test]
    fn a_kill_in_a_young_container_waits_for_its_name_but_not_for_long() {
        use crate::identity::Names;
        use crate::sample::Reading as Read;
        use crate::signal::cgroup;
        let (hash, young) = ("4f1c2a9b".repeat(8), Id { hierarchy: ID.hierarchy, id: 78 });
        let born = || Read::Cgroup(cgroup::Reading::Born { id: young, path: format!("/docker/{hash}") });
        let mut record = victim();
        record.cgroup.id = young.id;
        let kill = decode_record(record.as_bytes(), &CONTEXT).unwrap();
        let reported = |outcomes: Vec<Outcome>| match facts_of(outcomes).as_slice() {
            [] => None,
            [Outcome::OomKill(kill)] => Some((kill.time, kill.workload.as_deref().unwrap().to_owned())),
            other => panic!("{other:?}"),
        };
        let young_engine = || {
            let mut engine = engine();
            engine.apply(&Sample { time: 500, reading: born() });
            assert_eq!(reported(engine.apply(&kill)), None);
            assert_eq!(engine.view().workloads.of(young).unwrap().amounts.oom_kills, [1, 0, 0], "counted at once");
            engine
        };

        let names = Names { name: Some("web".into()), ..Names::default() };
        let name = |cgroup| Read::Name(sample::Name { cgroup, names: names.clone() });
        let mut engine = young_engine();
        assert_eq!(reported(engine.apply(&Sample { time: 2_000, reading: name(ID) })), None);
        let named = engine.apply(&Sample { time: 2_000, reading: name(young) });
        assert_eq!(reported(named), Some((kill.time, "docker/web".into())));
        assert_eq!(reported(engine.finish()), None);

        let mut engine = young_engine();
        let late = kill.time + MAX_WAIT_NS;
        assert_eq!(reported(engine.apply(&Sample { time: late - 1, reading: Read::Tick })), None);
        let unnamed = engine.apply(&Sample { time: late, reading: Read::Tick });
        assert_eq!(reported(unnamed), Some((kill.time, format!("docker/{}", &hash[..12]))));
        assert_eq!(reported(young_engine().finish()), Some((kill.time, format!("docker/{}", &hash[..12]))));

        let mut engine = young_engine();
        let mut reported = 0;
        for pid in 0..100 {
            record.victim.pid = 5000 + pid;
            reported += facts(&mut engine, &decode_record(record.as_bytes(), &CONTEXT).unwrap()).len();
        }
        assert_eq!((reported, facts_of(engine.finish()).len()), (37, 64), "what is held back is bounded");
    }

    #[test]
    fn who_was_dying_already_is_no_kill() {
        let kills = |record: &collector_common::oom::Victim, probe: sample::ProbeState| {
            let mut engine = engine();
            let probe = sample::Probe { program: "kill_signal".into(), state: probe, reason: None };
            engine.apply(&Sample { time: 20, reading: sample::Reading::Probe(probe) });
            let told = facts(&mut engine, &decode_record(record.as_bytes(), &CONTEXT).unwrap());
            let counted = engine.view().workloads.of(ID).unwrap().amounts.oom_kills[0];
            match told.as_slice() {
                [Outcome::OomKill(_)] => (true, counted),
                [Outcome::Dying(_)] => (false, counted),
                other => panic!("{other:?}"),
            }
        };
        use sample::ProbeState::{Attached, Disabled};
        let mut record = victim();
        assert_eq!(kills(&record, Attached), (true, 1));
        record.killed = 0;
        assert_eq!(kills(&record, Attached), (false, 0), "of somebody else's SIGKILL");
        assert_eq!(kills(&record, Disabled), (true, 1), "nothing would have shown the OOM killer's signal");
        record.status = 3 << 8;
        assert_eq!(kills(&record, Disabled), (false, 0), "of its own");
    }

    #[test]
    fn the_marked_threads_of_one_process_are_one_kill() {
        let mut engine = engine();
        let mut record = victim();
        let outcomes = (0..3).map(|thread| {
            record.victim.tid = 1234 + thread;
            facts(&mut engine, &decode_record(record.as_bytes(), &CONTEXT).unwrap()).len()
        });
        assert_eq!(outcomes.collect::<Vec<_>>(), [1, 0, 0]);
        let workload = engine.view().workloads.iter().find(|workload| &*workload.name == "/a").unwrap();
        assert_eq!(workload.amounts.oom_kills, [1, 0, 0]);
    }

    /// A kill of a container at its limit of 64 MiB, where other workloads of `held` bytes each have both places.
    fn killed_over_the_cap(held: u64) -> Vec<Outcome> {
        use crate::sample::{Reading as Read, Start, Statistics};
        use crate::signal::cgroup;
        let mut engine = crate::engine::Engine::new();
        let mut apply = |time, reading| engine.apply(&Sample { time, reading });
        let id = |id| Id { id, ..ID };
        let born = |cgroup, path: &str| Read::Cgroup(cgroup::Reading::Born { id: id(cgroup), path: path.into() });
        let measured = |cgroup, bytes| {
            let values = [(Statistic::MemoryCurrent, bytes), (Statistic::MemoryLimit, 64 << 20)].into_iter().collect();
            Read::Statistics(Statistics { cgroup: id(cgroup), values, turn: true })
        };
        apply(10, Read::Start(Start { workload_max: 2, ..crate::engine::test::start() }));
        for (cgroup, path) in [(1, "/a"), (2, "/b"), (3, &*format!("/docker/{}", "4f1c2a9b".repeat(8)))] {
            apply(20, born(cgroup, path));
        }
        let names = crate::identity::Names { name: Some("vllm".into()), ..Default::default() };
        apply(21, Read::Name(sample::Name { cgroup: id(3), names }));
        for time in 1..9 {
            let at = time * 1_000_000_000;
            for (cgroup, bytes) in [(1, held), (2, held), (3, (60 + time) << 20)] {
                apply(at, measured(cgroup, bytes));
            }
            apply(at, Read::Tick);
        }
        let mut record = victim();
        record.cgroup.id = 3;
        let mut kill = decode_record(record.as_bytes(), &CONTEXT).unwrap();
        if let Read::Oom(Reading::Kill(kill)) = &mut kill.reading {
            (kill.limited, kill.scope) = (Some(id(3)), crate::signal::oom::Scope::Memcg);
        }
        apply(9_000_000_000, kill.reading)
    }

    #[test]
    fn a_killed_container_keeps_its_name_and_limit_whatever_the_cap() {
        for held in [0, 1 << 20] {
            let outcomes = killed_over_the_cap(held);
            let [Outcome::OomKill(kill), Outcome::Incident(incident)] = &outcomes[..] else { panic!("{outcomes:?}") };
            assert_eq!(kill.workload.as_deref(), Some("docker/vllm"), "{held}");
            assert_eq!(kill.path.as_deref(), Some(&*format!("/docker/{}", "4f1c2a9b".repeat(8))));
            assert_eq!(kill.container_id.as_deref(), Some(&*"4f1c2a9b".repeat(8)));
            assert_eq!(kill.limit_bytes, Some(64 << 20));
            assert_eq!(incident.labels["workload"], "docker/vllm");
            let limit = incident.evidence.limit.as_ref().unwrap();
            assert_eq!((limit.own, limit.bytes), (true, Some(64 << 20)));
        }
    }
}
