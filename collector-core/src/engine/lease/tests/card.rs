//! Leases of memory of GPUs.

use super::*;

#[test]
fn one_starts_on_a_gpu_at_a_time_until_it_has_settled() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    world.gpu("0", 80 * GIB, 80 * GIB, &[]);
    let first = world.claim(0, now(vram(20 * GIB)));
    let second = world.claim(0, waits(vram(20 * GIB)));
    let (id, pid) = (world.granted(first).id, 1000);
    assert_eq!(world.verdict(vram(GIB)).verdict, Decision::Wait);
    // A model that is read into the host's memory first, with a pause, and an owner that says that it is there.
    world.apply(Reading::Lease(Kept::Used { id, used: Use { hard: GIB, pids: vec![pid], ..Use::default() } }));
    world.tick(5);
    assert_eq!(world.engine.view().leases.held[&id].state, State::Starting);
    for held in [5, 10, 20] {
        world.gpu("0", 80 * GIB, (80 - held) * GIB, &[(pid, held * GIB)]);
        world.tick(2);
        world.ask(caller(0), Asked::Touch { id });
        assert!(!world.answers.contains_key(&second), "it still grows");
    }
    world.tick(2);
    assert_eq!(world.engine.view().leases.held[&id].state, State::Settled);
    assert_eq!(world.granted(second).gpus, ["0"]);
    assert_eq!(world.engine.view().leases.held[&id].unspent_vram("0"), 0);
    // The word of the owner and the time-out do the same.
    let other = world.granted(second).id;
    world.ask(caller(0), Asked::Settled { id: other });
    let third = world.claim(0, now(vram(GIB)));
    let id = world.granted(third).id;
    world.tick(Limits::default().start_ns / SECOND - 1);
    assert_eq!(world.engine.view().leases.held[&id].state, State::Starting);
    world.tick(1);
    assert_eq!(world.engine.view().leases.held[&id].state, State::Settled);
}

#[test]
fn use_that_no_lease_has_counts_and_the_margin_stays() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let margin = 80 * GIB / 100 * 3;
    // The books know of 30 of the 50 that are used.
    world.gpu("0", 80 * GIB, 30 * GIB, &[(1, 30 * GIB)]);
    assert_eq!(world.verdict(vram(30 * GIB - margin)).verdict, Decision::Yes);
    let no = world.verdict(vram(30 * GIB - margin + 1));
    assert_eq!((no.verdict, no.resources[0].short), (Decision::No, 1));
    assert_eq!((no.resources[0].holders[0].workload.as_str(), no.resources[0].holders[0].amount), ("other", 30 * GIB));
    // The driver says that more is free than can be after what processes hold.
    world.gpu("0", 80 * GIB, 70 * GIB, &[(1, 60 * GIB)]);
    assert_eq!(world.verdict(vram(20 * GIB)).verdict, Decision::No);
    world.gpu("1", 80 * GIB, 80 * GIB, &[]);
    assert_eq!(world.verdict(vram(20 * GIB)).gpus, ["1"]);
    // A device without memory of its own.
    world.apply(Reading::Gpu(gpu::Reading::Gone { uuid: "GPU-1".into() }));
    let device = Device { uuid: "GPU-0".into(), gpu: "0".into(), model: "x".into(), driver: "1".into(), parent: None };
    let values = gpu::Values::from_iter([(gpu::Statistic::Mig, 0)]);
    world.apply(Reading::Gpu(gpu::Reading::Gone { uuid: "GPU-0".into() }));
    world.apply(Reading::Gpu(gpu::Reading::Device { device: device.into(), values }));
    let unknown = world.verdict(vram(1));
    assert!(unknown.verdict == Decision::Unknown && unknown.reason.contains("cannot guard this device"), "{unknown:?}");
}

#[test]
fn two_gpus_are_chosen_for_two_needs_and_named_ones_in_their_order() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    world.gpu("0", 80 * GIB, 20 * GIB, &[(1, 60 * GIB)]);
    world.gpu("1", 80 * GIB, 80 * GIB, &[]);
    world.gpu("10", 80 * GIB, 70 * GIB, &[(1, 10 * GIB)]);
    let mut need = vram(10 * GIB);
    need.parts.push(part(Resource::Vram { gpu: 1 }, 70 * GIB));
    assert_eq!(world.verdict(need.clone()).gpus, ["10", "1"]);
    let named = |gpus: &[&str]| Claim { gpus: gpus.iter().map(|it| it.to_string()).collect(), ..now(need.clone()) };
    let number = world.claim(0, named(&["0", "1"]));
    assert_eq!(world.granted(number).gpus, ["0", "1"]);
    for (gpus, says) in [(&["0"][..], "may use 1"), (&["0", "7"], "GPU 7"), (&["1", "0"], "GPU 1")] {
        let number = world.claim(0, named(gpus));
        let (status, detail, _) = world.refused(number);
        assert!(status == 409 && detail.contains(says), "{detail}");
    }
}

#[test]
fn what_is_left_on_a_gpu_after_its_owner_is_named() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    world.gpu("0", 80 * GIB, 80 * GIB, &[]);
    let number = world.claim(0, now(vram(20 * GIB)));
    let id = world.granted(number).id;
    world.gpu("0", 80 * GIB, 60 * GIB, &[(1000, 15 * GIB), (2000, 5 * GIB)]);
    world.apply(Reading::Lease(Kept::Used { id, used: Use { pids: vec![1000, 2000], ..Use::default() } }));
    world.tick(4);
    world.apply(Reading::Lease(Kept::Gone { id }));
    world.gpu("0", 80 * GIB, 75 * GIB, &[(2000, 5 * GIB)]);
    assert_eq!(world.verdict(vram(70 * GIB)).verdict, Decision::Yes, "it keeps nothing any more");
    world.tick(6);
    let lease = &world.engine.view().leases.held[&id];
    assert_eq!((lease.orphans[0].pid, lease.orphans[0].bytes), (2000, Some(5 * GIB)));
    assert_eq!(world.told.last(), Some(&(Step::Orphaned, id)));
    world.tick(3);
    assert_eq!(world.told.iter().filter(|(step, _)| *step == Step::Orphaned).count(), 1, "it is told once");
    world.gpu("0", 80 * GIB, 80 * GIB, &[]);
    world.tick(1);
    assert_eq!((world.told.last(), world.held().len()), (Some(&(Step::Ended, id)), 0));
}

impl World {
    fn capability(&mut self, number: &str, tenths: u64) {
        let uuid: std::sync::Arc<str> = format!("GPU-{number}").into();
        let device = Device { uuid, gpu: number.into(), model: "x".into(), driver: "1".into(), parent: None };
        let values = [
            (gpu::Statistic::MemoryTotal, 80 * GIB),
            (gpu::Statistic::MemoryFree, 70 * GIB),
            (gpu::Statistic::ComputeCapability, tenths),
        ];
        let values = gpu::Values::from_iter(values);
        self.apply(Reading::Gpu(gpu::Reading::Device { device: device.into(), values }));
    }
}

#[test]
fn gpus_that_are_too_old_are_left_out() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    world.gpu("0", 80 * GIB, 80 * GIB, &[]);
    world.gpu("1", 80 * GIB, 40 * GIB, &[]);
    let need = Need { compute_capability: Some(80), ..vram(10 * GIB) };
    assert_eq!(world.verdict(need.clone()).verdict, Decision::Unknown, "the driver says it of none");
    world.capability("0", 75);
    world.capability("1", 90);
    let yes = world.verdict(need.clone());
    assert_eq!((yes.verdict, &yes.gpus[..]), (Decision::Yes, &["1".to_owned()][..]), "the other has more room");
    let no = world.verdict(Need { compute_capability: Some(100), ..need.clone() });
    assert_eq!(
        (no.verdict, &*no.reason),
        (Decision::No, "0 of 2 GPUs here have a compute capability of 10.0 or more, and it needs 1")
    );
    let number = world.claim(0, Claim { gpus: vec!["0".to_owned()], ..now(need) });
    let (status, detail, _) = world.refused(number);
    assert!(status == 409 && detail.contains("GPU 0: its compute capability is too low"), "{detail}");
}
