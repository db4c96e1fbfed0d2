//! Tests of places: who gets one, who gives way, and what is known of a cgroup without one.

use super::*;
use crate::statistic::workload::Statistic;

const MIB: u64 = 1 << 20;

impl World {
    pub fn measured(&mut self, id: Id, numbers: &[(Statistic, u64)], time: u64) {
        let values = numbers.iter().copied().collect();
        self.workloads.measured(time, id, &values, true);
    }

    /// Its memory, and nothing else, is read.
    fn holds(&mut self, id: Id, bytes: u64, time: u64) {
        self.measured(id, &[(Statistic::MemoryCurrent, bytes)], time);
    }

    /// A tick with everything that follows from it.
    fn round(&mut self, time: u64) {
        self.tick(time);
        let (holders, mut log) = (std::iter::empty(), Default::default());
        let all = Pass { all: true, whole: false };
        self.workloads.record((time, None), all, holders, &mut log, &mut |_, _| {});
    }

    fn lost(&self) -> u64 {
        self.coverage.lost(Stage::Workload)
    }

    fn name(&self, id: Id) -> String {
        self.workloads.name(id).unwrap().to_string()
    }

    fn shown(&self) -> Vec<&str> {
        self.workloads.shown().skip(1).map(|workload| &*workload.name).collect()
    }
}

/// Of a user, whose cgroups get a quarter of the places.
fn users(number: u64) -> String {
    format!("/user.slice/user-1000.slice/user@1000.service/app.slice/app{number}.service")
}

#[test]
fn a_user_answers_for_workloads_without_a_place_too() {
    let mut world = World::new(8);
    for id in 1..6 {
        world.born(memory(id), &users(id), 2);
    }
    assert_eq!(world.workloads.count(), 2, "a quarter of the places");
    for number in 1..6 {
        assert_eq!(world.workloads.owner(&format!("user-1000/app{number}.service")), "user-1000");
    }
    assert_eq!(world.workloads.owner("user-10001/app1.service"), "user-10001/app1.service");
}

fn mount(number: u64) -> String {
    format!("/system.slice/run-{number}.mount")
}

#[test]
fn a_cgroup_that_holds_nothing_gives_way_to_one_that_does() {
    let mut world = World::new(2);
    for id in 1..4 {
        world.born(memory(id), &mount(id), 2);
    }
    world.born(memory(9), &docker('a'), 2);
    world.named(memory(9), "vllm");
    assert_eq!((world.name(memory(1)).as_str(), world.name(memory(9)).as_str()), ("run-1.mount", "other"));
    for id in 1..4 {
        world.holds(memory(id), 0, 3);
    }
    world.holds(memory(9), 5 * MIB, 3);
    world.round(3);
    assert_eq!(world.name(memory(9)), "docker/vllm", "under the name that came before the place");
    let workload = world.workloads.of(memory(9)).unwrap();
    assert_eq!((workload.statistics.get(Statistic::MemoryCurrent), workload.created), (Some(5 * MIB), 2));
    assert_eq!(world.lost(), 0, "nothing is lost with a cgroup that holds nothing");
    // One that is seen to hold something later takes the place of the last one that does not.
    world.holds(memory(1), MIB, 4);
    world.holds(memory(3), MIB, 4);
    world.round(4);
    let names = [1, 2, 3, 9].map(|id| world.name(memory(id)));
    assert_eq!(names.iter().filter(|name| *name == "other").count(), 2, "{names:?}");
    assert_eq!(world.lost(), 1, "the one that holds something and has no place");
    world.holds(memory(1), 2 * MIB, 5);
    world.holds(memory(3), 2 * MIB, 5);
    world.round(5);
    assert_eq!((world.lost(), world.workloads.count()), (1, 2), "counted once");
}

#[test]
fn a_new_cgroup_gets_a_place_at_once_if_another_is_known_to_hold_nothing() {
    let mut world = World::new(2);
    world.born(memory(1), &mount(1), 2);
    world.born(memory(2), "/a", 2);
    world.holds(memory(1), 0, 3);
    world.holds(memory(2), MIB, 3);
    world.round(3);
    world.born(memory(3), "/b", 4);
    world.charge(memory(3), 1);
    assert_eq!(world.charged(), [("other", 0), ("/a", 0), ("/b", 1)]);
    world.charge(memory(1), 1);
    assert_eq!(world.charged()[0], ("other", 1));
    world.workloads.died(memory(1), 5);
    world.round(5 + GRACE);
    assert_eq!(world.workloads.name(memory(1)), None);
}

#[test]
fn what_is_nested_and_what_is_in_other_hierarchies_follows() {
    let mut world = World::new(1);
    world.born(memory(1), &mount(1), 2);
    world.born(memory(2), "/system.slice/a.service", 2);
    world.born(memory(3), "/system.slice/a.service/worker", 2);
    world.born(io(2), "/system.slice/a.service", 2);
    world.joined(Id { hierarchy: 4, id: 7 }, memory(2));
    world.holds(memory(1), 0, 3);
    world.holds(memory(2), MIB, 3);
    world.round(3);
    for id in [memory(2), memory(3), io(2), Id { hierarchy: 4, id: 7 }] {
        assert_eq!(world.name(id), "a.service", "{id:?}");
    }
    world.workloads.died(memory(2), 9);
    for id in [memory(3), io(2), Id { hierarchy: 4, id: 7 }] {
        world.workloads.died(id, 10);
    }
    world.round(10 + GRACE);
    assert_eq!(world.workloads.count(), 0);
}

#[test]
fn of_a_killed_cgroup_without_a_place_name_and_limit_are_known() {
    let mut world = World::new(1);
    world.born(memory(1), "/a", 2);
    world.holds(memory(1), MIB, 3);
    world.born(memory(2), &docker('a'), 2);
    world.born(memory(3), &format!("{}/init", docker('a')), 2);
    world.named(memory(2), "vllm");
    world.measured(memory(2), &[(Statistic::MemoryCurrent, MIB), (Statistic::MemoryLimit, 64 * MIB)], 3);
    world.round(4);
    world.workloads.make_place(memory(3));
    assert_eq!(world.name(memory(3)), "other", "nobody gives way");
    for id in [2, 3] {
        let found = world.workloads.known(memory(id)).unwrap();
        assert_eq!((&*found.name, &*found.identity.top), ("docker/vllm", &*docker('a')));
        assert_eq!(found.statistics.get(Statistic::MemoryLimit), Some(64 * MIB));
        assert!(found.identity.container_id.is_some());
    }
    world.measured(memory(2), &[(Statistic::MemoryCurrent, 0), (Statistic::MemoryLimit, 64 * MIB)], 5);
    let found = world.workloads.known(memory(2)).unwrap();
    assert_eq!(found.statistics.get(Statistic::MemoryLimit), Some(64 * MIB), "also when the kill left nothing");
    drop(found);
    // As soon as somebody holds nothing, a kill makes the place.
    world.holds(memory(1), 0, 6);
    world.workloads.make_place(memory(3));
    assert_eq!([2, 3].map(|id| world.name(memory(id))), ["docker/vllm", "docker/vllm"]);
}

#[test]
fn a_workload_that_holds_nothing_has_no_series_after_the_grace() {
    let mut world = World::new(9);
    for (id, path) in [(1, "/never"), (2, "/once"), (3, "/killed"), (4, "/unknown"), (5, "/waits")] {
        world.born(memory(id), path, 2);
    }
    world.holds(memory(1), 0, 3);
    world.holds(memory(2), MIB, 3);
    world.holds(memory(3), MIB, 3);
    world.measured(memory(5), &[(Statistic::MemoryCurrent, 0), (Statistic::Populated, 1)], 3);
    world.charge(memory(3), 1);
    world.round(3);
    assert_eq!(world.shown(), ["/killed", "/once", "/unknown", "/waits"]);
    for id in [2, 3] {
        world.holds(memory(id), 0, 4);
    }
    world.round(2 + GRACE);
    assert_eq!(world.shown(), ["/killed", "/once", "/unknown", "/waits"]);
    world.round(4 + GRACE);
    assert_eq!(world.shown(), ["/killed", "/unknown", "/waits"]);
    world.holds(memory(1), 1, 100);
    world.round(100);
    assert_eq!(world.shown(), ["/killed", "/never", "/unknown", "/waits"]);
    // What is gone stays as it was, unless something is counted for it late.
    for id in [1, 2, 5] {
        world.workloads.died(memory(id), 101);
    }
    world.round(102);
    assert_eq!(world.shown(), ["/killed", "/never", "/unknown", "/waits"]);
    world.charge(memory(2), 1);
    world.round(103);
    assert_eq!(world.shown(), ["/killed", "/never", "/once", "/unknown", "/waits"]);
}

#[test]
fn what_is_counted_for_a_cgroup_that_holds_nothing_is_its_own_where_a_place_can_be_made() {
    let mut world = World::new(2);
    for id in 1..5 {
        world.born(memory(id), &mount(id), 2);
        world.holds(memory(id), 0, 2);
    }
    world.round(3);
    let others = |world: &World| (1..5).filter(|id| world.name(memory(*id)) == "other").collect::<Vec<_>>();
    let [first, second, third] = [0, 0, 1].map(|at| {
        let id = others(&world)[at];
        world.charge(memory(id), 1);
        world.holds(memory(id), 0, 3);
        (id, world.name(memory(id)))
    });
    assert_eq!((first.1, second.1), (format!("run-{}.mount", first.0), format!("run-{}.mount", second.0)));
    assert_eq!(third.1, "other", "for both others something was counted");
    world.charge(memory(first.0), 1);
    world.round(4);
    assert_eq!(world.charged()[0], ("other", 1));
    assert_eq!((world.shown().len(), world.lost()), (2, 0), "no series left");
    // One that holds something comes before what was counted, and that is lost.
    world.holds(memory(third.0), MIB, 5);
    world.round(5);
    assert_eq!((world.name(memory(third.0)), world.lost()), (format!("run-{}.mount", third.0), 1));
}

#[test]
fn a_cgroup_without_a_place_keeps_limit_and_birth_when_it_is_renamed() {
    let mut world = World::new(1);
    world.born(memory(1), "/a", 2);
    world.holds(memory(1), MIB, 3);
    world.born(memory(2), "/b", 7);
    world.measured(memory(2), &[(Statistic::MemoryCurrent, MIB), (Statistic::MemoryLimit, 64 * MIB)], 8);
    world.renamed(memory(2), "/c");
    let found = world.workloads.known(memory(2)).unwrap();
    assert_eq!((&*found.name, found.created), ("/c", 7));
    assert_eq!(found.statistics.get(Statistic::MemoryLimit), Some(64 * MIB));
    drop(found);
    world.holds(memory(1), 0, 9);
    world.renamed(memory(2), "/d");
    let workload = world.workloads.of(memory(2)).unwrap();
    assert_eq!((&*workload.name, workload.recent.born), ("/d", Some(7)), "a rename finds a place, too");
    assert_eq!(workload.statistics.get(Statistic::MemoryLimit), Some(64 * MIB));
}

#[test]
fn a_user_with_many_cgroups_leaves_places_to_the_others() {
    let mut world = World::new(8);
    let of = |user: u64, number: u64| format!("/user.slice/user-{user}.slice/user@{user}.service/{number}.scope");
    for number in 0..200 {
        world.born(memory(number), &of(1000, number), 2);
        world.holds(memory(number), MIB, 2);
        world.round(2);
    }
    let mine = |world: &World, user: &str| {
        world.shown().iter().filter(|name| name.starts_with(&format!("user-{user}/"))).count()
    };
    assert_eq!(mine(&world, "1000"), 2);
    // It may have 32 cgroups of the 128 that are known.
    assert_eq!((world.workloads.of(memory(31)).is_some(), world.workloads.of(memory(32)).is_some()), (true, false));
    world.born(memory(900), &docker('a'), 3);
    world.born(memory(901), &of(1001, 1), 3);
    for id in [900, 901] {
        world.holds(memory(id), MIB, 3);
    }
    world.round(3);
    assert!(world.name(memory(900)).starts_with("docker/") && mine(&world, "1001") == 1);
    // Its first two end: two others have their places.
    for number in 0..2 {
        world.workloads.died(memory(number), 4);
    }
    world.round(100);
    for number in 2..20 {
        world.holds(memory(number), MIB, 100);
    }
    world.round(101);
    assert_eq!((mine(&world, "1000"), mine(&world, "1001")), (2, 1), "{:?}", world.shown());
}
