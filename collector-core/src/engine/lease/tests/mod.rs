//! Claims and their ends, against the books that the test keeps itself.

mod card;
mod evict;
mod late;
mod learn;
mod owner;
mod plan;
mod restart;
mod room;
mod schedule;
mod unit;
mod whole;

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::engine::test::engine;
use crate::lease::{
    Answer, Asked, Body, Caller, Ceiling, Claim, Decision, Granted, Kept, Limits, Owner, Priority, Request, State,
    Step, Use, Verdict,
};
use crate::need::{Memory, Need, Origin, Part, Resource};
use crate::outcome::Outcome;
use crate::sample::{Reading, Sample};
use crate::statistic::gpu::{self, Device, Holder};
use crate::statistic::host::{Statistic, Values};

const SECOND: u64 = 1_000_000_000;
const GIB: u64 = 1 << 30;

/// An engine with a clock, and a host with so much memory.
struct World {
    engine: Engine,
    time: u64,
    number: u64,
    told: Vec<(Step, u64)>,
    changes: Vec<crate::lease::Change>,
    units: Vec<crate::circuit::unit::Record>,
    answers: BTreeMap<u64, Answer>,
    /// What was refused, in sentences.
    refusals: Vec<String>,
}

impl World {
    fn new(total: u64, available: u64) -> World {
        let mut world = World {
            engine: engine(),
            time: 100_000 * SECOND,
            number: 0,
            told: Vec::new(),
            changes: Vec::new(),
            units: Vec::new(),
            answers: BTreeMap::new(),
            refusals: Vec::new(),
        };
        world.memory(total, available);
        world
    }

    fn apply(&mut self, reading: Reading) {
        for outcome in self.engine.apply(&Sample { time: self.time, reading }) {
            match outcome {
                Outcome::Lease(change) if change.step == Step::Refused => self.refusals.push(change.sentence),
                Outcome::Lease(change) => {
                    self.told.push((change.step, change.lease.id));
                    self.changes.push(*change);
                }
                Outcome::Unit(record) => self.units.push(*record),
                Outcome::Answer(answer) => {
                    let before = self.answers.insert(answer.number, *answer);
                    assert!(before.is_none(), "a request is answered once");
                }
                _ => {}
            }
        }
    }

    fn memory(&mut self, total: u64, available: u64) {
        let values = [(Statistic::MemoryTotal, total), (Statistic::MemoryAvailable, available)];
        self.apply(Reading::Host(Values::from_iter(values)));
    }

    fn gpu(&mut self, number: &str, total: u64, free: u64, holders: &[(u32, u64)]) {
        use gpu::Statistic::{MemoryFree, MemoryTotal};
        let uuid: std::sync::Arc<str> = format!("GPU-{number}").into();
        let device =
            Device { uuid: uuid.clone(), gpu: number.into(), model: "x".into(), driver: "1".into(), parent: None };
        let values = gpu::Values::from_iter([(MemoryTotal, total), (MemoryFree, free)]);
        self.apply(Reading::Gpu(gpu::Reading::Device { device: device.into(), values }));
        let holders = holders.iter().map(|(pid, bytes)| Holder { pid: *pid, cgroup: None, bytes: Some(*bytes) });
        self.apply(Reading::Gpu(gpu::Reading::Held { uuid, holders: holders.collect() }));
    }

    fn tick(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.time += SECOND;
            self.apply(Reading::Tick);
        }
    }

    fn ask(&mut self, caller: Caller, asked: Asked) -> u64 {
        self.number += 1;
        self.apply(Reading::Request(Box::new(Request { number: self.number, caller, asked })));
        self.number
    }

    fn claim(&mut self, uid: u32, claim: Claim) -> u64 {
        let pid = 1000 + u32::try_from(self.number).unwrap();
        let owner = Owner::Process { pid, started: 1 };
        let used = Use { pids: vec![pid], ..Use::default() };
        self.ask(caller(uid), Asked::Claim { claim, owner, used })
    }

    fn granted(&self, number: u64) -> Granted {
        match &self.answers.get(&number).expect("no answer").body {
            Body::Granted(granted) => granted.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn refused(&self, number: u64) -> (u16, String, Option<Verdict>) {
        let answer = &self.answers.get(&number).expect("no answer");
        match &answer.body {
            Body::Refused { detail, verdict } => (answer.status, detail.clone(), verdict.clone().map(|it| *it)),
            other => panic!("{other:?}"),
        }
    }

    fn verdict(&mut self, need: Need) -> Verdict {
        let ask = crate::lease::Ask { need, ..Default::default() };
        let number = self.ask(caller(0), Asked::Admit(ask));
        match &self.answers[&number].body {
            Body::Verdict(verdict) => verdict.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn release(&mut self, uid: u32, id: u64) -> u16 {
        let number = self.ask(caller(uid), Asked::Release { id });
        self.answers[&number].status
    }

    fn held(&self) -> Vec<u64> {
        self.engine.view().leases.held.keys().copied().collect()
    }
}

fn caller(uid: u32) -> Caller {
    Caller { uid, privileged: uid == 0, high: uid == 0, cgroup: Some("/a".into()), ..Caller::default() }
}

fn part(resource: Resource, amount: u64) -> Part {
    Part { what: "x".into(), resource, amount, error: 0, origin: Origin::Declared, loading: false }
}

fn memory(amount: u64) -> Need {
    Need { parts: vec![part(Resource::Host { memory: Memory::Anonymous }, amount)], ..Need::default() }
}

fn vram(amount: u64) -> Need {
    Need { parts: vec![part(Resource::Vram { gpu: 0 }, amount)], ..Need::default() }
}

fn slot(name: &str) -> Need {
    Need { parts: vec![part(Resource::Slot { name: name.into() }, 1)], ..Need::default() }
}

fn now(need: Need) -> Claim {
    Claim { need, ..Claim::default() }
}

fn waits(need: Need) -> Claim {
    Claim { need, wait_seconds: Some(600), ..Claim::default() }
}

#[test]
fn the_lowest_limit_above_counts_and_leases_within_it() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let ceiling =
        |path: &str, limit| Ceiling { path: path.into(), limit, used: 4 * GIB, reclaimable: GIB, ..Ceiling::default() };
    let ceilings = vec![ceiling("/a/b", None), ceiling("/a", Some(10 * GIB))];
    let inside = Caller { cgroup: Some("/a/b".into()), ceilings, ..caller(0) };
    let ask = |world: &mut World, amount| {
        let number =
            world.ask(inside.clone(), Asked::Admit(crate::lease::Ask { need: memory(amount), ..Default::default() }));
        match &world.answers[&number].body {
            Body::Verdict(verdict) => verdict.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ask(&mut world, 7 * GIB).verdict, Decision::Yes);
    let no = ask(&mut world, 8 * GIB);
    assert_eq!(no.resources[0].limited_by.as_deref(), Some("the limit of /a"));
    assert_eq!((no.verdict, no.resources[0].short), (Decision::No, GIB));
    // A lease of another cgroup of the same limit counts there, one of elsewhere does not.
    for (cgroup, verdict) in [("/c", Decision::Yes), ("/a/d", Decision::No)] {
        let owner = Owner::Process { pid: 9, started: 1 };
        let other = Caller { cgroup: Some(cgroup.into()), ..caller(0) };
        world.ask(other, Asked::Claim { claim: now(memory(GIB)), owner, used: Use::default() });
        assert_eq!(ask(&mut world, 7 * GIB).verdict, verdict, "{cgroup}");
    }
    // Mapped files that do not fit are tight, and what nobody knows is no yes.
    let mut need = memory(3 * GIB);
    need.parts.push(part(Resource::Host { memory: Memory::Mapped }, 30 * GIB));
    let number = world.ask(inside.clone(), Asked::Admit(crate::lease::Ask { need, ..Default::default() }));
    assert!(
        matches!(&world.answers[&number].body, Body::Verdict(it) if it.verdict == Decision::Tight),
        "{:?}",
        world.answers[&number]
    );
    let blind = Caller { missing: Some("the cgroup of the caller".into()), ..caller(0) };
    let number = world.ask(blind, Asked::Admit(crate::lease::Ask { need: memory(1), ..Default::default() }));
    assert!(matches!(&world.answers[&number].body, Body::Verdict(it) if it.verdict == Decision::Unknown));
}

#[test]
fn who_came_first_is_first_and_who_needs_less_goes_on_only_with_what_is_left() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let holder = world.claim(0, now(memory(80 * GIB)));
    let large = world.claim(0, waits(memory(90 * GIB)));
    let small = world.claim(0, waits(memory(15 * GIB)));
    world.tick(1);
    assert!(!world.answers.contains_key(&small), "20 are free, but they are kept for who came first");
    let high = world.claim(0, Claim { priority: Priority::High, ..waits(memory(15 * GIB)) });
    assert!(world.answers.contains_key(&high), "more important work comes first");
    let id = world.granted(holder).id;
    assert_eq!(world.release(0, id), 200);
    assert!(!world.answers.contains_key(&large), "85 are free");
    let id = world.granted(high).id;
    world.release(0, id);
    assert_eq!(world.granted(large).verdict.verdict, Decision::Yes);
    assert!(!world.answers.contains_key(&small));
}

#[test]
fn who_waits_for_long_comes_before_who_arrives_then() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let holder = world.claim(0, now(memory(80 * GIB)));
    let low = world.claim(0, Claim { priority: Priority::Low, ..waits(memory(50 * GIB)) });
    world.tick(121);
    let normal = world.claim(0, waits(memory(50 * GIB)));
    let critical = world.claim(0, Claim { priority: Priority::Critical, ..waits(memory(50 * GIB)) });
    let id = world.granted(holder).id;
    world.release(0, id);
    assert!(world.answers.contains_key(&critical) && world.answers.contains_key(&low), "{:?}", world.told);
    assert!(!world.answers.contains_key(&normal));
}

#[test]
fn a_wait_ends_with_its_time_its_owner_or_its_caller_and_what_never_fits_does_not_wait() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    world.claim(0, now(memory(80 * GIB)));
    let never = world.claim(0, waits(memory(200 * GIB)));
    assert_eq!(world.refused(never).0, 409);
    let late = world.claim(0, Claim { wait_seconds: Some(2), ..waits(memory(50 * GIB)) });
    let dead = world.claim(0, waits(memory(50 * GIB)));
    let left = world.claim(0, waits(memory(50 * GIB)));
    world.tick(2);
    let (status, _, verdict) = world.refused(late);
    assert_eq!((status, verdict.unwrap().verdict), (409, Decision::No));
    world.apply(Reading::Lease(Kept::Gone { id: 3 }));
    assert_eq!(world.refused(dead).0, 409);
    world.ask(caller(0), Asked::Withdraw { number: left });
    assert!(!world.answers.contains_key(&left));
    assert!(world.engine.view().leases.waiting.is_empty());
    // Who was granted something and never learned of it has nothing.
    let unheard = world.claim(0, now(memory(GIB)));
    assert_eq!(world.held().len(), 2);
    world.ask(caller(7), Asked::Withdraw { number: unheard });
    assert_eq!(world.held().len(), 2, "it is not the caller's");
    world.ask(caller(0), Asked::Withdraw { number: unheard });
    assert_eq!(world.held().len(), 1);
}

#[test]
fn nobody_changes_another_s_and_nobody_takes_more_than_a_share() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let mine = world.claim(7, now(memory(40 * GIB)));
    let id = world.granted(mine).id;
    for uid in [8, 9] {
        assert_eq!(world.release(uid, id), 403);
        let number = world.ask(caller(uid), Asked::Settled { id });
        assert_eq!(world.refused(number).0, 403);
    }
    assert_eq!(world.release(7, 999), 404);
    for (gib, expected) in [(11, 429), (51, 403)] {
        let more = world.claim(7, now(memory(gib * GIB)));
        let (status, detail, _) = world.refused(more);
        assert!(status == expected && detail.contains("50 %"), "{status}: {detail}");
    }
    let other = world.claim(8, now(memory(11 * GIB)));
    world.granted(other);
    let high = world.claim(7, Claim { priority: Priority::High, ..now(memory(1)) });
    assert_eq!(world.refused(high).0, 403);
    for _ in 0..Limits::default().waiting {
        world.claim(7, waits(slot("x")));
    }
    let one = world.engine.view().leases.waiting.len();
    assert_eq!(one, Limits::default().waiting - 1, "one has the slot");
    world.claim(7, waits(slot("x")));
    let full = world.claim(7, waits(slot("x")));
    assert_eq!(world.refused(full).0, 429);
    assert_eq!(world.release(0, id), 200, "root may");
}

#[test]
fn claims_of_one_user_that_wait_keep_and_get_no_more_than_its_share() {
    let mut world = World::new(100 * GIB, 100 * GIB);
    let both = |gib| Need { parts: [slot("x"), memory(gib * GIB)].map(|need| need.parts).concat(), ..Need::default() };
    let first = world.claim(7, now(slot("x")));
    let first = world.granted(first).id;
    let waiting: Vec<u64> = (0..4).map(|_| world.claim(7, waits(both(40)))).collect();
    assert!(waiting.iter().all(|number| !world.answers.contains_key(number)));
    // Only one of the four could be had beside what others have.
    let other = world.claim(8, now(memory(50 * GIB)));
    let other = world.granted(other).id;
    assert_eq!(world.release(8, other), 200);
    assert_eq!(world.release(7, first), 200);
    let granted = world.granted(waiting[0]).id;
    // With the slot of its own back, the next would be more than half.
    let slots = BTreeMap::from([("x".to_owned(), 9)]);
    world.apply(Reading::Lease(Kept::Limits(Limits { slots, ..Limits::default() })));
    world.tick(2);
    assert!(!world.answers.contains_key(&waiting[1]), "{:?}", world.answers[&waiting[1]]);
    assert_eq!(world.release(7, granted), 200);
    world.granted(waiting[1]);
}

#[test]
fn a_slot_of_the_configuration_is_shared_and_any_other_is_its_user_s() {
    let mut world = World::new(GIB, GIB);
    let slots = BTreeMap::from([("licence".to_owned(), 2)]);
    world.apply(Reading::Lease(Kept::Limits(Limits { slots, ..Limits::default() })));
    let claims: Vec<u64> = [7, 8, 9].map(|uid| world.claim(uid, now(slot("licence")))).to_vec();
    assert_eq!(claims.iter().map(|it| world.answers[it].status).collect::<Vec<_>>(), [201, 201, 409]);
    let own: Vec<u64> = [7, 8, 7].map(|uid| world.claim(uid, now(slot("mine")))).to_vec();
    assert_eq!(own.iter().map(|it| world.answers[it].status).collect::<Vec<_>>(), [201, 201, 409]);
}

#[test]
fn what_matters_less_waits_at_a_high_level_and_a_limit_is_kept_only_if_it_is_to_be() {
    let mut world = World::new(100 * GIB, GIB);
    // All of what the host may use is in use, so that its level is critical.
    world.tick(2);
    let of = |world: &mut World, priority| {
        let ask = crate::lease::Ask { need: memory(1), priority, ..Default::default() };
        let number = world.ask(caller(0), Asked::Admit(ask));
        match &world.answers[&number].body {
            Body::Verdict(verdict) => verdict.clone(),
            other => panic!("{other:?}"),
        }
    };
    let verdicts = Priority::ALL.map(|priority| of(&mut world, priority).verdict);
    assert_eq!(verdicts, [Decision::Wait, Decision::Wait, Decision::Wait, Decision::Wait, Decision::Yes]);
    assert!(
        of(&mut world, Priority::High).reason.starts_with("this host is at level 4"),
        "{:?}",
        of(&mut world, Priority::High)
    );
    let mut world = World::new(100 * GIB, 50 * GIB);
    assert_eq!(world.verdict(memory(50 * GIB)).verdict, Decision::Yes);
    world.apply(Reading::Lease(Kept::Limits(Limits { within: true, ..Limits::default() })));
    assert_eq!(world.verdict(memory(50 * GIB)).resources[0].available, Some(40 * GIB));
}
