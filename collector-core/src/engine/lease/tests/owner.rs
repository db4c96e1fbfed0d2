//! What an owner uses of its leases, and how they end and begin again.

use super::*;

#[test]
fn a_lease_burns_down_as_its_owner_grows_and_nothing_is_counted_twice() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let number = world.claim(0, now(memory(60 * GIB)));
    let id = world.granted(number).id;
    let short = world.verdict(memory(60 * GIB));
    assert_eq!((short.verdict, short.resources[0].available), (Decision::No, Some(40 * GIB)));
    assert_eq!(short.resources[0].holders[0].id, Some(id));
    // The owner grows by 50, which the host no longer has.
    world.apply(Reading::Lease(Kept::Used { id, used: Use { hard: 50 * GIB, ..Use::default() } }));
    world.memory(100 * GIB, 50 * GIB);
    world.apply(Reading::Tick);
    assert_eq!(world.verdict(memory(40 * GIB)).verdict, Decision::Yes);
    assert_eq!(world.verdict(memory(40 * GIB + 1)).verdict, Decision::No);
    // It uses more than it asked for: nothing is left to keep, and nothing is given.
    world.apply(Reading::Lease(Kept::Used { id, used: Use { hard: 70 * GIB, ..Use::default() } }));
    world.memory(100 * GIB, 30 * GIB);
    world.apply(Reading::Tick);
    assert_eq!(world.verdict(memory(30 * GIB)).verdict, Decision::Yes);
    world.apply(Reading::Lease(Kept::Gone { id }));
    assert_eq!(world.told, [(Step::Granted, id), (Step::Ended, id)]);
}

#[test]
fn what_was_there_before_the_grant_is_no_growth_unless_the_process_is_younger() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let owner = Owner::Process { pid: 7, started: 1 };
    let used = Use { hard: 30 * GIB, ..Use::default() };
    let number =
        world.ask(caller(0), Asked::Claim { claim: now(memory(60 * GIB)), owner: owner.clone(), used: used.clone() });
    let id = world.granted(number).id;
    world.apply(Reading::Lease(Kept::Used { id, used: used.clone() }));
    world.apply(Reading::Tick);
    assert_eq!(world.engine.view().leases.held[&id].unspent_host(), [60 * GIB, 0]);
    world.tick(5);
    for (age, unspent) in [(60 * SECOND, 60 * GIB), (SECOND, 30 * GIB)] {
        world.ask(caller(0), Asked::Own { id, owner: owner.clone(), used: used.clone(), age });
        assert_eq!(world.engine.view().leases.held[&id].unspent_host(), [unspent, 0], "{age}");
    }
}

#[test]
fn the_growth_of_an_owner_of_two_leases_is_counted_once() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let owner = Owner::Process { pid: 7, started: 1 };
    let used = |gib: u64| Use { hard: gib * GIB, ..Use::default() };
    let claim = |world: &mut World, gib: u64, has: u64| {
        let claim = now(memory(gib * GIB));
        let number = world.ask(caller(0), Asked::Claim { claim, owner: owner.clone(), used: used(has) });
        world.granted(number).id
    };
    let see = |world: &mut World, gib: u64| {
        for id in world.held() {
            world.apply(Reading::Lease(Kept::Used { id, used: used(gib) }));
        }
        world.apply(Reading::Tick);
        world.held().iter().map(|id| world.engine.view().leases.held[id].unspent_host()[0] / GIB).collect::<Vec<_>>()
    };
    let first = claim(&mut world, 10, 2);
    assert_eq!(see(&mut world, 6), [6]);
    claim(&mut world, 20, 6);
    assert_eq!(see(&mut world, 6), [6, 20]);
    assert_eq!(see(&mut world, 14), [0, 18], "2 before, 10 of the first, 2 of the second");
    assert_eq!(see(&mut world, 50), [0, 0]);
    assert_eq!(see(&mut world, 14), [0, 18]);
    world.release(0, first);
    assert_eq!(see(&mut world, 14), [18], "what was of the first is not of the second");
}

#[test]
fn a_lease_ends_with_its_time_whatever_the_clock_does_and_survives_a_restart() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let number = world.claim(0, Claim { seconds: Some(30), ..now(memory(60 * GIB)) });
    let id = world.granted(number).id;
    let soon = world.verdict(memory(60 * GIB));
    assert_eq!((soon.verdict, soon.retry_after_seconds), (Decision::Wait, Some(30)));
    world.time += 3600 * SECOND;
    world.apply(Reading::Tick);
    assert_eq!(world.held(), [id], "the clock was set forward");
    world.time -= 7200 * SECOND;
    world.apply(Reading::Tick);
    world.tick(10);
    let kept = world.engine.view().leases.held[&id].clone();
    let mut after = World::new(100 * GIB, 100 * GIB);
    after.time = kept.expires.unwrap() - 5 * SECOND;
    after.apply(Reading::Tick);
    let json = serde_json::to_string(&Reading::Lease(Kept::Lease(Box::new(kept)))).unwrap();
    after.apply(serde_json::from_str(&json).unwrap());
    after.apply(Reading::Lease(Kept::Next(40)));
    assert_eq!(after.verdict(memory(60 * GIB)).verdict, Decision::Wait);
    let next = after.claim(0, now(memory(GIB)));
    assert_eq!(after.granted(next).id, 41);
    world.tick(9);
    assert_eq!(world.held(), [id]);
    world.tick(1);
    assert_eq!(world.told.last(), Some(&(Step::Expired, id)));
}

#[test]
fn a_claim_that_is_repeated_with_its_key_gets_the_same_lease_and_keeps_its_place() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let keyed = |claim: Claim, key: &str| Claim { key: Some(key.to_owned()), ..claim };
    let one = world.claim(7, keyed(now(slot("x")), "k"));
    let two = world.claim(7, keyed(now(slot("x")), "k"));
    assert_eq!(world.granted(one).id, world.granted(two).id);
    let other = world.claim(8, keyed(now(slot("x")), "k"));
    assert_ne!(world.granted(one).id, world.granted(other).id);
    let first = world.claim(7, keyed(waits(slot("x")), "w"));
    let second = world.claim(7, waits(slot("x")));
    let again = world.claim(7, keyed(waits(slot("x")), "w"));
    let id = world.granted(one).id;
    world.release(7, id);
    assert!(world.answers.contains_key(&again) && !world.answers.contains_key(&second));
    assert!(!world.answers.contains_key(&first), "who asked first has gone");
}
