//! Who is asked to give a lease up, for whom, in which order, and when that is over.

use super::*;
use crate::lease::eviction::State as Told;
use crate::lease::{Mark, Notice, Wanted};

/// A world in which owners have ten seconds.
fn world(total: u64, available: u64) -> World {
    let mut world = World::new(total, available);
    limits(&mut world, 1, 0);
    world
}

fn limits(world: &mut World, evict_least: usize, evict_part: usize) {
    let limits = Limits { evict_ns: 10 * SECOND, evict_least, evict_part, ..Limits::default() };
    world.apply(Reading::Lease(Kept::Limits(limits)));
}

/// A cached model of this user that uses all that it has.
fn cached(world: &mut World, uid: u32, gib: u64, priority: Priority) -> u64 {
    let claim = Claim { evictable: true, priority, ..now(memory(gib * GIB)) };
    let number = world.claim(uid, claim);
    let id = world.granted(number).id;
    world.apply(Reading::Lease(Kept::Used { id, used: Use { hard: gib * GIB, ..Use::default() } }));
    id
}

fn low(world: &mut World, gib: u64) -> u64 {
    cached(world, 7, gib, Priority::Low)
}

impl World {
    /// Whose owners were asked since the last time, and how those are told.
    fn asked_for(&mut self) -> Vec<u64> {
        let changes = std::mem::take(&mut self.changes);
        changes.iter().filter(|change| change.step == Step::Asked).map(|change| change.lease.id).collect()
    }

    fn notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.changes).iter().filter_map(Notice::of).collect()
    }
}

#[test]
fn the_least_recently_used_are_asked_as_many_as_make_room_and_the_claim_gets_it() {
    let mut world = world(100 * GIB, 100 * GIB);
    let leases = [10, 20, 30].map(|gib| {
        let id = low(&mut world, gib);
        world.tick(2);
        id
    });
    world.memory(100 * GIB, 40 * GIB);
    // What was used last stays longest.
    world.ask(caller(7), Asked::Settled { id: leases[0] });
    world.ask(caller(7), Asked::Touch { id: leases[0] });
    world.changes.clear();
    let number = world.claim(7, waits(memory(50 * GIB)));
    assert!(!world.answers.contains_key(&number));
    world.tick(1);
    let notices = world.notices();
    let [notice] = &notices[..] else { panic!("{notices:?}") };
    assert_eq!((notice.reservation, notice.state, notice.uid, notice.times), (leases[1], Told::Asked, 7, 1));
    assert_eq!(notice.wanted, [Wanted { resource: "host memory".into(), of: None, amount: 10 * GIB }]);
    assert_eq!(notice.until, world.time + 10 * SECOND);
    assert_eq!(world.engine.view().leases.evictions.asked, 1);
    world.tick(5);
    assert_eq!(world.asked_for(), [0_u64; 0], "once");
    // It lets go; until the host has its memory back nobody else is asked.
    assert_eq!(world.release(7, leases[1]), 200);
    world.tick(3);
    let told: Vec<_> = world.notices().iter().map(|notice| (notice.reservation, notice.state)).collect();
    assert_eq!(told, [(leases[1], Told::Ended)]);
    world.memory(100 * GIB, 60 * GIB);
    world.tick(1);
    assert_eq!(world.granted(number).verdict.verdict, Decision::Yes);
    assert_eq!(world.held(), [leases[0], leases[2], 4]);
    world.tick(20);
    assert_eq!(world.asked_for(), [0_u64; 0]);
}

#[test]
fn who_does_not_answer_is_asked_again_after_others_and_who_is_not_needed_any_more_is_told() {
    let mut world = world(100 * GIB, 100 * GIB);
    let [first, second] = [30, 30].map(|gib| {
        let id = low(&mut world, gib);
        world.tick(2);
        id
    });
    world.memory(100 * GIB, 40 * GIB);
    world.changes.clear();
    let number = world.claim(7, waits(memory(50 * GIB)));
    world.tick(1);
    assert_eq!(world.asked_for(), [first]);
    world.tick(10);
    assert_eq!(world.asked_for(), [second], "the first had its time");
    world.tick(10);
    assert_eq!(world.asked_for(), [first]);
    let leases = &world.engine.view().leases;
    assert_eq!((leases.evictions.asked, leases.evictions.repeated), (2, 1));
    world.changes.clear();
    world.ask(caller(7), Asked::Withdraw { number });
    world.tick(1);
    let told: Vec<_> = world.notices().iter().map(|notice| (notice.reservation, notice.state)).collect();
    assert_eq!(told, [(first, Told::Spared), (second, Told::Spared)]);
    world.tick(30);
    assert!(world.notices().is_empty() && world.engine.view().leases.evictions.spared == 2);
}

#[test]
fn only_less_important_leases_of_the_same_user_are_asked_for_and_those_that_root_lets_anybody_ask_for() {
    let mut world = world(100 * GIB, 100 * GIB);
    let mine = cached(&mut world, 7, 30, Priority::Low);
    let equal = cached(&mut world, 7, 10, Priority::Normal);
    world.memory(100 * GIB, 60 * GIB);
    world.tick(2);
    world.changes.clear();
    let other = world.claim(8, waits(memory(40 * GIB)));
    let more = world.claim(8, waits(memory(65 * GIB)));
    assert_eq!(world.refused(more).0, 403, "more than its share");
    world.granted(other);
    let foreign = world.claim(9, waits(memory(40 * GIB)));
    let same = world.claim(7, Claim { priority: Priority::Low, ..waits(memory(45 * GIB)) });
    world.tick(2);
    assert_eq!(world.asked_for(), [0_u64; 0]);
    // Only root may say that anybody may ask.
    let mark = |world: &mut World, uid, id, anyone| {
        let number = world.ask(caller(uid), Asked::Mark { id, mark: Mark { evictable: true, anyone } });
        world.answers[&number].status
    };
    assert_eq!([mark(&mut world, 7, mine, true), mark(&mut world, 8, mine, false)], [403, 403]);
    assert_eq!(mark(&mut world, 0, mine, true), 200);
    assert_eq!(mark(&mut world, 7, mine, false), 403, "nor take it back");
    let anyone = world.claim(7, Claim { anyone: true, ..now(memory(GIB)) });
    assert_eq!(world.refused(anyone).0, 403);
    world.tick(1);
    assert_eq!(world.asked_for(), [mine]);
    let claim = world.engine.view().leases.held[&mine].eviction.as_ref().unwrap().claim;
    assert_eq!(world.engine.view().leases.waiting[&claim].lease.uid, 9);
    // More important ones are nobody's.
    world.ask(caller(9), Asked::Withdraw { number: foreign });
    world.ask(caller(7), Asked::Withdraw { number: same });
    world.tick(1);
    assert_eq!(mark(&mut world, 0, equal, true), 200);
    world.changes.clear();
    world.claim(9, Claim { priority: Priority::Low, ..waits(memory(25 * GIB)) });
    world.tick(1);
    assert_eq!(world.asked_for(), [mine]);
    world.claim(9, Claim { priority: Priority::Background, ..waits(memory(25 * GIB)) });
    world.tick(30);
    assert!(!world.asked_for().contains(&equal));
}

#[test]
fn nobody_is_asked_for_what_would_not_make_room_or_for_nothing_that_is_in_the_way() {
    let mut world = world(100 * GIB, 100 * GIB);
    low(&mut world, 10);
    world.memory(100 * GIB, 30 * GIB);
    world.tick(1);
    world.claim(7, waits(memory(45 * GIB)));
    world.tick(2);
    assert_eq!(world.asked_for(), [0_u64; 0], "40 would be free");
    let no = world.verdict(memory(31 * GIB));
    assert_eq!(no.verdict, Decision::No, "root asks for its own alone: {no:?}");
    // The owner of the reservation itself gets `wait`.
    let ask = crate::lease::Ask { need: memory(31 * GIB), ..Default::default() };
    let ask_as = |world: &mut World, uid| {
        let number = world.ask(caller(uid), Asked::Admit(ask.clone()));
        match &world.answers[&number].body {
            Body::Verdict(verdict) => verdict.clone(),
            other => panic!("{other:?}"),
        }
    };
    let mut world = World::new(100 * GIB, 100 * GIB);
    let id = low(&mut world, 10);
    world.memory(100 * GIB, 30 * GIB);
    world.tick(1);
    let wait = ask_as(&mut world, 7);
    assert_eq!(wait.verdict, Decision::Wait);
    assert!(format!("{:?}", wait.room).contains(&format!("reservation {id} can be given up")), "{:?}", wait.room);
    assert_eq!(ask_as(&mut world, 8).verdict, Decision::No);
}

#[test]
fn a_part_of_all_is_asked_together_if_the_configuration_says_so() {
    let mut world = world(100 * GIB, 100 * GIB);
    limits(&mut world, 2, 3);
    let leases: Vec<u64> = (0..9)
        .map(|_| {
            let id = low(&mut world, 5);
            world.tick(1);
            id
        })
        .collect();
    world.memory(100 * GIB, 40 * GIB);
    world.claim(7, waits(memory(42 * GIB)));
    world.tick(1);
    assert_eq!(world.asked_for(), leases[..3], "a third of nine, although one makes room");
    let mut few = super::evict::world(100 * GIB, 100 * GIB);
    limits(&mut few, 2, 3);
    let leases = [0; 3].map(|_| low(&mut few, 5));
    few.tick(1);
    few.memory(100 * GIB, 40 * GIB);
    few.claim(7, waits(memory(42 * GIB)));
    few.tick(1);
    assert_eq!(few.asked_for(), leases[..2], "two at least");
}

#[test]
fn a_card_gets_its_room_from_those_that_are_on_it_and_a_slot_from_who_has_it() {
    let mut world = world(100 * GIB, 100 * GIB);
    world.gpu("0", 80 * GIB, 70 * GIB, &[]);
    world.gpu("1", 80 * GIB, 20 * GIB, &[(1000, 60 * GIB)]);
    let on = |gpu: &str, gib: u64| Claim {
        gpus: vec![gpu.into()],
        evictable: true,
        priority: Priority::Low,
        ..now(vram(gib * GIB))
    };
    // The first process has pid 1000.
    world.number = 0;
    let owner = Owner::Process { pid: 1000, started: 1 };
    let used = Use::default();
    let claim = on("1", 10);
    let number = world.ask(caller(7), Asked::Claim { claim, owner, used: used.clone() });
    let id = world.granted(number).id;
    world.apply(Reading::Lease(Kept::Used { id, used: Use { pids: vec![1000], ..Use::default() } }));
    world.ask(caller(7), Asked::Settled { id });
    world.tick(2);
    world.changes.clear();
    // 70 and 20 are free, less 3 %: what is on the other card gives 10.
    world.gpu("0", 80 * GIB, 10 * GIB, &[(9, 70 * GIB)]);
    let number = world.claim(7, waits(vram(22 * GIB)));
    world.tick(1);
    let notices = world.notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert_eq!((notices[0].reservation, &*notices[0].wanted[0].resource), (id, "VRAM"));
    assert_eq!(notices[0].wanted[0].of.as_deref(), Some("1"));
    world.ask(caller(7), Asked::Withdraw { number });
    // Slots.
    let mine = Claim { evictable: true, priority: Priority::Low, ..now(slot("x")) };
    let held = world.claim(7, mine);
    let held = world.granted(held).id;
    world.tick(1);
    world.changes.clear();
    let next = world.claim(7, waits(slot("x")));
    world.tick(1);
    assert_eq!(world.asked_for(), [held]);
    world.release(7, held);
    world.granted(next);
}

#[test]
fn after_a_restart_an_owner_that_was_asked_is_asked_again_at_once() {
    let mut world = world(100 * GIB, 100 * GIB);
    let id = low(&mut world, 30);
    world.tick(1);
    world.memory(100 * GIB, 30 * GIB);
    let claim = Claim { key: Some("k".into()), ..waits(memory(50 * GIB)) };
    world.claim(7, claim.clone());
    world.tick(1);
    assert_eq!(world.asked_for(), [id]);
    let kept = serde_json::to_string(&world.engine.view().leases.held[&id]).unwrap();
    let mut after = super::evict::world(100 * GIB, 30 * GIB);
    after.time = world.time + SECOND;
    after.apply(Reading::Lease(Kept::Lease(Box::new(serde_json::from_str(&kept).unwrap()))));
    after.apply(Reading::Lease(Kept::Used { id, used: Use { hard: 30 * GIB, ..Use::default() } }));
    after.tick(1);
    after.claim(7, claim);
    after.tick(1);
    let notices = after.notices();
    assert_eq!((notices.len(), notices[0].times), (1, 2), "{notices:?}");
    // Nobody comes back.
    let mut nobody = super::evict::world(100 * GIB, 30 * GIB);
    nobody.time = world.time + SECOND;
    nobody.apply(Reading::Lease(Kept::Lease(Box::new(serde_json::from_str(&kept).unwrap()))));
    nobody.tick(100);
    assert!(nobody.notices().is_empty());
    nobody.tick(30);
    assert_eq!(nobody.notices()[0].state, Told::Spared);
}
