//! What work needed when it ran, and what that says about its next start.

use super::*;
use crate::circuit::Cause;
use crate::learn::{Change, File, Work};
use crate::lease::{Ask, Ended};

fn work() -> Work {
    Work {
        executable: File { device: 1, inode: 2, size: 3, modified: 4 },
        names: vec!["server".into()],
        settings: "0a".into(),
        name: "server".into(),
        ..Work::default()
    }
}

fn of(work: Work, need: Need) -> Claim {
    Claim { need, work: Some(Box::new(work)), unit: Some("u".into()), ..Claim::default() }
}

fn estimated(amount: u64) -> Need {
    let mut need = memory(amount);
    need.parts[0].origin = Origin::Estimated;
    need
}

impl World {
    /// Starts work as a guard does, which owns the lease until its command does: it loads `peak`, and keeps `then`.
    fn start(&mut self, uid: u32, claim: Claim, name: &str, [peak, then]: [u64; 2]) -> u64 {
        let number = self.claim(uid, claim);
        let id = self.granted(number).id;
        self.tick(1);
        let owner = Owner::Process { pid: 5000, started: 9 };
        let used = Use { pids: vec![5000], ..Use::default() };
        self.ask(caller(uid), Asked::Own { id, owner, used, age: 0 });
        self.apply(Reading::Lease(Kept::Ran { id, executables: Vec::new(), names: vec![name.to_owned()] }));
        for (hard, seconds) in [(peak, 2), (then, 8)] {
            let used = Use { hard, soft: 1, pids: vec![5000], pinned: Some(7), ..Use::default() };
            self.apply(Reading::Lease(Kept::Used { id, used }));
            self.tick(seconds);
        }
        id
    }

    fn run(&mut self, uid: u32, claim: Claim, bytes: [u64; 2], seconds: u64) {
        let id = self.start(uid, claim, "server", bytes);
        self.tick(seconds.saturating_sub(10));
        self.release(uid, id);
    }

    fn asked(&mut self, uid: u32, need: Need, work: Work) -> Verdict {
        let number = self.ask(caller(uid), Asked::Admit(Ask { need, work: Some(Box::new(work)), ..Ask::default() }));
        match &self.answers[&number].body {
            Body::Verdict(verdict) => verdict.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn learned(&mut self, uid: u32, asked: Asked) -> Vec<(u64, u64, u64)> {
        let number = self.ask(caller(uid), asked);
        match &self.answers[&number].body {
            Body::Learned(all) => all.learned.iter().map(|one| (one.id, one.times, one.memory)).collect(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_ran_before_stands_in_place_of_an_estimate_for_the_same_user_alone() {
    let mut world = World::new(100 * GIB, 90 * GIB);
    world.run(7, of(work(), estimated(40 * GIB)), [30 * GIB, 25 * GIB], 70);
    world.run(7, of(work(), estimated(40 * GIB)), [28 * GIB, 26 * GIB], 70);
    let verdict = world.asked(7, estimated(40 * GIB), work());
    let lesson = verdict.learned.clone().expect("it was seen");
    assert_eq!((lesson.times, lesson.resources[0].most, lesson.resources[0].running), (2, 30 * GIB, 26 * GIB));
    assert_eq!(verdict.resources[0].need, 30 * GIB + 30 * GIB / 100 * 10);
    assert!(
        lesson.sentences()[0]
            .starts_with("seen 2 times, at most 30.0 GiB of host memory (expected: 40.0 GiB, 33 % more)")
    );
    // It would fit by what was learned, and not by the estimate.
    world.memory(100 * GIB, 35 * GIB);
    assert_eq!(world.asked(7, estimated(40 * GIB), work()).verdict, Decision::Yes);
    for (uid, work) in [
        (8, work()),
        (7, Work { settings: "0b".into(), ..work() }),
        (7, Work { executable: File::default(), ..work() }),
    ] {
        let verdict = world.asked(uid, estimated(40 * GIB), work);
        assert_eq!((verdict.verdict, verdict.learned), (Decision::No, None));
    }
    let number = world.claim(7, of(work(), estimated(40 * GIB)));
    assert_eq!(world.granted(number).verdict.resources[0].need, verdict.resources[0].need, "a claim keeps as much");
}

#[test]
fn a_run_that_was_too_short_another_program_or_killed_says_nothing() {
    let mut world = World::new(100 * GIB, 90 * GIB);
    world.run(7, of(work(), estimated(GIB)), [GIB, GIB], 50);
    let other = world.start(7, of(work(), estimated(GIB)), "sleep", [GIB, GIB]);
    world.tick(100);
    world.release(7, other);
    let killed = world.start(7, of(work(), estimated(GIB)), "server", [GIB, GIB]);
    let ended = Ended { unit: "u".into(), cause: Some(Cause::Oom), reservation: Some(killed) };
    world.tick(20);
    world.ask(caller(7), Asked::Ended(ended.clone()));
    world.tick(100);
    world.release(7, killed);
    assert_eq!(world.learned(7, Asked::Learned), []);
    // After one that counted, a kill says that it may need more.
    world.tick(700);
    world.run(7, of(work(), estimated(GIB)), [GIB, GIB], 90);
    let killed = world.start(7, of(work(), estimated(GIB)), "server", [GIB, GIB]);
    let foreign = world.ask(caller(8), Asked::Ended(Ended { reservation: Some(killed), ..ended.clone() }));
    assert!(world.answers.contains_key(&foreign));
    assert!(!world.asked(7, estimated(GIB), work()).learned.unwrap().killed, "another user's word");
    world.ask(caller(7), Asked::Ended(Ended { reservation: Some(killed), ..ended }));
    world.release(7, killed);
    let verdict = world.asked(7, estimated(GIB), work());
    assert!(verdict.learned.unwrap().killed && verdict.resources[0].need == GIB);
    // The lease may have ended before its client tells how.
    world.run(7, of(work(), estimated(GIB)), [GIB, GIB], 90);
    let killed = world.start(7, of(work(), estimated(GIB)), "server", [GIB, GIB]);
    world.release(7, killed);
    assert!(!world.asked(7, estimated(GIB), work()).learned.unwrap().killed);
    let late = Ended { unit: "u".into(), cause: Some(Cause::Oom), reservation: Some(killed) };
    world.ask(caller(8), Asked::Ended(late.clone()));
    assert!(!world.asked(7, estimated(GIB), work()).learned.unwrap().killed);
    world.ask(caller(7), Asked::Ended(late));
    assert!(world.asked(7, estimated(GIB), work()).learned.unwrap().killed);
}

#[test]
fn of_an_owner_that_had_more_before_or_has_more_to_do_later_nothing_is_learned() {
    let mut world = World::new(100 * GIB, 90 * GIB);
    let owner = Owner::Process { pid: 5000, started: 9 };
    let mut had = Use { hard: 18 * GIB, pids: vec![5000], ..Use::default() };
    let number = world.ask(
        caller(7),
        Asked::Claim { claim: of(work(), estimated(20 * GIB)), owner: owner.clone(), used: had.clone() },
    );
    let id = world.granted(number).id;
    world.apply(Reading::Lease(Kept::Ran { id, executables: Vec::new(), names: vec!["server".into()] }));
    had.hard += GIB;
    world.apply(Reading::Lease(Kept::Used { id, used: had }));
    world.tick(100);
    world.release(7, id);
    assert_eq!(world.learned(7, Asked::Learned), [], "only its growth was measured");
    let id = world.start(7, of(work(), estimated(GIB)), "server", [GIB, GIB]);
    world.tick(90);
    assert_eq!(world.learned(7, Asked::Learned), [(1, 1, GIB)]);
    let claim = of(Work { settings: "0c".into(), ..work() }, estimated(GIB));
    world.ask(caller(7), Asked::Claim { claim, owner, used: Use::default() });
    world.tick(1);
    let used = Use { hard: 5 * GIB, pids: vec![5000], ..Use::default() };
    world.apply(Reading::Lease(Kept::Used { id, used }));
    world.tick(20);
    world.release(7, id);
    assert_eq!(world.learned(7, Asked::Learned), [(1, 1, GIB)], "that is the other's, too");
}

#[test]
fn an_owner_that_is_not_young_and_has_nothing_of_any_gpu_may_be_on_any() {
    let mut world = World::new(100 * GIB, 90 * GIB);
    world.gpu("0", 80 * GIB, 80 * GIB, &[]);
    let number = world.claim(7, of(work(), Need::default()));
    let id = world.granted(number).id;
    world.tick(1);
    let owner = Owner::Process { pid: 5000, started: 9 };
    let used = Use { pids: vec![5000], ..Use::default() };
    world.ask(caller(7), Asked::Own { id, owner, used: used.clone(), age: u64::MAX });
    world.apply(Reading::Lease(Kept::Ran { id, executables: Vec::new(), names: vec!["server".into()] }));
    world.apply(Reading::Lease(Kept::Used { id, used: Use { hard: GIB, ..used } }));
    world.gpu("0", 80 * GIB, 60 * GIB, &[(5000, 20 * GIB)]);
    world.tick(80);
    world.release(7, id);
    world.gpu("0", 80 * GIB, 80 * GIB, &[]);
    let verdict = world.asked(7, Need::unknown("server: not known"), work());
    assert!(
        verdict.verdict == Decision::Yes && verdict.resources.iter().any(|line| line.resource == "VRAM"),
        "{verdict:?}"
    );
}

#[test]
fn a_clock_that_jumps_makes_no_run_long_and_two_leases_of_one_owner_count_as_neither() {
    let mut world = World::new(100 * GIB, 90 * GIB);
    let id = world.start(7, of(work(), estimated(GIB)), "server", [GIB, GIB]);
    for jump in [3600, -7200] {
        world.time = world.time.checked_add_signed(jump * SECOND as i64).unwrap();
        world.tick(1);
    }
    world.release(7, id);
    assert_eq!(world.learned(7, Asked::Learned), []);
    let id = world.start(7, of(work(), estimated(GIB)), "server", [GIB, GIB]);
    let claim = of(Work { settings: "0c".into(), ..work() }, estimated(GIB));
    let owner = Owner::Process { pid: 5000, started: 9 };
    world.ask(caller(7), Asked::Claim { claim, owner, used: Use::default() });
    world.tick(100);
    world.release(7, id);
    assert_eq!(world.learned(7, Asked::Learned), []);
}

#[test]
fn it_is_listed_and_forgotten_by_its_own_user_and_by_root_and_kept_for_a_restart() {
    let mut world = World::new(100 * GIB, 90 * GIB);
    let mut kept = BTreeMap::new();
    for (uid, settings) in [(7, "0a"), (8, "0a"), (7, "0b")] {
        world.run(uid, of(Work { settings: settings.into(), ..work() }, estimated(GIB)), [GIB, GIB], 90);
    }
    assert_eq!(world.learned(7, Asked::Learned), [(3, 1, GIB), (1, 1, GIB)]);
    assert_eq!(world.learned(8, Asked::Learned), [(2, 1, GIB)]);
    assert_eq!(world.learned(0, Asked::Learned).len(), 3);
    let member = Caller { all: true, ..caller(9) };
    let listed = world.ask(member.clone(), Asked::Learned);
    assert!(matches!(&world.answers[&listed].body, Body::Learned(learned) if learned.learned.len() == 3));
    world.ask(member, Asked::Forget { id: None });
    assert_eq!(world.learned(0, Asked::Learned).len(), 3, "whoever sees them does not own them");
    let refused = world.ask(caller(8), Asked::Forget { id: Some(1) });
    assert_eq!(world.refused(refused).0, 404);
    for entry in world.engine.view().leases.learned.of(None) {
        kept.insert(entry.id, entry.clone());
    }
    assert_eq!(world.learned(7, Asked::Forget { id: Some(1) }), [(1, 1, GIB)]);
    assert_eq!(world.learned(8, Asked::Forget { id: None }), [(2, 1, GIB)]);
    assert_eq!(world.learned(0, Asked::Learned), [(3, 1, GIB)]);
    assert_eq!(world.asked(8, estimated(GIB), work()).learned, None);
    let mut again = World::new(100 * GIB, 90 * GIB);
    kept.remove(&1);
    kept.into_values().for_each(|entry| again.apply(Reading::Lease(Kept::Learned(Box::new(entry)))));
    assert_eq!(again.learned(0, Asked::Learned).len(), 2);
    assert!(again.asked(8, estimated(GIB), work()).learned.is_some());
}

#[test]
fn all_that_is_kept_and_forgotten_leaves_the_engine() {
    let mut world = World::new(100 * GIB, 90 * GIB);
    let id = world.start(7, of(work(), estimated(GIB)), "server", [GIB, GIB]);
    let mut kept = Vec::new();
    for _ in 0..100 {
        world.time += SECOND;
        let sample = Sample { time: world.time, reading: Reading::Tick };
        kept.extend(world.engine.apply(&sample).into_iter().filter_map(|outcome| match outcome {
            Outcome::Learned(change) => Some(*change),
            _ => None,
        }));
    }
    let [Change::Kept(entry)] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!((entry.times, entry.peaks.pinned, entry.peaks.soft, entry.settled_ns), (1, Some(7), 1, 4 * SECOND));
    assert!(world.engine.view().leases.runs.contains_key(&id));
    world.release(7, id);
    assert!(world.engine.view().leases.runs.is_empty());
}

#[test]
fn memory_of_gpus_is_learned_in_the_order_of_the_work_and_of_an_unknown_program_on_any() {
    let mut world = World::new(100 * GIB, 90 * GIB);
    let cards = |world: &mut World, on: &[(u32, u64)]| {
        world.gpu("0", 80 * GIB, 80 * GIB, &[]);
        world.gpu("1", 80 * GIB, 80 * GIB - on.iter().map(|(_, bytes)| bytes).sum::<u64>(), on);
    };
    cards(&mut world, &[]);
    let unknown = Need::unknown("server: not known");
    assert_eq!(world.asked(7, unknown.clone(), work()).verdict, Decision::Unknown);
    let id = world.start(7, of(work(), Need::default()), "server", [GIB, GIB]);
    cards(&mut world, &[(5000, 20 * GIB), (6000, 9 * GIB)]);
    world.tick(70);
    world.release(7, id);
    cards(&mut world, &[]);
    let verdict = world.asked(7, unknown.clone(), work());
    assert_eq!(verdict.verdict, Decision::Yes, "{verdict:?}");
    let needs: Vec<_> = verdict.resources.iter().map(|line| (&*line.resource, line.need)).collect();
    assert_eq!(needs, [("host memory", GIB + GIB / 100 * 20), ("VRAM", 20 * GIB + 20 * GIB / 100 * 20)]);
    // Of a card of another model it says nothing.
    let mut other = World::new(100 * GIB, 90 * GIB);
    let entry = world.engine.view().leases.learned.of(None).next().unwrap().clone();
    assert_eq!(entry.gpu.as_deref(), Some("x"));
    let entry = crate::learn::Entry { gpu: Some("y".into()), ..entry };
    cards(&mut other, &[]);
    other.apply(Reading::Lease(Kept::Learned(Box::new(entry))));
    assert_eq!(other.asked(7, unknown, work()).learned, None);
}
