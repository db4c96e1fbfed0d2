//! What would make room, each with its amount and where that comes from; and what model servers hold on purpose.

use super::*;
use crate::cgroup::Id;
use crate::engine::test::{ID, start};
use crate::lease::{Way, WayKind, WayOrigin};
use crate::pattern::Patterns;
use crate::sample::Start;
use crate::signal::cgroup;

const SERVER: Id = Id { hierarchy: ID.hierarchy, id: 78 };

/// A host with a model server, and with GPUs.
fn world() -> World {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let model_servers = Patterns::new(&["vllm.service".to_owned()]);
    let level = crate::level::Limits { model_servers, ..crate::level::Limits::default() };
    world.engine = Engine::new();
    world.apply(Reading::Start(Start { workload_max: 100, level: Some(level), ..start() }));
    world.apply(Reading::Cgroup(cgroup::Reading::Born { id: SERVER, path: "/system.slice/vllm.service".into() }));
    world.apply(Reading::Cgroup(cgroup::Reading::Born { id: ID, path: "/a".into() }));
    world.memory(100 * GIB, 100 * GIB);
    world
}

/// A GPU of 100 GiB, of which so much is used by this cgroup, and how busy it is.
fn card(world: &mut World, number: &str, used: u64, holder: Id, busy: Option<u64>) {
    use gpu::Statistic::{MemoryFree, MemoryTotal, MemoryUsed, Utilization};
    let uuid: std::sync::Arc<str> = format!("GPU-{number}").into();
    let device = Device { uuid: uuid.clone(), gpu: number.into(), model: "x".into(), driver: "1".into(), parent: None };
    let sizes = [(MemoryTotal, 100 * GIB), (MemoryFree, (100 - used) * GIB), (MemoryUsed, used * GIB)];
    let mut values = gpu::Values::from_iter(sizes);
    values.put(Utilization, busy);
    world.apply(Reading::Gpu(gpu::Reading::Device { device: device.into(), values }));
    let holders = vec![Holder { pid: 1, cgroup: Some(holder), bytes: Some(used * GIB) }];
    world.apply(Reading::Gpu(gpu::Reading::Held { uuid, holders: if used > 0 { holders } else { Vec::new() } }));
}

fn kinds(ways: &[Way]) -> Vec<(WayKind, Option<u64>)> {
    ways.iter().map(|way| (way.kind, way.amount.map(|amount| amount / GIB))).collect()
}

#[test]
fn an_idle_host_with_one_vllm_is_level_0_and_admits_to_the_other_gpu_also_within_the_limits() {
    for within in [false, true] {
        let mut world = world();
        world.apply(Reading::Lease(Kept::Limits(Limits { within, ..Limits::default() })));
        card(&mut world, "0", 92, SERVER, Some(50));
        card(&mut world, "1", 0, SERVER, Some(0));
        world.tick(3);
        let view = world.engine.view();
        assert_eq!(view.level.host.level.map(|level| level.number()), Some(0));
        for uuid in ["GPU-0", "GPU-1"] {
            assert_eq!(view.level.gpu(uuid).map(|level| level.number()), Some(0), "{uuid}");
        }
        let yes = world.verdict(vram(90 * GIB));
        assert_eq!((yes.verdict, &yes.gpus[..]), (Decision::Yes, &["1".to_owned()][..]), "{within}: {yes:?}");
        // What is left beside the server is the same, whether limits are kept or not: what it holds is held on purpose.
        let ask = crate::lease::Ask { need: vram(6 * GIB), gpus: vec!["0".into()], ..Default::default() };
        let number = world.ask(caller(0), Asked::Admit(ask));
        let Body::Verdict(no) = &world.answers[&number].body else { panic!() };
        assert_eq!((no.verdict, no.resources[0].available.map(|it| it / GIB)), (Decision::No, Some(5)), "{within}");
        // Of anybody else's, the limit leaves less than the margin does.
        card(&mut world, "1", 60, ID, Some(50));
        world.tick(1);
        let left = world.verdict(vram(GIB)).resources[0].available;
        assert_eq!(left.map(|it| it / GIB), Some(37), "{within}: 3 % of both, the limit and the margin");
    }
}

#[test]
fn a_limit_of_the_level_holds_for_whom_it_is_meant() {
    let mut world = world();
    let mut limits = (*world.engine.view().level.limits).clone();
    limits.gpu = 0.8;
    world.apply(Reading::Start(Start { workload_max: 100, level: Some(limits), ..start() }));
    world.apply(Reading::Cgroup(cgroup::Reading::Born { id: SERVER, path: "/system.slice/vllm.service".into() }));
    world.apply(Reading::Cgroup(cgroup::Reading::Born { id: ID, path: "/a".into() }));
    world.memory(100 * GIB, 100 * GIB);
    world.apply(Reading::Lease(Kept::Limits(Limits { within: true, ..Limits::default() })));
    for (holder, available) in [(SERVER, 37), (ID, 20)] {
        card(&mut world, "0", 60, holder, Some(50));
        world.tick(1);
        let left = world.verdict(vram(GIB)).resources[0].available;
        assert_eq!(left.map(|it| it / GIB), Some(available), "{holder:?}");
    }
}

#[test]
fn what_would_make_room_on_a_gpu_has_an_amount_and_an_origin() {
    let mut world = world();
    card(&mut world, "0", 60, ID, Some(0));
    let keeps = world.claim(0, Claim { seconds: Some(900), ..now(vram(30 * GIB)) });
    let id = world.granted(keeps).id;
    world.ask(caller(0), Asked::Settled { id });
    let no = world.verdict(vram(20 * GIB));
    assert_eq!((no.verdict, no.error.as_deref()), (Decision::No, Some("InsufficientResources")));
    assert_eq!(kinds(&no.room), [(WayKind::Use, Some(60)), (WayKind::Reservation, Some(30))]);
    assert_eq!((no.room[1].origin, no.room[1].id), (WayOrigin::Reserved, Some(id)));
    assert_eq!(no.room[1].ends_in_seconds, Some(900));
    // It ends soon, and the holder has run nothing for five minutes.
    for _ in 0..310 {
        world.tick(1);
        card(&mut world, "0", 60, ID, Some(0));
    }
    let wait = world.verdict(vram(20 * GIB));
    assert_eq!(wait.verdict, Decision::Wait);
    assert_eq!(kinds(&wait.room), [(WayKind::Idle, Some(60)), (WayKind::Reservation, Some(30))]);
    assert_eq!(wait.room[0].sentence, "/a holds 60.0 GiB of GPU 0, which has run nothing for 5 min");
    assert!(wait.room[1].sentence.ends_with("and ends in 590 s at the latest"), "{}", wait.room[1].sentence);
    // It runs something.
    card(&mut world, "0", 60, ID, Some(7));
    assert_eq!(world.verdict(vram(20 * GIB)).room[0].kind, WayKind::Use);
    // Nobody says how busy it is.
    card(&mut world, "0", 60, ID, None);
    let unknown = world.verdict(vram(20 * GIB)).room[0].clone();
    assert!(unknown.kind == WayKind::Use && unknown.sentence.contains("is not known"), "{unknown:?}");
}

#[test]
fn a_gpu_that_was_not_named_may_have_room_and_who_can_be_asked_comes_first() {
    let mut world = world();
    card(&mut world, "0", 0, ID, Some(0));
    let priority = Priority::Low;
    let cached = world.claim(0, Claim { evictable: true, priority, gpus: vec!["0".into()], ..now(vram(70 * GIB)) });
    let id = world.granted(cached).id;
    world.ask(caller(0), Asked::Settled { id });
    card(&mut world, "1", 10, ID, Some(50));
    let ask = crate::lease::Ask { need: vram(50 * GIB), gpus: vec!["0".into()], ..Default::default() };
    let number = world.ask(caller(0), Asked::Admit(ask));
    let Body::Verdict(no) = &world.answers[&number].body else { panic!() };
    assert_eq!(kinds(&no.room), [(WayKind::Evictable, Some(70)), (WayKind::OtherGpu, Some(87))], "{no:?}");
    // Nobody asks another user's owner, nor one of the same importance.
    for (uid, priority) in [(7, Priority::Normal), (0, Priority::Low)] {
        let ask = crate::lease::Ask { need: vram(50 * GIB), gpus: vec!["0".into()], priority, ..Default::default() };
        let number = world.ask(caller(uid), Asked::Admit(ask));
        let Body::Verdict(no) = &world.answers[&number].body else { panic!() };
        assert!(no.room.iter().all(|way| way.kind != WayKind::Evictable), "{uid}: {no:?}");
    }
}

#[test]
fn page_cache_is_no_room_of_its_own_and_more_than_there_is_in_all_needs_no_advice() {
    let mut world = world();
    let values =
        [(Statistic::MemoryTotal, 100 * GIB), (Statistic::MemoryAvailable, 40 * GIB), (Statistic::MemoryFree, GIB)];
    world.apply(Reading::Host(Values::from_iter(values)));
    let no = world.verdict(memory(50 * GIB));
    assert_eq!(kinds(&no.room), [(WayKind::Use, Some(10)), (WayKind::PageCache, Some(39))]);
    assert_eq!(no.room[0].sentence, "10.0 GiB less in use in this host");
    let never = world.verdict(memory(101 * GIB));
    assert_eq!(kinds(&never.room), [(WayKind::Total, Some(100))]);
}
