//! What those who wait, and units that fail, have of before a restart of the agent.

use super::*;
use crate::circuit::Cause;

#[test]
fn a_claim_has_its_place_again_and_nobody_else_s() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let keyed = |key: &str| Claim { key: Some(key.to_owned()), ..waits(slot("x")) };
    let asked = world.time - 90 * SECOND;
    for (uid, key) in [(7, "late"), (8, "other")] {
        world.apply(Reading::Lease(Kept::Place { uid, key: key.into(), asked }));
    }
    let holder = world.claim(7, now(slot("x")));
    let first = world.claim(7, keyed("early"));
    let stolen = world.claim(7, keyed("other"));
    let late = world.claim(7, keyed("late"));
    let id = world.granted(holder).id;
    world.release(7, id);
    assert!(!world.answers.contains_key(&first) && !world.answers.contains_key(&stolen));
    let id = world.granted(late).id;
    world.release(7, id);
    assert!(world.answers.contains_key(&first));
    // Who comes back late has no place.
    world.tick(121);
    assert!(world.engine.view().leases.places.is_empty());
}

#[test]
fn a_unit_that_fails_is_kept_and_still_may_not_start_and_one_that_works_is_forgotten() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let fail = |world: &mut World, cause| {
        let ended = crate::lease::Ended { unit: "u".into(), cause, reservation: None };
        world.ask(caller(7), Asked::Ended(ended));
        world.tick(1);
    };
    (0..3).for_each(|_| fail(&mut world, Some(Cause::Oom)));
    assert_eq!(world.units.len(), 3);
    let json = serde_json::to_string(&Kept::Unit(Box::new(world.units.last().unwrap().clone()))).unwrap();
    let mut after = World::new(100 * GIB, 100 * GIB);
    after.time = world.time + SECOND;
    after.apply(Reading::Lease(serde_json::from_str(&json).unwrap()));
    let number = after.claim(7, Claim { unit: Some("u".into()), ..now(memory(1)) });
    let (status, _, verdict) = after.refused(number);
    assert_eq!((status, verdict.unwrap().verdict), (409, Decision::Wait));
    let other = after.claim(8, Claim { unit: Some("u".into()), ..now(memory(1)) });
    after.granted(other);
    after.tick(1300);
    let last = after.units.last().unwrap();
    assert!(last.state.circuits.is_empty() && &*last.unit == "u", "{last:?}");
}

#[test]
fn who_gives_up_is_told_of_those_before_it_alone() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    world.claim(0, now(slot("x")));
    let mut claim = |seconds| world.claim(0, Claim { wait_seconds: Some(seconds), ..waits(slot("x")) });
    let numbers = [claim(60), claim(2), claim(60), claim(60)];
    world.tick(2);
    let (_, _, verdict) = world.refused(numbers[1]);
    assert_eq!(verdict.unwrap().ahead, Some(1));
}

#[test]
fn what_an_old_owner_still_uses_is_no_growth_of_its_other_leases() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let owner = |pid| Owner::Process { pid, started: 1 };
    let used = |gib: u64| Use { hard: gib * GIB, ..Use::default() };
    let mut claim = |gib: u64| {
        let claim = now(memory(gib * GIB));
        let number = world.ask(caller(0), Asked::Claim { claim, owner: owner(7), used: used(0) });
        world.granted(number).id
    };
    let (first, second) = (claim(10), claim(20));
    let see = |world: &mut World| {
        world.apply(Reading::Lease(Kept::Used { id: second, used: used(10) }));
        world.apply(Reading::Tick);
        world.engine.view().leases.held[&second].unspent_host()[0] / GIB
    };
    world.apply(Reading::Lease(Kept::Used { id: first, used: used(10) }));
    assert_eq!(see(&mut world), 20, "the first has it");
    world.ask(caller(0), Asked::Own { id: first, owner: owner(8), used: used(0), age: 60 * SECOND });
    assert_eq!(see(&mut world), 20, "it was there before");
    assert_eq!(world.engine.view().leases.held[&first].unspent_host()[0], 10 * GIB);
}
