//! Tests of names: nesting, renames, merges and joins.

use super::*;

#[test]
fn a_nested_cgroup_is_charged_to_its_workload() {
    let mut world = World::new(9);
    world.born(memory(1), "/system.slice", 2);
    world.born(memory(2), "/system.slice/ollama.service", 2);
    world.born(memory(3), "/system.slice/ollama.service/runner", 2);
    world.charge(memory(2), 1);
    world.charge(memory(3), 2);
    assert_eq!(world.charged(), [("other", 0), ("ollama.service", 3), ("system.slice", 0)]);
    world.workloads.died(memory(2), 10);
    world.tick(10 + GRACE);
    assert_eq!(world.charged(), [("other", 0), ("ollama.service", 3), ("system.slice", 0)], "the runner lives");
}

#[test]
fn a_container_keeps_its_counters_when_it_gets_its_name() {
    let mut world = World::new(9);
    world.born(memory(1), &docker('a'), 2);
    world.charge(memory(1), 1);
    assert_eq!(world.charged(), [("other", 0), ("docker/aaaaaaaaaaaa", 1)]);
    world.named(memory(1), "web");
    world.named(memory(1), "web");
    world.born(memory(2), &format!("{}/init", docker('a')), 3);
    world.born(io(1), &docker('a'), 3);
    world.charge(memory(2), 1);
    world.charge(io(1), 1);
    assert_eq!(world.charged(), [("other", 0), ("docker/web", 3)]);
    world.named(memory(9), "nobody's");
    assert_eq!(world.workloads.count(), 1);
}

#[test]
fn a_container_that_was_restarted_is_the_same_workload() {
    let mut world = World::new(9);
    world.born(memory(1), &docker('a'), 2);
    world.named(memory(1), "web");
    world.charge(memory(1), 1);
    world.workloads.died(memory(1), 10);
    world.born(memory(2), &docker('b'), 20);
    world.charge(memory(2), 2);
    world.named(memory(2), "web");
    world.charge(memory(2), 4);
    assert_eq!(world.charged(), [("other", 0), ("docker/web", 7)]);
    let workload = world.workloads.iter().last().unwrap();
    assert_eq!((&*workload.identity.top, workload.created), (&*docker('b'), 2));
    world.tick(10 + GRACE);
    assert_eq!(world.charged(), [("other", 0), ("docker/web", 7)], "the first cgroup has left, and only that");
    assert_eq!((world.workloads.cgroups.len(), world.workloads.tops.len()), (1, 1));
    world.workloads.died(memory(2), 100);
    world.tick(100 + GRACE);
    assert_eq!((world.workloads.count(), world.workloads.cgroups.len(), world.workloads.tops.len()), (0, 0, 0));
}

#[test]
fn workloads_of_different_owners_are_never_one() {
    let mut world = World::new(9);
    let uid = "2b6e1f3c-98aa-4b1d-9d7e-0123456789ab";
    let pod = format!("/kubepods/pod{uid}/{}", "a".repeat(64));
    let fake = format!("/user.slice/user-7.slice/user@7.service/docker-{}.scope", "a".repeat(64));
    let own = "/user.slice/user-7.slice/user@7.service/app.slice/x.service";
    let name = |text: &str| Some(Arc::from(text));
    let names = Names { namespace: name("prod"), pod: name("bank-0"), container: name("ledger"), name: None };
    world.born(memory(1), &pod, 2);
    world.born(memory(2), &fake, 2);
    for id in [1, 2] {
        world.workloads.named(memory(id), &names);
        world.charge(memory(id), id);
    }
    assert_eq!(world.charged(), [("other", 0), ("prod/bank-0/ledger", 1), ("user-7/docker/aaaaaaaaaaaa", 2)]);
    let labels = world.workloads.of(memory(2)).unwrap().labels();
    assert_eq!(labels, ["user-7/docker/aaaaaaaaaaaa", "", "", ""]);
    // A namespace can be called like a user.
    let like = Names { namespace: name("user-7"), pod: name("x.service"), container: None, name: None };
    world.born(memory(3), own, 3);
    world.born(memory(4), &format!("/kubepods/pod{}", uid.replace('b', "c")), 3);
    world.workloads.named(memory(4), &like);
    world.charge(memory(3), 3);
    world.charge(memory(4), 4);
    let of = |id| &*world.workloads.of(memory(id)).unwrap().name;
    assert_eq!((of(3), of(4)), ("user-7/x.service", &*format!("pod{}", uid.replace('b', "c"))));
    world.workloads.died(memory(3), 4);
    world.tick(4 + GRACE);
    world.workloads.named(memory(4), &like);
    world.born(memory(5), own, 5 + GRACE);
    let of = |id| &*world.workloads.of(memory(id)).unwrap().name;
    assert_eq!((of(4), of(5)), ("user-7/x.service", own));
}

#[test]
fn a_name_that_comes_after_the_end_is_used() {
    let mut world = World::new(9);
    world.born(memory(1), &docker('a'), 2);
    world.workloads.died(memory(1), 3);
    world.named(memory(1), "web");
    world.charge(memory(1), 1);
    assert_eq!(world.charged(), [("other", 0), ("docker/web", 1)]);
    world.tick(3 + GRACE);
    assert_eq!(world.charged(), [("other", 0)]);
}

#[test]
fn two_containers_with_the_same_name_are_one_workload() {
    let mut world = World::new(9);
    for (id, digit) in [(1, 'a'), (2, 'b'), (3, 'c')] {
        world.born(memory(id), &docker(digit), id);
        world.named(memory(id), "web");
        world.charge(memory(id), 1);
    }
    world.born(memory(4), "/z", 4);
    assert_eq!(world.charged(), [("other", 0), ("/z", 0), ("docker/web", 3)]);
    for id in 1..=3 {
        world.workloads.died(memory(id), 10 * id);
    }
    world.tick(29 + GRACE);
    assert_eq!(world.workloads.count(), 2);
    world.tick(30 + GRACE);
    assert_eq!(world.charged(), [("other", 0), ("/z", 0)]);
}

#[test]
fn a_joined_cgroup_belongs_to_the_workload_of_its_processes() {
    let mut world = World::new(9);
    world.born(memory(1), "/ml", 2);
    world.born(io(1), "/elsewhere", 2);
    world.charge(io(1), 5);
    world.joined(io(1), memory(1));
    world.tick(50 + GRACE);
    assert_eq!(
        world.charged(),
        [("other", 0), ("/ml", 5)],
        "nothing was ever at that path, and what came early is not lost"
    );
    world.joined(Id { hierarchy: 4, id: 1 }, memory(1));
    world.joined(Id { hierarchy: 4, id: 2 }, memory(99));
    world.charge(io(1), 1);
    world.charge(Id { hierarchy: 4, id: 1 }, 2);
    assert_eq!(world.charged(), [("other", 0), ("/ml", 8)]);
    world.born(io(1), "/elsewhere", 60);
    world.charge(io(1), 4);
    world.tick(50 + GRACE);
    assert_eq!(world.charged(), [("other", 0), ("/ml", 12)], "met again on a walk, it stays where it joined");
    world.workloads.died(memory(1), 200);
    world.workloads.died(io(1), 200);
    world.tick(200 + GRACE);
    assert_eq!(world.workloads.count(), 1, "one of the hierarchy that nobody walks is still there");
    world.workloads.died(Id { hierarchy: 4, id: 1 }, 300);
    world.tick(300 + GRACE);
    assert_eq!(world.workloads.count(), 0);
}

#[test]
fn a_cgroup_that_joins_takes_no_amounts_from_another_workload() {
    for dies in [false, true] {
        let mut world = World::new(9);
        world.born(memory(1), "/ml", 2);
        world.born(memory(2), "/web", 2);
        world.born(io(1), "/web", 2);
        world.charge(io(1), 5);
        if dies {
            world.workloads.died(memory(2), 3);
        }
        world.joined(io(1), memory(1));
        world.charge(io(1), 1);
        assert_eq!(world.charged(), [("other", 0), ("/ml", 1), ("/web", 5)]);
    }
}

#[test]
fn nothing_is_left_after_the_last_workload() {
    let mut world = World::new(5);
    for round in 0..200 {
        let (time, id) = (round * 100, round + 1);
        world.born(memory(id), &docker(char::from_digit((round % 16) as u32, 16).unwrap()), time);
        world.born(io(id), &format!("/system.slice/a{}.service/x", round % 7), time);
        world.named(memory(id), ["web", "db"][round as usize % 2]);
        world.joined(io(id), memory(id));
        world.renamed(memory(id), &format!("/moved/{round}"));
        world.workloads.died(memory(id), time + 1);
        world.workloads.died(io(id), time + 1);
        world.tick(time + 90);
    }
    let Workloads { slots, free, by_name, tops, cgroups, .. } = &world.workloads;
    assert_eq!((by_name.len(), tops.len(), cgroups.len()), (0, 0, 0));
    assert_eq!(slots.len(), free.len() + 1);
    assert_eq!(free.iter().collect::<std::collections::BTreeSet<_>>().len(), free.len(), "no slot is free twice");
}
