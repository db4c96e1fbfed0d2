//! Whatever clients do, in whatever order.

use proptest::prelude::*;

use super::*;

/// What a client does.
#[derive(Clone, Debug)]
enum Act {
    Claim { uid: u32, priority: u8, amount: u64, wait: Option<u64> },
    Release(usize),
    Die(usize),
    Leave(usize),
    Grow(usize, u64),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..3_u32, 0..5_u8, 1..60_u64, prop::option::of(1..40_u64))
            .prop_map(|(uid, priority, amount, wait)| Act::Claim { uid, priority, amount, wait }),
        2 => (0..64_usize).prop_map(Act::Release),
        1 => (0..64_usize).prop_map(Act::Die),
        1 => (0..64_usize).prop_map(Act::Leave),
        2 => (0..64_usize, 0..60_u64).prop_map(|(at, amount)| Act::Grow(at, amount)),
        2 => (1..20_u64).prop_map(Act::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Nothing is promised twice, nothing is lost or leaked, and of equal claims the first is the first.
    #[test]
    fn whatever_clients_do_the_books_are_right(acts in prop::collection::vec(act(), 1..80)) {
        let mut world = World::new(100 * GIB, 100 * GIB);
        // Every claim: its number, and whether it is over for a reason of the test's own.
        let mut asked: Vec<(u64, Claim, u32)> = Vec::new();
        let mut left: Vec<u64> = Vec::new();
        for act in acts {
            let held = world.held();
            let waiting: Vec<u64> = world.engine.view().leases.waiting.keys().copied().collect();
            let nth = |ids: &[u64], at: usize| (!ids.is_empty()).then(|| ids[at % ids.len()]);
            match act {
                Act::Claim { uid, priority, amount, wait } => {
                    let priority = Priority::try_from(priority).unwrap();
                    let claim = Claim { priority, wait_seconds: wait, ..now(memory(amount * GIB)) };
                    let number = world.claim(uid, claim.clone());
                    asked.push((number, claim, uid));
                }
                Act::Release(at) => if let Some(id) = nth(&held, at) {
                    prop_assert_eq!(world.release(0, id), 200);
                },
                Act::Die(at) => if let Some(id) = nth(&[held, waiting].concat(), at) {
                    world.apply(Reading::Lease(Kept::Gone { id }));
                },
                Act::Leave(at) => if let Some(id) = nth(&waiting, at) {
                    let waiting = &world.engine.view().leases.waiting[&id];
                    let (number, uid) = (waiting.number, waiting.lease.uid);
                    left.push(number);
                    world.ask(caller(uid), Asked::Withdraw { number });
                },
                Act::Grow(at, amount) => if let Some(id) = nth(&held, at) {
                    let hard = world.engine.view().leases.held[&id].want.hard.peak.min(amount * GIB);
                    world.apply(Reading::Lease(Kept::Used { id, used: Use { hard, ..Use::default() } }));
                    // As in a round: the host is read, too, before anything follows from it.
                    let used: u64 = world.engine.view().leases.held.values().map(|lease| lease.seen.hard).sum();
                    world.memory(100 * GIB, 100 * GIB - used);
                    world.apply(Reading::Tick);
                },
                Act::Pass(seconds) => world.tick(seconds),
            }
            let used: u64 = world.engine.view().leases.held.values().map(|lease| lease.spent.hard).sum();
            world.memory(100 * GIB, 100 * GIB - used);
            let leases = &world.engine.view().leases;
            let granted: u64 = leases.held.values().map(|lease| lease.want.hard.peak).sum();
            prop_assert!(granted <= 100 * GIB, "{granted} were promised");
            // Of the claims that wait, none could be served before one that came first with the same need and priority.
            for (number, claim, _) in &asked {
                let answered = world.answers.get(number).is_some_and(|answer| answer.status == 201);
                let later = asked.iter().filter(|(other, same, _)| {
                    other > number && same.need == claim.need && same.priority == claim.priority
                });
                let waits = leases.waiting.values().any(|waiting| waiting.number == *number);
                if waits && !answered {
                    for (other, _, _) in later {
                        let overtook = world.answers.get(other).is_some_and(|answer| answer.status == 201);
                        prop_assert!(!overtook, "{other} overtook {number}");
                    }
                }
            }
        }
        // In the end every claim was answered, or its caller left; and every grant ends with its owner.
        world.tick(60);
        for (number, ..) in &asked {
            let answers = world.answers.contains_key(number);
            prop_assert!(answers != left.contains(number), "{number}");
        }
        prop_assert!(world.engine.view().leases.waiting.is_empty());
        for id in world.held() {
            world.apply(Reading::Lease(Kept::Gone { id }));
        }
        prop_assert!(world.held().is_empty());
        world.memory(100 * GIB, 100 * GIB);
        let count = |step: fn(Step) -> bool| world.told.iter().filter(|(it, _)| step(*it)).map(|(_, id)| id).collect::<std::collections::BTreeSet<_>>();
        let begun = count(|step| matches!(step, Step::Waits | Step::Granted));
        prop_assert_eq!(begun, count(Step::is_end));
        // Its level may take a while to fall.
        let free = world.verdict(memory(100 * GIB));
        prop_assert_eq!((free.resources[0].verdict, free.ahead), (Decision::Yes, None));
    }
}
