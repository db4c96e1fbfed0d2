//! What is not known when somebody asks: a reading that is late is waited for, what this host does not say is not.

use super::*;

#[test]
fn a_reading_that_is_late_is_waited_for_and_one_that_does_not_come_ends_the_wait() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    // The driver was not asked yet.
    let at_once = world.claim(0, now(vram(GIB)));
    assert_eq!(world.refused(at_once).2.unwrap().verdict, Decision::Unknown);
    let waiting = world.claim(0, waits(vram(GIB)));
    world.tick(20);
    assert!(!world.answers.contains_key(&waiting));
    // It keeps no room from others.
    let other = world.claim(0, now(memory(GIB)));
    world.granted(other);
    world.gpu("0", 80 * GIB, 80 * GIB, &[]);
    world.tick(1);
    assert_eq!(world.granted(waiting).gpus, ["0"]);
    // Now it has gone.
    let lost = world.claim(0, waits(vram(GIB)));
    world.apply(Reading::Gpu(gpu::Reading::Gone { uuid: "GPU-0".into() }));
    world.tick(29);
    assert!(!world.answers.contains_key(&lost));
    world.tick(2);
    let (status, _, verdict) = world.refused(lost);
    assert_eq!((status, verdict.unwrap().verdict), (409, Decision::Unknown));
    assert!(world.engine.view().leases.waiting.is_empty());
}

#[test]
fn what_this_host_does_not_say_is_not_waited_for() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let device = Device { uuid: "GPU-0".into(), gpu: "0".into(), model: "x".into(), driver: "1".into(), parent: None };
    let values = gpu::Values::from_iter([(gpu::Statistic::Mig, 0)]);
    world.apply(Reading::Gpu(gpu::Reading::Device { device: device.into(), values }));
    let number = world.claim(0, waits(vram(1)));
    let (status, _, verdict) = world.refused(number);
    assert_eq!((status, verdict.unwrap().verdict), (409, Decision::Unknown));
}
