//! A property test: slots, names, cgroups and their tops are consistent after any events.

use super::*;
use crate::statistic::workload::Statistic;

/// Asserts that the tables are consistent.
fn check(workloads: &Workloads) {
    let Workloads { slots, free, by_name, tops, cgroups, .. } = workloads;
    let mut live = vec![0; slots.len()];
    let mut members = HashMap::new();
    for member in cgroups.values() {
        assert!(!slots[member.slot].name.is_empty(), "{member:?} of nobody");
        live[member.slot] += usize::from(member.dead_since.is_none());
        if let Some(top) = member.own() {
            assert_eq!(tops[top].slot, member.slot, "{member:?}");
            *members.entry(top).or_insert(0) += 1;
        }
    }
    for (slot, workload) in slots.iter().enumerate() {
        assert_eq!(workload.live, live[slot], "{workload:?}");
        let known = slot == OTHER_SLOT || by_name.get(&workload.name) == Some(&slot);
        assert_ne!(known, free.contains(&slot), "{workload:?}");
        assert!(slot == OTHER_SLOT || free.contains(&slot) || (workload.live == 0) == workload.empty_since.is_some());
    }
    assert_eq!(slots.len(), 1 + by_name.len() + free.len());
    assert_eq!(members.len(), tops.len());
    members.iter().for_each(|(top, count)| assert_eq!(tops[*top].cgroups(), *count));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_tables_are_consistent_after_any_events(events in proptest::collection::vec((0..12u8, 0..6u64, 0..6usize, 0..9u64), 0..120)) {
        let mut world = World::new(3);
        let paths = ["/", "/a", "/a/b", "/a/b.service/x", &docker('a'), &format!("{}/x", docker('b'))];
        let mut time = 1;
        for (event, id, path, later) in events {
            time += later;
            let (cgroup, other) = (if id % 2 == 0 { memory(id) } else { io(id) }, memory(later % 6));
            match event {
                0 | 1 => world.born(cgroup, paths[path], time),
                2 => world.workloads.died(cgroup, time),
                3 => world.renamed(cgroup, paths[path]),
                4 => world.named(cgroup, ["web", "db", "a", "b", "", "web"][path]),
                5 => world.joined(cgroup, other),
                6 => world.workloads.walk(),
                7 => world.workloads.walked(time),
                8 | 9 => world.measured(cgroup, &[(Statistic::MemoryCurrent, later / 2)], time),
                10 => world.workloads.make_place(cgroup),
                _ => world.tick(time + 20 * later),
            }
            world.charge(cgroup, 1);
            check(&world.workloads);
        }
    }
}
