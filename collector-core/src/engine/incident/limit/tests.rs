//! Which limit is found, on simulated hosts.

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
        measure(engine, 11 * SECOND, Id { hierarchy: 5, id }, &numbers.map(|(statistic, mib)| (statistic, mib * MIB)));
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

fn bound(path: &str, limit: Option<u64>, peak: u64) -> oom::Bound {
    let limit_bytes = limit.map(|limit| limit * MIB);
    oom::Bound { path: path.to_owned(), limit_bytes, peak_bytes: Some(peak * MIB), empty: false }
}

#[test]
fn files_just_after_the_kill_show_limits_inside_a_container_and_of_one_that_was_never_read() {
    let scope = format!("/docker/{}", "c".repeat(64));
    let inner = format!("{scope}/app");
    let mut engine = host(5, &["/docker", &scope, &inner]);
    let bounds = vec![bound(&inner, Some(64), 64), bound(&scope, Some(512), 70), bound("/docker", None, 900)];
    let hit = oom::Kill { limits: bounds, limited: None, anon_bytes: Some(60 * MIB), ..limited(5, 3, 3) };
    let reported = killed(&mut engine, 4 * SECOND, hit.clone());
    let limit = reported[0].evidence.limit.as_ref().unwrap();
    assert_eq!((limit.own, limit.source, limit.bytes), (true, Source::Only, Some(64 * MIB)));
    // Without one of them it is not known whether that has a limit.
    let mut engine = host(5, &["/docker", &scope, &inner]);
    let some = oom::Kill { limits: hit.limits[..2].to_vec(), ..hit };
    assert_eq!(killed(&mut engine, 4 * SECOND, some)[0].evidence.limit, None);
}

#[test]
fn the_first_report_has_the_limit_of_the_moment() {
    let mut engine = host(5, &["/a"]);
    for at in 2..10 {
        second(&mut engine, at, 5, &[(100, Some(256))]);
    }
    let bounds = vec![bound("/a", Some(105), 105)];
    let hit = oom::Kill { limits: bounds, limited: None, anon_bytes: Some(104 * MIB), ..limited(5, 1, 1) };
    let reported = killed(&mut engine, 9 * SECOND + SECOND / 2, hit);
    let cause = &reported[0].cause;
    assert_eq!(cause.rule, "limit_lowered");
    assert!(cause.sentence.contains("from 256 MiB to 105 MiB"), "{cause:?}");
    assert!(reported[0].title.ends_with("its own limit of 105 MiB was hit"), "{}", reported[0].title);
}
