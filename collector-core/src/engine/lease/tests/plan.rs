//! Reservations that are made ahead.

use super::*;

const HOUR: u64 = 3600;

fn ahead(need: Need, begins: u64, seconds: u64) -> Claim {
    Claim { begins_in_seconds: Some(begins), seconds: Some(seconds), unit: Some("chat".into()), ..now(need) }
}

fn ends(need: Need, seconds: u64) -> Claim {
    Claim { seconds: Some(seconds), ..now(need) }
}

#[test]
fn what_would_still_run_then_leaves_room_for_it_and_what_ends_before_does_not() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let number = world.claim(0, ahead(memory(40 * GIB), 2 * HOUR, HOUR));
    let planned = world.granted(number);
    assert_eq!(planned.verdict.verdict, Decision::Yes);
    assert!(planned.verdict.not_known[0].contains("what runs then"), "{:?}", planned.verdict);
    let short = world.claim(0, ends(memory(70 * GIB), HOUR));
    let id = world.granted(short).id;
    world.release(0, id);
    for claim in [ends(memory(70 * GIB), 3 * HOUR), now(memory(70 * GIB))] {
        let number = world.claim(0, claim);
        assert_eq!(world.refused(number).0, 409);
    }
    assert_eq!(world.verdict(memory(70 * GIB)).verdict, Decision::No);
    assert_eq!(world.verdict(memory(60 * GIB)).verdict, Decision::Yes);
}

#[test]
fn the_first_claim_of_the_same_user_and_unit_takes_it_up() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let number = world.claim(0, ahead(memory(40 * GIB), 2 * HOUR, 2 * HOUR));
    let planned = world.granted(number).id;
    let chat = |claim: Claim| Claim { unit: Some("chat".into()), ..claim };
    // Hours before it is another start of the same.
    let early = world.claim(0, chat(now(memory(10 * GIB))));
    let early = world.granted(early).id;
    assert_eq!(world.held(), [planned, early]);
    world.release(0, early);
    world.tick(2 * HOUR - 600);
    let other = world.claim(0, Claim { unit: Some("else".into()), ..now(memory(10 * GIB)) });
    let other = world.granted(other).id;
    let used = world.claim(0, chat(now(memory(40 * GIB))));
    let used = world.granted(used).id;
    assert_eq!(world.held(), [other, used], "it has what was kept for it, and no more");
    assert!(world.told.contains(&(Step::Ended, planned)));
    let rest = world.claim(0, now(memory(50 * GIB)));
    world.granted(rest);
}

#[test]
fn it_ends_if_nobody_comes_and_does_not_end_with_who_made_it() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let number = world.claim(0, ahead(memory(40 * GIB), 60, 60));
    let planned = world.granted(number).id;
    world.apply(Reading::Lease(Kept::Gone { id: planned }));
    world.tick(119);
    assert_eq!(world.held(), [planned]);
    let view = world.engine.view();
    let shown = view.reservation(&view.leases.held[&planned]);
    assert_eq!((shown.state, shown.begins_in_seconds, shown.ends_in_seconds), (State::Planned, Some(0), Some(1)));
    world.tick(1);
    assert!(world.held().is_empty() && world.told.contains(&(Step::Expired, planned)));
}

#[test]
fn two_of_the_same_time_share_what_there_is_and_two_of_different_times_do_not() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    world.gpu("0", 80 * GIB, 80 * GIB, &[]);
    world.gpu("1", 40 * GIB, 40 * GIB, &[]);
    let first = world.claim(0, ahead(vram(60 * GIB), HOUR, HOUR));
    assert_eq!(world.granted(first).gpus, ["0"]);
    let second = world.claim(0, ahead(vram(60 * GIB), HOUR + 1800, HOUR));
    let (status, why, _) = world.refused(second);
    assert!(status == 409 && why.contains("memory of GPU 1"), "{why}");
    let later = world.claim(0, ahead(vram(60 * GIB), 2 * HOUR, HOUR));
    assert_eq!(world.granted(later).gpus, ["0"]);
    let small = world.claim(0, ahead(vram(30 * GIB), HOUR, HOUR));
    assert_eq!(world.granted(small).gpus, ["1"]);
    // Who ends before has no claim on that time; who does not, has.
    let host = world.claim(0, ends(memory(90 * GIB), 600));
    world.granted(host);
    let free = world.claim(0, ahead(memory(90 * GIB), 601, 60));
    world.granted(free);
    let taken = world.claim(0, ahead(memory(90 * GIB), 500, 60));
    assert_eq!(world.refused(taken).0, 409);
}

#[test]
fn it_survives_a_restart() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let number = world.claim(0, ahead(memory(40 * GIB), HOUR, HOUR));
    let planned = world.granted(number).id;
    let lease = world.changes.last().unwrap().lease.clone();
    let json = serde_json::to_string(&Kept::Lease(Box::new(lease))).unwrap();
    let mut after = World::new(100 * GIB, 100 * GIB);
    after.time = world.time + 60 * SECOND;
    after.apply(Reading::Lease(serde_json::from_str(&json).unwrap()));
    after.tick(1);
    assert_eq!(after.held(), [planned]);
    let begins = after.engine.view().leases.held[&planned].begins.unwrap();
    assert_eq!(begins, world.time + HOUR * SECOND);
    assert_eq!(after.verdict(memory(70 * GIB)).verdict, Decision::No);
}

#[test]
fn only_root_reserves_ahead_and_for_a_unit() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let number = world.claim(7, ahead(memory(GIB), HOUR, HOUR));
    let (status, why, _) = world.refused(number);
    assert!(status == 403 && why.contains("only root"), "{why}");
    let endless = world.claim(0, Claim { seconds: None, ..ahead(memory(1), HOUR, 1) });
    assert_eq!(world.refused(endless).0, 400, "it has no end");
    let nobodys = world.claim(0, Claim { unit: None, ..ahead(memory(1), HOUR, 1) });
    assert_eq!(world.refused(nobodys).0, 400, "nobody could take it up");
}

#[test]
fn nobody_who_waits_because_of_it_is_in_the_way_of_who_takes_it_up() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let number = world.claim(0, ahead(memory(40 * GIB), 600, 2 * HOUR));
    world.granted(number);
    // It would still run then, and is short of what is kept.
    let old = world.claim(0, Claim { wait_seconds: Some(2 * HOUR), ..now(memory(70 * GIB)) });
    world.tick(600);
    let chat = Claim { unit: Some("chat".into()), ..now(memory(40 * GIB)) };
    let number = world.claim(0, chat.clone());
    let taker = world.granted(number).id;
    assert!(!world.answers.contains_key(&old));
    world.release(0, taker);
    world.granted(old);
}

#[test]
fn who_takes_it_up_and_has_to_wait_is_served_first() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let number = world.claim(0, ahead(memory(40 * GIB), 600, 2 * HOUR));
    world.granted(number);
    let old = world.claim(0, Claim { wait_seconds: Some(2 * HOUR), ..now(memory(70 * GIB)) });
    world.tick(600);
    // Something without a reservation uses all of it.
    world.memory(100 * GIB, 10 * GIB);
    let chat = world.claim(0, Claim { unit: Some("chat".into()), ..waits(memory(40 * GIB)) });
    let ask = crate::lease::Ask { need: memory(GIB), unit: Some("chat".into()), ..Default::default() };
    let second = world.ask(caller(0), Asked::Admit(ask));
    let Body::Verdict(verdict) = &world.answers[&second].body else { panic!() };
    assert_eq!(verdict.ahead, Some(1), "who came first for it comes before: {verdict:?}");
    world.memory(100 * GIB, 100 * GIB);
    world.tick(1);
    world.granted(chat);
    assert!(!world.answers.contains_key(&old));
}

#[test]
fn it_ends_an_hour_after_its_begin_if_nobody_came() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let number = world.claim(0, ahead(memory(40 * GIB), 60, 5 * HOUR));
    let planned = world.granted(number).id;
    world.tick(60 + HOUR - 1);
    assert_eq!(world.held(), [planned]);
    world.tick(1);
    assert!(world.held().is_empty() && world.told.contains(&(Step::Expired, planned)));
}

#[test]
fn a_claim_takes_up_one_of_two() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    for _ in 0..2 {
        let number = world.claim(0, ahead(memory(40 * GIB), 600, HOUR));
        world.granted(number);
    }
    let chat = |amount| Claim { unit: Some("chat".into()), ..now(memory(amount)) };
    let much = world.claim(0, chat(61 * GIB));
    assert_eq!(world.refused(much).0, 409, "the other one is kept");
    let fits = world.claim(0, chat(60 * GIB));
    world.granted(fits);
    assert_eq!(world.held().len(), 2);
}

#[test]
fn what_is_short_because_of_it_is_told_when_it_begins() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let number = world.claim(0, ahead(memory(40 * GIB), 2 * HOUR, HOUR));
    let planned = world.granted(number).id;
    let no = world.verdict(memory(70 * GIB));
    let way = no.room.iter().find(|way| way.id == Some(planned)).unwrap();
    assert!(way.sentence.contains(", starting in 120 min") && !way.sentence.contains("not used"), "{}", way.sentence);
}

#[test]
fn a_gpu_has_no_more_ahead_than_a_verdict_gives() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    world.gpu("0", 80 * GIB, 80 * GIB, &[]);
    let all = world.claim(0, ahead(vram(80 * GIB), HOUR, HOUR));
    assert_eq!(world.refused(all).0, 409, "some of it stays free");
    let most = world.claim(0, ahead(vram(77 * GIB), HOUR, HOUR));
    assert_eq!(world.granted(most).gpus, ["0"]);
}

#[test]
fn low_work_waits_above_the_target_only_for_what_begins_soon() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let targets = vec![crate::level::Target { from: 0, gpu: Some(false), memory: 0.5 }];
    let level = crate::level::Limits { targets, ..crate::level::Limits::default() };
    let start = crate::sample::Start { level: Some(level), ..crate::engine::test::start() };
    world.apply(Reading::Start(start));
    world.memory(100 * GIB, 100 * GIB);
    let number = world.claim(0, ahead(memory(60 * GIB), 2 * HOUR, HOUR));
    world.granted(number);
    let low = || Claim { priority: Priority::Low, ..now(memory(GIB)) };
    let number = world.claim(0, low());
    world.granted(number);
    world.tick(HOUR);
    let number = world.claim(0, low());
    let (_, why, _) = world.refused(number);
    assert!(why.contains("above the target"), "{why}");
}
