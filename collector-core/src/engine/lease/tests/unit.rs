//! Units that fail or start too often, through requests: who may not start waits, and keeps no room from others.

use super::*;
use crate::circuit::{Cause, State as Circuit};
use crate::lease::Ended;

/// A claim of a unit.
fn of(unit: &str, need: Need, wait_seconds: Option<u64>) -> Claim {
    Claim { need, unit: Some(unit.to_owned()), wait_seconds, ..Claim::default() }
}

impl World {
    /// Starts a unit and reports how it ended, before or after the lease ends. Returns whether it may start then.
    fn once(&mut self, uid: u32, unit: &str, cause: Option<Cause>, late: bool) -> Circuit {
        let number = self.claim(uid, of(unit, memory(GIB), None));
        let id = self.granted(number).id;
        if late {
            self.apply(Reading::Lease(Kept::Gone { id }));
        }
        let ended = Ended { unit: unit.to_owned(), cause, reservation: Some(id) };
        let number = self.ask(caller(uid), Asked::Ended(ended));
        let Body::Circuit(circuit) = self.answers[&number].body.clone() else { panic!("{:?}", self.answers[&number]) };
        if !late {
            assert_eq!(self.release(uid, id), 200);
        }
        circuit.state
    }
}

#[test]
fn a_unit_that_fails_waits_and_one_may_try_however_late_its_end_is_reported() {
    for late in [false, true] {
        let mut world = World::new(64 * GIB, 60 * GIB);
        let states = [(); 3].map(|()| world.once(0, "a", Some(Cause::Oom), late));
        assert_eq!(states, [Circuit::Closed, Circuit::Closed, Circuit::Open]);
        let number = world.claim(0, of("a", memory(GIB), None));
        let (status, detail, verdict) = world.refused(number);
        let verdict = verdict.unwrap();
        assert_eq!((status, verdict.verdict, verdict.retry_after_seconds), (409, Decision::Wait, Some(60)));
        assert!(detail.starts_with("a failed 3 times within 10 min (OOM kill)"), "{detail}");
        // Another unit, and another user's of the same name.
        assert_eq!(world.once(0, "b", None, late), Circuit::Closed);
        assert_eq!(world.once(7, "a", None, late), Circuit::Closed);
        // Who waits starts when the time is over; the next waits for what becomes of it.
        let probe = world.claim(0, of("a", memory(GIB), Some(600)));
        world.tick(59);
        assert!(!world.answers.contains_key(&probe));
        world.tick(1);
        let id = world.granted(probe).id;
        let number = world.claim(0, of("a", memory(GIB), None));
        assert!(world.refused(number).1.contains("still runs"));
        let ended = Ended { unit: "a".to_owned(), cause: None, reservation: Some(id) };
        world.ask(caller(0), Asked::Ended(ended));
        assert_eq!(world.once(0, "a", None, late), Circuit::Closed);
        assert_eq!(world.once(0, "a", Some(Cause::Oom), late), Circuit::Open, "soon after it opened");
    }
}

#[test]
fn a_probe_that_nobody_reports_makes_room_for_another() {
    let mut world = World::new(64 * GIB, 60 * GIB);
    (0..3).for_each(|_| assert!(world.once(0, "a", Some(Cause::Exit(1)), false) <= Circuit::Open));
    world.tick(60);
    let number = world.claim(0, of("a", memory(GIB), None));
    let id = world.granted(number).id;
    world.apply(Reading::Lease(Kept::Gone { id }));
    let number = world.claim(0, of("a", memory(GIB), None));
    world.granted(number);
}

#[test]
fn who_may_not_start_keeps_no_room_from_others() {
    let mut world = World::new(64 * GIB, 10 * GIB);
    (0..3).for_each(|_| assert!(world.once(0, "a", Some(Cause::Exit(1)), false) <= Circuit::Open));
    let waits = world.claim(0, of("a", memory(8 * GIB), Some(600)));
    let other = world.claim(0, of("b", memory(8 * GIB), Some(600)));
    let id = world.granted(other).id;
    world.tick(61);
    assert!(!world.answers.contains_key(&waits), "its circuit is closed now, and there is no room");
    world.release(0, id);
    world.granted(waits);
}

#[test]
fn a_unit_starts_only_so_often_a_minute_and_a_need_that_nobody_knows_counts_too() {
    let mut world = World::new(64 * GIB, 60 * GIB);
    world.apply(Reading::Lease(Kept::Limits(Limits { starts: 3, ..Limits::default() })));
    for _ in 0..3 {
        let number = world.claim(0, of("a", Need::default(), None));
        world.granted(number);
    }
    let number = world.claim(0, of("a", Need::default(), None));
    assert_eq!(world.refused(number).1, "a was started 3 times within a minute, which is the most that may be");
    world.tick(66);
    let number = world.claim(0, of("a", Need::default(), None));
    world.granted(number);
    let number = world.claim(0, Claim::default());
    assert_eq!(world.refused(number).0, 400, "nothing, for nobody");
}
