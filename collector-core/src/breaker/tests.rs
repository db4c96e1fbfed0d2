//! Units that fail, start too often, or work again.

use super::*;
use crate::circuit::State;
use proptest::prelude::*;

const NOW: u64 = 1_000_000 * SECOND;
const MOST: u32 = 60;

/// Units of root, with a clock.
struct Bench {
    circuits: Circuits,
    time: u64,
    reservation: u64,
}

impl Bench {
    fn new() -> Bench {
        Bench { circuits: Circuits::default(), time: NOW, reservation: 0 }
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.time += SECOND;
            tick(&mut self.circuits, self.time);
        }
    }

    fn check(&self) -> Option<Wait> {
        check(&self.circuits, self.time, 0, "a", MOST)
    }

    fn start(&mut self) -> u64 {
        assert_eq!(self.check(), None);
        self.reservation += 1;
        started(&mut self.circuits, self.time, 0, "a", self.reservation);
        self.reservation
    }

    fn end(&mut self, reservation: u64, cause: Option<Cause>) {
        ended(&mut self.circuits, self.time, 0, "a", Some(reservation), cause);
    }

    fn fail(&mut self, cause: Cause) {
        let reservation = self.start();
        self.end(reservation, Some(cause));
    }

    fn state(&self) -> State {
        self.circuits.iter(self.time).next().map(|seen| seen.state).unwrap_or_default()
    }
}

#[test]
fn three_failures_of_one_cause_open_it_and_longer_each_time() {
    let mut bench = Bench::new();
    bench.fail(Cause::Oom);
    bench.fail(Cause::Exit(1));
    bench.fail(Cause::Oom);
    bench.fail(Cause::Exit(1));
    assert_eq!((bench.check(), bench.state()), (None, State::Closed), "two of each");
    bench.fail(Cause::Oom);
    for length in [60, 120, 240, 480, 600, 600] {
        let wait = bench.check().unwrap();
        assert_eq!((wait.seconds, bench.state()), (length, State::Open));
        assert!(wait.why.contains("OOM kill") && wait.why.starts_with("a failed"), "{}", wait.why);
        bench.pass(length - 1);
        assert_eq!(bench.check().unwrap().seconds, 1);
        bench.pass(1);
        let probe = bench.start();
        assert_eq!(bench.state(), State::Probing);
        let wait = bench.check().unwrap();
        assert!(wait.why.contains("still runs"), "one probe: {}", wait.why);
        bench.end(probe, Some(Cause::Oom));
    }
}

#[test]
fn a_failure_soon_after_a_good_probe_opens_it_again_and_ten_good_minutes_forget() {
    let mut bench = Bench::new();
    (0..3).for_each(|_| bench.fail(Cause::Signal(11)));
    bench.pass(60);
    let probe = bench.start();
    bench.end(probe, None);
    assert_eq!(bench.state(), State::Closed);
    bench.pass(599);
    bench.fail(Cause::Signal(11));
    assert_eq!(bench.check().unwrap().seconds, 120);
    bench.pass(120);
    let probe = bench.start();
    bench.end(probe, None);
    bench.pass(600);
    bench.fail(Cause::Signal(11));
    bench.fail(Cause::Signal(11));
    assert_eq!(bench.check(), None);
    bench.fail(Cause::Signal(11));
    assert_eq!(bench.check().unwrap().seconds, 60, "as at first");
}

#[test]
fn a_probe_that_runs_for_ten_minutes_did_well() {
    let mut bench = Bench::new();
    (0..3).for_each(|_| bench.fail(Cause::Exit(3)));
    bench.pass(60);
    bench.start();
    bench.pass(599);
    assert_eq!(bench.check().unwrap().seconds, 1);
    bench.pass(1);
    assert_eq!((bench.check(), bench.state()), (None, State::Closed));
}

#[test]
fn a_probe_that_vanished_or_failed_otherwise_makes_room_for_another() {
    let mut bench = Bench::new();
    (0..3).for_each(|_| bench.fail(Cause::Exit(3)));
    bench.pass(60);
    let probe = bench.start();
    released(&mut bench.circuits, bench.time, probe + 1);
    assert!(bench.check().is_some());
    released(&mut bench.circuits, bench.time, probe);
    assert_eq!(bench.check(), None);
    let probe = bench.start();
    bench.end(probe, Some(Cause::Oom));
    let probe = bench.start();
    bench.end(probe - 2, None);
    assert_eq!(bench.state(), State::Probing, "an older one that ended well is not the probe");
    bench.end(probe, Some(Cause::Exit(3)));
    assert_eq!(bench.check().unwrap().seconds, 120);
}

#[test]
fn a_report_that_comes_after_the_end_of_the_reservation_counts() {
    for (cause, state) in [(Some(Cause::Exit(3)), State::Open), (None, State::Closed)] {
        let mut bench = Bench::new();
        (0..3).for_each(|_| bench.fail(Cause::Exit(3)));
        bench.pass(60);
        let probe = bench.start();
        released(&mut bench.circuits, bench.time, probe);
        bench.end(probe, cause);
        assert_eq!(bench.state(), state);
        assert_eq!(bench.check().map(|wait| wait.seconds), cause.map(|_| 120));
    }
}

#[test]
fn failures_more_than_ten_minutes_apart_do_not_count_together() {
    let mut bench = Bench::new();
    for _ in 0..10 {
        bench.fail(Cause::Oom);
        bench.pass(301);
    }
    assert_eq!(bench.check(), None);
    assert_eq!(bench.state(), State::Closed);
    bench.pass(600);
    assert!(bench.circuits.units.is_empty(), "all is forgotten");
    assert_eq!(changed(&mut bench.circuits).len(), 1, "and what was kept of it is to be");
}

#[test]
fn nobody_opens_anothers_circuit_or_pushes_out_anothers_units() {
    let mut circuits = Circuits::default();
    for _ in 0..3 {
        ended(&mut circuits, NOW, 0, "a", None, Some(Cause::Oom));
        ended(&mut circuits, NOW, 7, "b", None, Some(Cause::Oom));
    }
    assert!(check(&circuits, NOW, 0, "a", MOST).is_some() && check(&circuits, NOW, 7, "b", MOST).is_some());
    assert_eq!(check(&circuits, NOW, 7, "a", MOST), None);
    for unit in 0..200 {
        started(&mut circuits, NOW + unit, 1000, &format!("unit {unit}"), unit);
    }
    assert_eq!(circuits.units.len(), 2 + SHARE);
    for uid in 2000..2040 {
        (0..SHARE as u64).for_each(|unit| started(&mut circuits, NOW + unit, uid, &unit.to_string(), unit));
    }
    assert_eq!(circuits.units.len(), UNITS);
    assert!(check(&circuits, NOW, 0, "a", MOST).is_some() && check(&circuits, NOW, 7, "b", MOST).is_some());
    for code in 0..=255 {
        ended(&mut circuits, NOW, 0, "a", None, Some(Cause::Exit(code)));
    }
    assert_eq!(circuits.units[&key(0, "a")].circuits.len(), CAUSES);
}

#[test]
fn a_name_is_cut_and_escaped() {
    let mut circuits = Circuits::default();
    let long = "x".repeat(1000) + "\u{202e}";
    started(&mut circuits, NOW, 0, &long, 1);
    started(&mut circuits, NOW, 0, "a\nb", 2);
    let names: Vec<&str> = circuits.iter(NOW).map(|seen| seen.unit).collect();
    assert_eq!(names, ["a\\x0ab".to_owned(), "x".repeat(LONGEST)]);
}

#[test]
fn a_clock_that_is_set_back_opens_nothing_for_longer() {
    let mut bench = Bench::new();
    (0..3).for_each(|_| bench.fail(Cause::Oom));
    bench.time -= 86_400 * SECOND;
    tick(&mut bench.circuits, bench.time);
    assert_eq!(bench.check().unwrap().seconds, 60);
    bench.pass(60);
    assert_eq!(bench.check(), None);
}

proptest! {
    #[test]
    fn no_minute_has_more_starts_than_allowed(gaps in prop::collection::vec(0_u64..3_000, 1..400), most in 1_u32..40) {
        let (mut circuits, mut time, mut starts) = (Circuits::default(), NOW, Vec::new());
        for gap in gaps {
            time += gap * SECOND / 1000;
            match check(&circuits, time, 0, "a", most) {
                None => {
                    started(&mut circuits, time, 0, "a", 1);
                    starts.push(time);
                }
                Some(wait) => {
                    prop_assert!((1..=65).contains(&wait.seconds), "{}", wait.seconds);
                    let later = time + wait.seconds * SECOND;
                    prop_assert_eq!(check(&circuits, later, 0, "a", most), None, "it may start when it was told");
                }
            }
        }
        for (index, start) in starts.iter().enumerate() {
            let within = starts[index..].iter().take_while(|later| **later - start < 60 * SECOND).count();
            prop_assert!(within <= most as usize);
        }
    }
}
