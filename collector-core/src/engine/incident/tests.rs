//! Incidents on simulated hosts, from samples alone.

use crate::cgroup::Id;
use crate::engine::Engine;
use crate::incident::{Incident, Kind, Source, What};
use crate::outcome::Outcome;
use crate::pressure::{self, Stall, Trigger};
use crate::sample::{self, Reading, Sample, Statistics};
use crate::signal::cgroup;
use crate::signal::oom;
use crate::statistic::gpu::{self, Device};
use crate::statistic::workload::{Statistic, Values};

pub(super) const SECOND: u64 = 1_000_000_000;
pub(super) const MIB: u64 = 1 << 20;

pub(super) fn id(id: u64) -> Id {
    Id { hierarchy: 5, id }
}

/// A host with the workloads `/a` (1), `/a/b` (2), `/a/c` (3) and `/d` (4), a second after the start.
pub(super) fn host(hierarchy: u64) -> Engine {
    let mut engine = Engine::new();
    let start = sample::Start { workload_max: 10, memory_hierarchy: hierarchy, ..crate::engine::test::start() };
    apply(&mut engine, SECOND, Reading::Start(start));
    for (number, path) in [(1, "/a"), (2, "/a/b"), (3, "/a/c"), (4, "/d")] {
        let id = Id { hierarchy, id: number };
        apply(&mut engine, SECOND, Reading::Cgroup(cgroup::Reading::Born { id, path: path.into() }));
    }
    engine
}

pub(super) fn apply(engine: &mut Engine, time: u64, reading: Reading) -> Vec<Incident> {
    incidents(engine.apply(&Sample { time, reading }))
}

pub(super) fn incidents(outcomes: Vec<Outcome>) -> Vec<Incident> {
    let incident = |outcome| match outcome {
        Outcome::Incident(incident) => Some(*incident),
        _ => None,
    };
    outcomes.into_iter().filter_map(incident).collect()
}

pub(super) fn measure(engine: &mut Engine, time: u64, cgroup: Id, numbers: &[(Statistic, u64)]) {
    let values: Values = numbers.iter().copied().collect();
    apply(engine, time, Reading::Statistics(Statistics { cgroup, values, turn: true }));
}

pub(super) fn tick(engine: &mut Engine, second: u64) -> Vec<Incident> {
    apply(engine, second * SECOND, Reading::Tick)
}

/// Seconds in which each workload holds `mib(cgroup, second)` MiB; the limit of `/a` is 100 MiB.
pub(super) fn seconds(engine: &mut Engine, range: std::ops::Range<u64>, mib: impl Fn(u64, u64) -> u64) {
    for second in range {
        for cgroup in 1..=4 {
            let limit = (cgroup == 1).then_some((Statistic::MemoryLimit, 100 * MIB));
            let current = (Statistic::MemoryCurrent, MIB * mib(cgroup, second));
            let numbers: Vec<_> = [Some(current), limit].into_iter().flatten().collect();
            measure(engine, second * SECOND, id(cgroup), &numbers);
        }
        assert_eq!(tick(engine, second), []);
    }
}

pub(super) fn kill(pid: u32, cgroup: u64, scope: oom::Scope) -> oom::Kill {
    oom::Kill {
        cgroup: Some(id(cgroup)),
        scope,
        pid,
        tid: pid,
        comm: "python".into(),
        anon_bytes: Some(30 * MIB),
        trigger_pid: pid,
        trigger_comm: "python".into(),
        ..oom::Kill::default()
    }
}

pub(super) fn killed(engine: &mut Engine, time: u64, kill: oom::Kill) -> Vec<Incident> {
    apply(engine, time, Reading::Oom(oom::Reading::Kill(kill)))
}

pub(super) const HALF: u64 = SECOND / 2;

#[test]
fn a_kill_is_reported_at_once_and_completed_under_the_same_id() {
    let mut engine = host(5);
    seconds(&mut engine, 2..20, |cgroup, second| [0, 20 + 4 * second, 20 + second, 3 * second, 500][cgroup as usize]);
    let reported = killed(&mut engine, 19 * SECOND + HALF, kill(7, 2, oom::Scope::Memcg));
    let [first] = reported.as_slice() else { panic!("{reported:?}") };
    assert_eq!((first.kind, first.complete, &*first.id), (Kind::Oom, false, "19700101T000019.500000"));
    assert_eq!(first.labels["workload"], "/a/b");
    assert_eq!(first.title, "OOM kill of python (7) in /a/b: the limit of 100 MiB of /a was hit");
    let limit = first.evidence.limit.as_ref().unwrap();
    assert_eq!((limit.source, limit.own, limit.used_bytes), (Source::Only, false, Some(96 * MIB)));
    let within: Vec<_> =
        first.evidence.within.iter().map(|it| (&*it.workload, it.memory_bytes.unwrap() / MIB)).collect();
    assert_eq!(within, [("/a/c", 57), ("/a/b", 39)], "what /a has beside them is nothing");
    let consumers: Vec<_> = first.evidence.consumers.iter().map(|it| &*it.workload).collect();
    assert_eq!(consumers, ["/d", "/a/c", "/a/b"]);
    assert_eq!(first.cause.rule, "grown_by_another");
    let history = &first.evidence.history;
    assert_eq!((history.ago.len(), history.ago[0], *history.ago.last().unwrap()), (18, 17.5, 0.5));
    assert_eq!(history.workload["memory_bytes"][0], Some((22 * MIB) as f64));
    assert_eq!(history.limited["memory_bytes"].len(), 18);
    // Neither the same second nor one more mark reports it again.
    assert_eq!(killed(&mut engine, 19 * SECOND + HALF + 1, oom::Kill { tid: 8, ..kill(7, 2, oom::Scope::Memcg) }), []);
    assert_eq!(tick(&mut engine, 20), []);
    let reported = tick(&mut engine, 21);
    let [last] = reported.as_slice() else { panic!("{reported:?}") };
    assert_eq!((&last.id, last.complete, last.time), (&first.id, true, first.time));
    assert_eq!((&last.evidence.history, last.evidence.killed), (&first.evidence.history, 1));
    assert_eq!(tick(&mut engine, 22), []);
}

#[test]
fn a_limit_read_after_the_kill_is_reported_for_the_victim() {
    let mut engine = host(5);
    seconds(&mut engine, 2..20, |_, second| 20 + second);
    let limit = |incident: &Incident, name: &str| {
        let of = incident.evidence.consumers.iter().find(|it| it.workload == name).unwrap();
        of.limit_bytes
    };
    let reported = killed(&mut engine, 19 * SECOND + HALF, kill(7, 4, oom::Scope::Memcg));
    assert_eq!(limit(&reported[0], "/d"), None);
    measure(&mut engine, 20 * SECOND, id(4), &[(Statistic::MemoryCurrent, MIB), (Statistic::MemoryLimit, 40 * MIB)]);
    tick(&mut engine, 20);
    let reported = tick(&mut engine, 21);
    assert_eq!([limit(&reported[0], "/d"), limit(&reported[0], "/a/c")], [Some(40 * MIB), None]);
}

#[test]
fn kills_for_the_same_shortage_are_one_incident() {
    let mut engine = host(5);
    seconds(&mut engine, 2..5, |_, _| 30);
    let at = 4 * SECOND + HALF;
    let group = |pid, cgroup| oom::Kill { trigger_pid: 7, ..kill(pid, cgroup, oom::Scope::Memcg) };
    assert_eq!(killed(&mut engine, at, group(7, 2)).len(), 1);
    assert_eq!(killed(&mut engine, at + 1, group(8, 2)), []);
    assert_eq!(killed(&mut engine, at + 2, group(9, 3)), [], "another cgroup, for the same one that asked");
    assert_eq!(killed(&mut engine, at + 3, kill(10, 3, oom::Scope::Memcg)), [], "the same limit");
    assert_eq!(killed(&mut engine, at + 4, kill(11, 4, oom::Scope::Memcg)).len(), 1, "another limit");
    assert_eq!(killed(&mut engine, at + 5, kill(12, 2, oom::Scope::Host)).len(), 1, "the host's memory");
    assert_eq!(killed(&mut engine, at + 6, kill(13, 4, oom::Scope::Host)), []);
    let done = tick(&mut engine, 6);
    let shown: Vec<_> = done.iter().map(|it| (it.evidence.killed, it.evidence.kills.len())).collect();
    assert_eq!(shown, [(4, 4), (1, 1), (2, 2)]);
    assert!(done[0].title.starts_with("OOM kill of 4 processes, first python (7) in /a/b"), "{}", done[0].title);
    // A second later it is another incident; and one that never ends is reported in parts.
    let mut reported = 0;
    for tenth in 0..300 {
        let now = 7 * SECOND + tenth * SECOND / 10;
        reported += killed(&mut engine, now, kill(100 + tenth as u32, 2, oom::Scope::Memcg)).len();
    }
    assert_eq!(reported, 3);
    let last = incidents(engine.finish());
    assert_eq!(last.iter().map(|it| it.complete).collect::<Vec<_>>(), [true; 3]);
    assert_eq!(last.iter().map(|it| (it.evidence.killed, it.evidence.kills.len())).collect::<Vec<_>>(), [(100, 32); 3]);
}

#[test]
fn the_number_of_open_incidents_is_bounded() {
    let mut engine = host(5);
    let (mut begun, mut done) = (0, 0);
    for pid in 0..200 {
        let trigger = oom::Kill { cgroup: None, ..kill(pid, 0, oom::Scope::Memcg) };
        for incident in killed(&mut engine, 2 * SECOND, trigger) {
            *(if incident.complete { &mut done } else { &mut begun }) += 1;
        }
    }
    assert_eq!((begun, done), (200, 200 - super::MAX_OPEN));
    assert_eq!(engine.incidents.open.len(), super::MAX_OPEN);
}

#[test]
fn the_limit_is_reported_only_if_it_is_certain() {
    let current = (Statistic::MemoryCurrent, 50 * MIB);
    let limit = (Statistic::MemoryLimit, 60 * MIB);
    let refused = |count| (Statistic::MemoryEventMax, count);
    let found = |engine: &mut Engine| {
        let reported = killed(engine, 4 * SECOND + HALF, kill(7, 2, oom::Scope::Memcg));
        reported[0].evidence.limit.as_ref().map(|it| (it.workload.clone().unwrap(), it.source))
    };
    // A workload whose files were not read may have a limit.
    let mut engine = host(5);
    measure(&mut engine, 3 * SECOND, id(1), &[current, limit]);
    tick(&mut engine, 3);
    assert_eq!(found(&mut engine), None);
    // Two have a limit; which one was hit is not known until one of them counts a refusal.
    let mut engine = host(5);
    for cgroup in [1, 2] {
        measure(&mut engine, 3 * SECOND, id(cgroup), &[current, limit, refused(5)]);
    }
    tick(&mut engine, 3);
    assert_eq!(found(&mut engine.clone()), None);
    for (first, second, wanted) in [(6, 5, Some("/a")), (5, 6, Some("/a/b")), (6, 6, None)] {
        let mut engine = engine.clone();
        measure(&mut engine, 4 * SECOND, id(1), &[current, limit, refused(first)]);
        measure(&mut engine, 4 * SECOND, id(2), &[current, limit, refused(second)]);
        tick(&mut engine, 4);
        let wanted = wanted.map(|name: &str| (name.to_owned(), Source::Refused));
        assert_eq!(found(&mut engine), wanted, "{first} {second}");
    }
    // The peak, read after the kill, excludes one of them.
    let mut reported = killed(&mut engine, 4 * SECOND, kill(7, 2, oom::Scope::Memcg));
    assert_eq!(reported.remove(0).evidence.limit, None);
    measure(&mut engine, 5 * SECOND, id(2), &[current, limit, (Statistic::MemoryPeak, 51 * MIB)]);
    measure(&mut engine, 5 * SECOND, id(1), &[current, limit, (Statistic::MemoryPeak, 60 * MIB)]);
    let done = tick(&mut engine, 5);
    let limit = done[0].evidence.limit.as_ref().unwrap();
    assert_eq!((limit.workload.as_deref(), limit.source, limit.own), (Some("/a"), Source::Only, false));
    // What the kernel reports needs no other evidence.
    let mut engine = host(5);
    let reported = killed(&mut engine, 4 * SECOND, oom::Kill { limited: Some(id(1)), ..kill(7, 2, oom::Scope::Memcg) });
    let limit = reported[0].evidence.limit.as_ref().unwrap();
    assert_eq!((limit.source, limit.bytes, &*reported[0].cause.rule), (Source::Kernel, None, "not_known"));
}

#[test]
fn numbers_read_after_the_kill_may_contradict_the_first_report() {
    let mut engine = host(5);
    seconds(&mut engine, 2..5, |_, _| 30);
    let first = killed(&mut engine, 4 * SECOND + HALF, kill(7, 2, oom::Scope::Memcg));
    assert_eq!(first[0].cause.rule, "parents_limit");
    let limited =
        [(Statistic::MemoryCurrent, MIB), (Statistic::MemoryLimit, 30 * MIB), (Statistic::MemoryPeak, 30 * MIB)];
    measure(&mut engine, 6 * SECOND, id(2), &limited);
    let parent =
        [(Statistic::MemoryCurrent, MIB), (Statistic::MemoryLimit, 100 * MIB), (Statistic::MemoryPeak, 60 * MIB)];
    measure(&mut engine, 6 * SECOND, id(1), &parent);
    let last = tick(&mut engine, 6);
    let limit = last[0].evidence.limit.as_ref().unwrap();
    assert_eq!((limit.own, limit.bytes), (true, Some(30 * MIB)));
    assert_eq!(last[0].title, "OOM kill of python (7) in /a/b: its own limit of 30.0 MiB was hit");
    assert!(last[0].evidence.within.is_empty() || last[0].cause.rule != "parents_limit");
}

fn stall(engine: &mut Engine, time: u64, resource: pressure::Resource) -> Vec<Incident> {
    let trigger = Trigger { resource, kind: pressure::Kind::Stalled, threshold_ns: SECOND / 5, window_ns: 2 * SECOND };
    apply(engine, time, Reading::Pressure(pressure::Reading::Stall(Stall { trigger, total_ns: None })))
}

#[test]
fn several_windows_in_a_row_are_a_storm_and_it_is_reported_once() {
    let mut engine = host(5);
    let waited = |cgroup: u64, second: u64| (Statistic::MemoryPressureSome, second * SECOND / (1 + cgroup));
    for second in 2..30 {
        for cgroup in 1..=4 {
            let numbers = [(Statistic::MemoryCurrent, cgroup * MIB), waited(cgroup, second)];
            measure(&mut engine, second * SECOND, id(cgroup), &numbers);
        }
        let reported = tick(&mut engine, second);
        match second {
            // Six seconds after the last.
            27 => {
                let [done] = reported.as_slice() else { panic!("{reported:?}") };
                let storm = done.evidence.storm.as_ref().unwrap();
                assert_eq!((done.complete, storm.stalls, storm.seconds), (true, 6, 10.0));
                assert!(done.evidence.history.ago.last().unwrap() < &-10.0, "{:?}", done.evidence.history.ago);
            }
            _ => assert_eq!(reported, [], "{second}"),
        }
        let at = second * SECOND + HALF;
        let reported = if (10..=20).contains(&second) && second % 2 == 0 {
            stall(&mut engine, at, pressure::Resource::Memory)
        } else if second == 11 {
            stall(&mut engine, at, pressure::Resource::Io)
        } else {
            continue;
        };
        match second {
            14 => {
                let [begun] = reported.as_slice() else { panic!("{reported:?}") };
                assert_eq!((begun.kind, begun.complete), (Kind::MemoryPressure, false));
                // `/a` waits whenever one below it does.
                assert_eq!(begun.labels["workload"], "/a/b");
                assert_eq!(
                    begun.title,
                    "Tasks of the host waited for memory, /a/b longest: 3 pressure events within 4.0 s"
                );
            }
            _ => assert_eq!(reported, [], "{second}"),
        }
    }
}

#[test]
fn a_workload_not_seen_waiting_is_not_named() {
    let mut engine = host(5);
    seconds(&mut engine, 2..10, |cgroup, second| cgroup * second);
    let reported: Vec<_> =
        [5, 7, 9].iter().flat_map(|at| stall(&mut engine, at * SECOND + HALF, pressure::Resource::Memory)).collect();
    let [begun] = reported.as_slice() else { panic!("{reported:?}") };
    assert_eq!((begun.labels.len(), &begun.evidence.workload), (0, &None));
    assert_eq!(begun.title, "Tasks of the host waited for memory: 3 pressure events within 4.0 s");
    assert!(begun.evidence.consumers.iter().any(|it| it.workload == "/d" && it.growth_bytes > Some(0)));
}

#[test]
fn windows_far_apart_are_no_storm_and_a_long_storm_is_reported_while_it_lasts() {
    let mut engine = host(5);
    let reported: usize =
        (0..20).map(|number| stall(&mut engine, (2 + 7 * number) * SECOND, pressure::Resource::Io).len()).sum();
    assert_eq!(reported, 0);
    let mut all = Vec::new();
    for second in 200..400 {
        all.extend(tick(&mut engine, second));
        if second % 2 == 0 {
            all.extend(stall(&mut engine, second * SECOND + HALF, pressure::Resource::Io));
            assert_eq!(stall(&mut engine, second * SECOND + HALF, pressure::Resource::Cpu), []);
        }
    }
    all.extend((400..420).flat_map(|second| tick(&mut engine, second)));
    let shown: Vec<_> = all.iter().map(|it| (it.kind, it.complete, it.id == all[0].id)).collect();
    assert_eq!(shown, [(Kind::IoPressure, false, true), (Kind::IoPressure, true, true)]);
}

#[test]
fn a_lost_gpu_is_an_incident_with_its_errors_and_a_lost_mig_device_is_not() {
    let mut engine = host(5);
    let device = |uuid: &str, gpu: &str, parent: Option<&str>| {
        let [model, driver] = ["H100".into(), "555".into()];
        gpu::Reading::Device {
            device: Device { uuid: uuid.into(), gpu: gpu.into(), model, driver, parent: parent.map(Into::into) }.into(),
            values: [(gpu::Statistic::Temperature, 61), (gpu::Statistic::Power, 312_500)].into_iter().collect(),
        }
    };
    for reading in [device("GPU-a", "0", None), device("GPU-b", "1", None), device("MIG-a", "0:0", Some("GPU-a"))] {
        apply(&mut engine, 2 * SECOND, Reading::Gpu(reading));
    }
    let holders = vec![gpu::Holder { pid: 5, cgroup: Some(id(4)), bytes: Some(MIB) }];
    apply(&mut engine, 20 * SECOND, Reading::Gpu(gpu::Reading::Held { uuid: "GPU-a".into(), holders }));
    let gone = |uuid: &str| Reading::Gpu(gpu::Reading::Gone { uuid: uuid.into() });
    assert_eq!(apply(&mut engine, 20 * SECOND, gone("MIG-a")), []);
    let reported = apply(&mut engine, 21 * SECOND, gone("GPU-a"));
    let [first] = reported.as_slice() else { panic!("{reported:?}") };
    let lost = first.evidence.gpu.as_ref().unwrap();
    assert_eq!((first.kind, &*first.labels["gpu"], &*first.labels["uuid"]), (Kind::GpuLost, "0", "GPU-a"));
    assert_eq!((&*lost.model, lost.temperature, lost.power), ("H100", Some(61), Some(312.5)));
    assert_eq!((&*lost.holders[0].workload, lost.holders[0].bytes), ("/d", Some(MIB)));
    assert_eq!((lost.lost, lost.left, &*first.cause.rule), (1, 1, "not_known"));
    // An error arrives a little later, but from the other GPU: only errors of the lost one count.
    apply(&mut engine, 21 * SECOND, Reading::Gpu(gpu::Reading::Xid { uuid: "GPU-b".into(), code: 48 }));
    assert_eq!(apply(&mut engine, 21 * SECOND, gone("GPU-a")), [], "it is gone already");
    let done = tick(&mut engine, 22);
    assert_eq!((done.len(), done[0].complete, &*done[0].cause.rule), (1, true, "not_known"));
    // Errors before it explain it.
    for code in [79, 79] {
        apply(&mut engine, 30 * SECOND, Reading::Gpu(gpu::Reading::Xid { uuid: "GPU-b".into(), code }));
    }
    let reported = apply(&mut engine, 31 * SECOND, gone("GPU-b"));
    let lost = reported[0].evidence.gpu.as_ref().unwrap();
    assert_eq!((&lost.xids[..], lost.left, &*reported[0].cause.rule), (&[48, 79][..], 0, "gpu_error"));
    let changes: Vec<_> = reported[0].evidence.changes.iter().map(|it| (it.what, &*it.of)).collect();
    assert!(changes.contains(&(What::GpuWent, "0")) && changes.contains(&(What::Xid, "1")), "{changes:?}");
}

#[test]
fn ids_are_sorted_and_unique() {
    let mut incidents = super::Incidents::default();
    let ids = [5, 5, 4, 1_000_000, 86_400 * SECOND].map(|time| incidents.id(time));
    let wanted = ["000000.000001", "000000.000002", "000000.000003", "000000.001000", "000000.000000"];
    assert!(ids.is_sorted() && ids.iter().zip(wanted).all(|(id, wanted)| id.ends_with(wanted)), "{ids:?}");
    assert!(ids[4].starts_with("19700102T"));
}

#[test]
fn changes_before_the_kill_are_reported_with_it() {
    let mut engine = host(5);
    seconds(&mut engine, 2..10, |_, _| 30);
    let born = cgroup::Reading::Born { id: id(9), path: "/a/new".into() };
    apply(&mut engine, 9 * SECOND, Reading::Cgroup(born));
    apply(&mut engine, 9 * SECOND, Reading::Cgroup(cgroup::Reading::Died { id: id(4) }));
    let smaller = [(Statistic::MemoryCurrent, 30 * MIB), (Statistic::MemoryLimit, 31 * MIB)];
    measure(&mut engine, 10 * SECOND, id(1), &smaller);
    tick(&mut engine, 10);
    let reported = killed(&mut engine, 10 * SECOND + HALF, kill(7, 2, oom::Scope::Memcg));
    let changes: Vec<_> = reported[0].evidence.changes.iter().map(|it| (it.what, &*it.of, it.after)).collect();
    let wanted = [
        (What::Came, "/a/new", None),
        (What::Limit, "/a", Some(31 * MIB)),
        (What::Agent, "headroom", None),
        (What::Went, "/d", None),
    ];
    assert_eq!(changes, wanted);
}
