//! What the configuration reserves ahead. The clock on the wall begins at 03:46:40 UTC on Friday, 2 January 1970.

use super::*;
use crate::schedule::{Entry, Schedule};
use crate::view::schedule::State as Became;
use crate::zone::Zone;

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

fn entry(days: &str, at: &str, need: &Need) -> Entry {
    Entry {
        unit: "chat".into(),
        uid: 0,
        days: days.parse().unwrap(),
        at: at.parse().unwrap(),
        seconds: 2 * HOUR,
        want: crate::lease::Want::of(need),
        gpus: Vec::new(),
        priority: Priority::Normal,
    }
}

fn says(world: &mut World, entries: &[Entry]) {
    let schedule = Schedule { entries: entries.to_vec(), zone: Zone::utc() };
    world.apply(Reading::Schedule(Box::new(schedule)));
}

/// Ticks of ten seconds until a time of day of a day, counted from 1 January.
fn until(world: &mut World, day: u64, at: &str) {
    let (hours, minutes) = at.split_once(':').unwrap();
    let [hours, minutes] = [hours, minutes].map(|text| text.parse::<u64>().unwrap());
    let end = (day * DAY + hours * HOUR + minutes * 60) * SECOND;
    assert!(world.time <= end, "it is over");
    while world.time < end {
        world.time = (world.time + 10 * SECOND).min(end);
        world.apply(Reading::Tick);
    }
}

/// The reservations that are made ahead: their numbers, and by the clock on the wall when they begin, in seconds.
fn planned(world: &World) -> Vec<(u64, u64)> {
    let view = world.engine.view();
    let planned = view.leases.held.values().filter(|lease| lease.state == State::Planned);
    let wall = |begins: u64| (begins + world.time - view.leases.now) / SECOND;
    planned.map(|lease| (lease.id, wall(lease.begins.unwrap()))).collect()
}

fn became(world: &World) -> Vec<Became> {
    world.engine.view().schedule.next.iter().map(|next| next.state.clone()).collect()
}

fn chat(need: Need) -> Claim {
    Claim { unit: Some("chat".into()), ..now(need) }
}

#[test]
fn each_is_made_a_day_before_it_begins_and_once() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    says(&mut world, &[entry("Sat", "06:00", &memory(40 * GIB))]);
    world.tick(1);
    assert_eq!((planned(&world), became(&world)), (vec![], vec![Became::Later]), "26 hours ahead");
    until(&mut world, 1, "06:01");
    let [(id, begins)] = planned(&world)[..] else { panic!("{:?}", planned(&world)) };
    assert_eq!((begins, became(&world)), (2 * DAY + 6 * HOUR, vec![Became::Reserved(id)]));
    let lease = world.engine.view().leases.held[&id].clone();
    assert_eq!((lease.uid, lease.unit.as_deref(), lease.want.hard.peak), (0, Some("chat"), 40 * GIB));
    assert_eq!(lease.expires.unwrap() - lease.begins.unwrap(), 2 * HOUR * SECOND);
    until(&mut world, 2, "05:59");
    assert_eq!(planned(&world), [(id, begins)]);
    assert_eq!(world.verdict(memory(70 * GIB)).verdict, Decision::No);
    until(&mut world, 2, "07:00");
    assert!(planned(&world).is_empty() && world.told.contains(&(Step::Expired, id)), "nobody came");
    let next = world.engine.view().schedule.next[0].clone();
    assert_eq!((next.begins, next.state), (Some((9 * DAY + 6 * HOUR) * SECOND), Became::Later));
    until(&mut world, 2, "23:00");
    assert!(planned(&world).is_empty());
}

#[test]
fn every_day_has_one() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    says(&mut world, &[entry("Mon-Sun", "06:00", &memory(40 * GIB))]);
    let mut granted = 0;
    for day in 1..5 {
        until(&mut world, day, "12:00");
        assert_eq!(planned(&world).iter().map(|(_, begins)| *begins).collect::<Vec<_>>(), [(day + 1) * DAY + 6 * HOUR]);
        granted = world.told.iter().filter(|(step, _)| *step == Step::Granted).count();
    }
    assert_eq!(granted, 5);
}

#[test]
fn who_takes_it_up_has_it_and_it_is_not_made_again_also_after_a_restart() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let table = [entry("Fri", "06:00", &memory(40 * GIB))];
    says(&mut world, &table);
    until(&mut world, 1, "05:30");
    let [(id, _)] = planned(&world)[..] else { panic!() };
    let number = world.claim(0, chat(memory(40 * GIB)));
    let taker = world.granted(number).id;
    assert!(world.told.contains(&(Step::Ended, id)) && world.held() == [taker]);
    world.tick(1);
    assert_eq!(became(&world), [Became::Over], "at once");
    until(&mut world, 1, "05:40");
    assert_eq!((planned(&world), became(&world)), (vec![], vec![Became::Over]));
    // What is on the disk of it.
    let kept = world.changes.iter().rev().find(|change| change.lease.id == taker).unwrap().lease.clone();
    let json = serde_json::to_string(&Kept::Lease(Box::new(kept))).unwrap();
    let mut after = World::new(100 * GIB, 100 * GIB);
    after.time = world.time + 5 * SECOND;
    after.apply(Reading::Lease(serde_json::from_str(&json).unwrap()));
    says(&mut after, &table);
    until(&mut after, 1, "05:50");
    assert_eq!((after.held(), became(&after)), (vec![taker], vec![Became::Over]));
}

#[test]
fn after_a_restart_there_is_still_one_and_after_one_of_the_host_it_is_made_again() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let table = [entry("Fri", "06:00", &memory(40 * GIB))];
    says(&mut world, &table);
    until(&mut world, 1, "05:00");
    let before = planned(&world);
    let lease = world.engine.view().leases.held[&before[0].0].clone();
    let json = serde_json::to_string(&Kept::Lease(Box::new(lease))).unwrap();
    for kept in [true, false] {
        let mut after = World::new(100 * GIB, 100 * GIB);
        after.time = world.time + 60 * SECOND;
        if kept {
            after.apply(Reading::Lease(serde_json::from_str(&json).unwrap()));
        }
        says(&mut after, &table);
        until(&mut after, 1, "05:10");
        assert_eq!(planned(&after), before);
        assert_eq!(after.told.contains(&(Step::Granted, before[0].0)), !kept, "{:?}", after.told);
    }
}

#[test]
fn what_was_given_back_by_hand_is_not_made_again_and_the_next_one_is() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    says(&mut world, &[entry("Mon-Sun", "06:00", &memory(40 * GIB))]);
    until(&mut world, 1, "05:00");
    let [(id, _)] = planned(&world)[..] else { panic!() };
    assert_eq!(world.release(0, id), 200);
    until(&mut world, 1, "05:59");
    assert_eq!((planned(&world), became(&world)), (vec![], vec![Became::Over]));
    until(&mut world, 1, "06:01");
    assert_eq!(planned(&world).len(), 1, "tomorrow's");
}

#[test]
fn a_table_that_changed_replaces_it_and_one_that_is_gone_gives_it_back() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let table = entry("Fri", "06:00", &memory(40 * GIB));
    let other = Entry { unit: "other".into(), ..table.clone() };
    says(&mut world, &[table.clone(), other.clone()]);
    world.tick(1);
    let [(first, begins), (kept, _)] = planned(&world)[..] else { panic!() };
    // The same again changes nothing.
    says(&mut world, &[table.clone(), other.clone()]);
    world.tick(20);
    assert_eq!(planned(&world), [(first, begins), (kept, begins)]);
    let changes = [
        Entry { want: crate::lease::Want::of(&memory(50 * GIB)), ..table.clone() },
        Entry { at: "07:00".parse().unwrap(), ..table.clone() },
        Entry { seconds: HOUR, ..table.clone() },
        Entry { priority: Priority::High, ..table.clone() },
        Entry { gpus: vec!["0".into()], ..table.clone() },
        Entry { uid: 1000, ..table.clone() },
        Entry { days: "Fri,Sat".parse().unwrap(), at: "05:00".parse().unwrap(), ..table.clone() },
    ];
    let mut last = first;
    for change in changes {
        says(&mut world, &[other.clone(), change.clone()]);
        world.tick(1);
        let new: Vec<_> = planned(&world).into_iter().filter(|(id, _)| *id != kept).collect();
        assert!(
            new.len() == 1 && new[0].0 != last && world.told.contains(&(Step::Released, last)),
            "{change:?}: {new:?}"
        );
        last = new[0].0;
    }
    // Another day than those on which it began, but the next occasion is the same.
    let days = Entry { days: "Fri,Sun".parse().unwrap(), at: "05:00".parse().unwrap(), ..table.clone() };
    says(&mut world, &[other.clone(), days]);
    world.tick(1);
    assert!(planned(&world).iter().any(|(id, _)| *id == last), "this one is as it was");
    says(&mut world, &[other]);
    world.tick(1);
    assert_eq!(planned(&world), [(kept, begins)]);
    let gone = world.changes.last().unwrap();
    assert!(gone.sentence.ends_with("[[reservation]] chat is not in the configuration any more"), "{}", gone.sentence);
    says(&mut world, &[]);
    world.tick(1);
    assert!(world.held().is_empty());
}

#[test]
fn what_is_made_ahead_for_a_user_counts_against_the_limits_of_the_user_once_it_is_taken_up() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    world.apply(Reading::Lease(Kept::Limits(Limits { leases: 1, share: 50, ..Limits::default() })));
    let own = Entry { uid: 7, ..entry("Fri", "04:00", &memory(40 * GIB)) };
    says(&mut world, &[own.clone(), Entry { unit: "other".into(), ..own }]);
    world.tick(1);
    assert_eq!(planned(&world).len(), 2);
    let number = world.claim(7, chat(memory(40 * GIB)));
    world.granted(number);
    assert_eq!(planned(&world).len(), 1, "it took up its own");
    let more = world.claim(7, now(memory(GIB)));
    let (status, why, _) = world.refused(more);
    assert!(status == 429 && why.contains("user 7 has 1 reservations already"), "{why}");
}

#[test]
fn what_does_not_fit_is_said_again_after_a_change() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let table = entry("Fri", "06:00", &memory(400 * GIB));
    says(&mut world, std::slice::from_ref(&table));
    world.tick(30);
    assert_eq!(world.refusals.len(), 1);
    says(&mut world, &[Entry { seconds: HOUR, ..table }]);
    world.tick(30);
    assert_eq!(world.refusals.len(), 2);
}

#[test]
fn a_lease_that_took_it_up_stays_when_its_table_goes() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    says(&mut world, &[entry("Fri", "04:00", &memory(40 * GIB))]);
    world.tick(1);
    let number = world.claim(0, chat(memory(40 * GIB)));
    let taker = world.granted(number).id;
    says(&mut world, &[]);
    world.tick(20);
    assert_eq!(world.held(), [taker]);
}

#[test]
fn what_does_not_fit_is_said_once_and_tried_again() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let by_hand = Claim {
        begins_in_seconds: Some(HOUR),
        seconds: Some(4 * HOUR),
        unit: Some("x".into()),
        ..now(memory(70 * GIB))
    };
    let number = world.claim(0, by_hand);
    let by_hand = world.granted(number).id;
    let asked = [entry("Fri", "06:00", &memory(40 * GIB)), entry("Fri", "12:00", &memory(40 * GIB))];
    says(&mut world, &asked);
    world.tick(60);
    let states = became(&world);
    let [Became::Refused(why), Became::Reserved(_)] = &states[..] else { panic!("{states:?}") };
    assert!(why.starts_with("host memory: needs 40.0 GiB, and of 100 GiB there are 70.0 GiB reserved"), "{why}");
    let [said] = &world.refusals[..] else { panic!("{:?}", world.refusals) };
    assert!(said.starts_with("[[reservation]] chat for user 0, Fri at 06:00, is not made yet: host memory"), "{said}");
    let view = world.engine.view().clone();
    let mut series = Vec::new();
    let metric = &crate::metric::lease::SCHEDULED;
    crate::metric::visit::visit(&view, metric, crate::metric::visit::Part::Whole, &mut |labels, number, _| {
        series.push((labels.join(","), number));
    });
    assert_eq!(series, [("chat,refused".to_owned(), 1.0), ("chat,reserved".to_owned(), 1.0)]);
    world.release(0, by_hand);
    world.tick(10);
    assert!(matches!(became(&world)[..], [Became::Reserved(_), Became::Reserved(_)]), "{:?}", became(&world));
    assert_eq!(world.refusals.len(), 1);
}

#[test]
fn what_never_fitted_is_over_when_it_begins() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    says(&mut world, &[entry("Fri", "04:00", &memory(400 * GIB))]);
    until(&mut world, 1, "04:10");
    assert!(world.held().is_empty());
    assert_eq!((became(&world), world.refusals.len()), (vec![Became::Later], 1), "next week's");
}

#[test]
fn a_reading_that_is_late_at_the_start_is_waited_for() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    world.apply(Reading::Start(crate::engine::test::start()));
    world.memory(100 * GIB, 100 * GIB);
    says(&mut world, &[entry("Fri", "06:00", &vram(40 * GIB))]);
    world.tick(30);
    assert_eq!((became(&world), world.refusals.len()), (vec![Became::Later], 0));
    world.gpu("0", 80 * GIB, 80 * GIB, &[]);
    world.tick(10);
    assert_eq!(planned(&world).len(), 1);
    let mut without = World::new(100 * GIB, 100 * GIB);
    without.apply(Reading::Start(crate::engine::test::start()));
    says(&mut without, &[entry("Fri", "06:00", &vram(40 * GIB))]);
    without.tick(90);
    assert!(without.refusals[0].contains("it needs 1 GPUs, and there are 0"), "{:?}", without.refusals);
}

#[test]
fn it_begins_by_the_clock_on_the_wall_also_when_that_is_set() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    says(&mut world, &[entry("Fri", "12:00", &memory(40 * GIB))]);
    world.tick(1);
    let made = planned(&world);
    for jump in [2 * HOUR as i64, -3 * HOUR as i64] {
        world.time = world.time.saturating_add_signed(jump * SECOND as i64);
        world.tick(20);
        assert_eq!(planned(&world), made, "{jump}");
    }
    assert_eq!(world.told.iter().filter(|(step, _)| *step == Step::Changed).count(), 2);
    // By less than half a minute it stays: a clock may be slewed.
    world.time += 25 * SECOND;
    world.tick(20);
    assert_eq!(world.told.iter().filter(|(step, _)| *step == Step::Changed).count(), 2);
    until(&mut world, 1, "12:30");
    assert!(planned(&world).len() == 1 && world.engine.view().schedule.next[0].state == Became::Later);
}

#[test]
fn a_night_in_which_clocks_are_set_has_one_as_any_other() {
    // 2026-10-25 01:00 UTC.
    let back = 1_792_890_000 * SECOND;
    let cest = (back - 50 * HOUR * SECOND, 7200, "CEST".to_owned());
    let zone = Zone::new([cest, (back, 3600, "CET".to_owned())]);
    let mut world = World::new(100 * GIB, 100 * GIB);
    world.time = back - 20 * HOUR * SECOND;
    world.apply(Reading::Tick);
    let entries = vec![Entry { seconds: 600, ..entry("Sun", "02:30", &memory(GIB)) }];
    world.apply(Reading::Schedule(Box::new(Schedule { entries, zone })));
    for _ in 0..(30 * HOUR / 10) {
        world.time += 10 * SECOND;
        world.apply(Reading::Tick);
    }
    let granted: Vec<_> = world.changes.iter().filter(|change| change.step == Step::Granted).collect();
    assert_eq!(granted.len(), 1, "clocks show 02:30 twice");
    assert_eq!(granted[0].lease.occasion.as_ref().unwrap().begins, back - HOUR / 2 * SECOND);
}

#[test]
fn only_who_may_see_it_is_shown_for_whom_it_is() {
    use crate::api::reservations::{Reservations, Viewer};
    let mut world = World::new(100 * GIB, 100 * GIB);
    let of_user = Entry { uid: 1000, unit: "own".into(), ..entry("Fri", "06:00", &memory(GIB)) };
    says(&mut world, &[entry("Fri", "06:00", &memory(GIB)), of_user]);
    world.tick(1);
    let units = |viewer| -> Vec<String> {
        let shown = Reservations::of(world.engine.view(), viewer).scheduled;
        shown.into_iter().map(|one| format!("{} {} {:?}", one.unit, one.state.unwrap(), one.reservation)).collect()
    };
    assert_eq!(units(Viewer::All), ["chat reserved Some(1)", "own reserved Some(2)"]);
    assert_eq!(units(Viewer::User(1000)), ["own reserved Some(2)"]);
    assert!(units(Viewer::Stranger).is_empty());
}
