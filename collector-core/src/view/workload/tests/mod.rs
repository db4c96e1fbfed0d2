//! Tests of workloads: which one is charged, from creation to the end of the grace.

use super::*;
use crate::sample::{Probe, ProbeState};
use crate::stage::Stage;

mod books;
mod name;
mod place;

const MEMORY: u64 = 5;
const IO: u64 = 3;
const GRACE: u64 = 60;

struct World {
    workloads: Workloads,
    coverage: Coverage,
}

impl World {
    fn new(max: usize) -> World {
        let start = Start {
            version: String::new(),
            kernel: String::new(),
            memory_hierarchy: MEMORY,
            io_hierarchy: IO,
            workload_max: max,
            workload_grace: GRACE,
            own: None,
            history: None,
            level: None,
            starved: None,
            leak: None,
            controllers: None,
        };
        World { workloads: Workloads::new(1, &start), coverage: Coverage::default() }
    }

    fn born(&mut self, id: Id, path: &str, time: u64) {
        self.workloads.born(id, path, time, &mut self.coverage);
    }

    fn renamed(&mut self, id: Id, path: &str) {
        self.workloads.renamed(id, path, 50, &mut self.coverage);
    }

    fn joined(&mut self, id: Id, with: Id) {
        self.workloads.joined(id, with, 50, &mut self.coverage);
    }

    /// The host names a container.
    fn named(&mut self, id: Id, name: &str) {
        self.workloads.named(id, &Names { name: Some(name.into()), ..Names::default() });
    }

    fn tick(&mut self, time: u64) {
        self.workloads.tick(time, &mut self.coverage);
    }

    fn charge(&mut self, id: Id, kills: u64) {
        self.workloads.charge(Some(id)).limit_kills += kills;
    }

    /// Every workload with what it was charged.
    fn charged(&self) -> Vec<(&str, u64)> {
        self.workloads.iter().map(|workload| (&*workload.name, workload.amounts.limit_kills)).collect()
    }
}

fn memory(id: u64) -> Id {
    Id { hierarchy: MEMORY, id }
}

fn io(id: u64) -> Id {
    Id { hierarchy: IO, id }
}

#[test]
fn the_cgroups_of_two_hierarchies_at_one_path_are_one_workload() {
    let mut world = World::new(9);
    world.born(memory(1), "/a", 2);
    world.born(io(1), "/a", 3);
    world.born(Id { hierarchy: 4, id: 1 }, "/cpu", 3);
    world.charge(memory(1), 1);
    world.charge(io(1), 2);
    assert_eq!(world.charged(), [("other", 0), ("/a", 3)]);

    world.workloads.died(memory(1), 10);
    world.tick(10 + GRACE);
    assert_eq!(world.workloads.count(), 1, "it lives while one of its cgroups does");
    world.workloads.died(io(1), 100);
    world.tick(99 + GRACE);
    assert_eq!(world.workloads.count(), 1, "it stays for the grace");
    world.tick(100 + GRACE);
    assert_eq!(world.charged(), [("other", 0)]);
    assert_eq!(world.workloads.name(io(1)), None);
}

#[test]
fn counts_read_after_the_end_are_charged_to_the_workload() {
    let mut world = World::new(9);
    world.born(memory(1), "/a", 2);
    world.workloads.died(memory(1), 10);
    world.charge(memory(1), 1);
    assert_eq!(world.charged(), [("other", 0), ("/a", 1)]);
}

#[test]
fn created_again_within_the_grace_it_continues_and_later_it_starts_at_zero() {
    let mut world = World::new(9);
    world.born(memory(1), "/a", 2);
    world.charge(memory(1), 1);
    world.workloads.died(memory(1), 10);
    world.born(memory(2), "/a", 20);
    world.charge(memory(2), 1);
    world.tick(10 + GRACE);
    assert_eq!(world.charged(), [("other", 0), ("/a", 2)]);

    world.workloads.died(memory(2), 100);
    world.tick(100 + GRACE);
    world.born(memory(3), "/a", 200);
    assert_eq!(world.charged(), [("other", 0), ("/a", 0)]);
    assert_eq!(world.workloads.iter().last().unwrap().created, 200);
}

#[test]
fn a_cgroup_that_a_walk_does_not_find_has_ended() {
    let mut world = World::new(9);
    world.born(memory(1), "/a", 2);
    world.born(memory(2), "/b", 2);
    world.workloads.walked(3);
    world.workloads.walk();
    world.born(memory(1), "/a", 5);
    world.born(memory(3), "/c", 5);
    world.workloads.walked(6);
    world.tick(6 + GRACE);
    assert_eq!(world.charged(), [("other", 0), ("/a", 0), ("/c", 0)]);
}

#[test]
fn a_walk_finds_a_move_that_was_missed() {
    let mut world = World::new(9);
    world.born(memory(1), "/a", 2);
    world.charge(memory(1), 1);
    world.born(memory(1), "/b", 3);
    world.charge(memory(1), 1);
    assert_eq!(world.charged(), [("other", 0), ("/a", 1), ("/b", 1)]);
    world.tick(3 + GRACE);
    assert_eq!(world.charged(), [("other", 0), ("/b", 1)]);
}

#[test]
fn a_workload_over_the_cap_goes_to_other_until_there_is_room() {
    let mut world = World::new(1);
    world.born(memory(1), "/a", 2);
    world.born(memory(2), "/b", 2);
    world.charge(memory(2), 1);
    assert_eq!(world.charged(), [("other", 1), ("/a", 0)]);
    world.tick(3);
    world.tick(4);
    assert_eq!(world.coverage.lost(Stage::Workload), 1, "once");
    assert_eq!(world.workloads.name(memory(2)).as_deref(), Some("other"));
    world.workloads.died(memory(1), 3);
    world.tick(3 + GRACE);
    world.born(memory(2), "/b", 100);
    world.charge(memory(2), 1);
    assert_eq!(world.charged(), [("other", 1), ("/b", 1)]);
}

#[test]
fn ended_workloads_make_room_for_new_ones() {
    let mut world = World::new(2);
    world.born(memory(1), "/a", 2);
    world.born(memory(2), "/b", 2);
    world.workloads.died(memory(2), 10);
    world.born(memory(3), "/c", 11);
    assert_eq!(world.charged(), [("other", 0), ("/a", 0), ("/c", 0)]);
    assert_eq!(world.workloads.name(memory(2)), None);
    world.tick(12);
    assert_eq!(world.coverage.lost(Stage::Workload), 1, "its series left before their grace was over");

    // Many short-lived workloads, and one that stays.
    for id in 10..1000 {
        world.born(memory(id), &format!("/short/{id}"), 12);
        world.workloads.died(memory(id), 12);
    }
    world.workloads.died(memory(3), 13);
    world.born(memory(1000), "/stays", 13);
    world.charge(memory(1000), 1);
    assert_eq!(world.charged().last(), Some(&("/stays", 1)));
}

#[test]
fn the_number_of_cgroups_is_bounded() {
    let mut world = World::new(1);
    for id in 0..100 {
        world.born(memory(id), "/a", 2);
    }
    assert_eq!(world.workloads.cgroups.len(), CGROUPS_PER_WORKLOAD);
    assert_eq!(world.coverage.lost(Stage::Workload), 100 - CGROUPS_PER_WORKLOAD as u64);
}

#[test]
fn other_is_never_removed() {
    let mut world = World::new(0);
    world.born(memory(1), "/a", 2);
    world.workloads.died(memory(1), 3);
    world.tick(u64::MAX);
    world.charge(memory(1), 1);
    assert_eq!(world.workloads.iter().count(), 1);
}

#[test]
fn a_rename_moves_the_cgroups_below_and_the_other_hierarchy_follows() {
    let mut world = World::new(9);
    for id in [memory, io] {
        world.born(id(1), "/a", 2);
        world.born(id(2), "/a/x", 2);
        world.born(id(3), "/ab", 2);
    }
    world.charge(memory(2), 1);
    world.renamed(memory(1), "/z");
    world.renamed(io(1), "/z");
    world.charge(io(2), 1);
    assert_eq!(world.charged(), [("other", 0), ("/ab", 0), ("/z", 0), ("/z/x", 2)]);
}

#[test]
fn a_rename_onto_a_workload_joins_it() {
    let mut world = World::new(9);
    world.born(memory(1), "/a", 2);
    world.born(memory(2), "/b", 2);
    world.workloads.died(memory(2), 3);
    world.charge(memory(1), 1);
    world.renamed(memory(1), "/b");
    world.charge(memory(1), 1);
    assert_eq!(world.charged(), [("other", 0), ("/a", 1), ("/b", 1)]);
    world.tick(50 + GRACE);
    assert_eq!(world.charged(), [("other", 0), ("/b", 1)]);
}

#[test]
fn a_rename_moves_nothing_that_ended_before_and_makes_nobody_young() {
    let mut world = World::new(9);
    world.born(memory(1), &docker('a'), 2);
    world.born(memory(2), &format!("{}/init", docker('a')), 3);
    world.workloads.died(memory(2), 4);
    world.renamed(memory(1), "/z");
    assert_eq!(world.workloads.of(memory(1)).unwrap().recent.born, Some(2));
    world.born(memory(3), &docker('a'), 51);
    world.charge(memory(2), 1);
    world.charge(memory(3), 2);
    assert_eq!(world.charged(), [("other", 0), ("/z", 1), ("docker/aaaaaaaaaaaa", 2)]);
    world.workloads.died(memory(1), 60);
    world.tick(60 + GRACE);
    assert_eq!(world.charged(), [("other", 0), ("docker/aaaaaaaaaaaa", 2)]);
}

#[test]
fn a_rename_of_an_unknown_cgroup_creates_it() {
    let mut world = World::new(9);
    world.renamed(memory(1), "/a");
    assert_eq!(world.workloads.name(memory(1)).as_deref(), Some("/a"));
}

#[test]
fn amounts_wait_for_their_cgroup() {
    let mut world = World::new(9);
    world.charge(memory(1), 1);
    world.charge(memory(1), 1);
    assert_eq!(world.charged(), [("other", 0)]);
    world.born(memory(1), "/a", 2);
    assert_eq!(world.charged(), [("other", 0), ("/a", 2)]);
    assert_eq!(world.coverage.lost(Stage::UnknownCgroup), 0);
}

#[test]
fn amounts_that_waited_too_long_go_to_other() {
    let mut world = World::new(9);
    world.charge(memory(1), 1);
    for time in 0..u64::from(pending::MAX_TICKS) {
        assert_eq!(world.charged(), [("other", 0)]);
        world.tick(time);
    }
    assert_eq!(world.charged(), [("other", 1)]);
    assert_eq!(world.coverage.lost(Stage::UnknownCgroup), 1);
}

#[test]
fn what_was_under_way_when_the_probes_were_attached_is_not_lost() {
    let mut world = World::new(9);
    let probe = Probe { program: "cgroup_mkdir".into(), state: ProbeState::Attached, reason: None };
    world.coverage.probe(&probe);
    let wait = |world: &mut World, id: u64| {
        world.charge(memory(id), 1);
        (0..u64::from(pending::MAX_TICKS)).for_each(|time| world.tick(time));
        world.coverage.lost(Stage::UnknownCgroup)
    };
    assert_eq!(wait(&mut world, 1), 0, "every creation was reported: it is older than the agent");
    assert_eq!(world.charged(), [("other", 1)]);
    world.coverage.lose(Stage::RingCritical, 1);
    assert_eq!(wait(&mut world, 2), 1, "its creation may have been the report that was lost");
    assert_eq!(world.charged(), [("other", 2)]);
}

#[test]
fn amounts_of_a_hierarchy_that_is_not_mounted_go_to_other() {
    let mut world = World::new(9);
    world.charge(Id { hierarchy: 0, id: 1 }, 1);
    assert_eq!(world.charged(), [("other", 1)]);
    (0..u64::from(pending::MAX_TICKS)).for_each(|time| world.tick(time));
    assert_eq!(world.coverage.lost(Stage::UnknownCgroup), 0);
}

#[test]
fn the_number_of_waiting_amounts_is_bounded() {
    let mut world = World::new(9);
    for id in 0..1000 {
        world.charge(memory(id), 1);
    }
    assert_eq!(world.charged(), [("other", 1000 - pending::MAX_WAITING as u64)]);
    world.tick(1);
    assert_eq!(world.coverage.lost(Stage::UnknownCgroup), 1000 - pending::MAX_WAITING as u64);
}

#[test]
fn a_path_that_looks_like_other_is_refused() {
    let mut world = World::new(9);
    world.born(memory(1), "other", 2);
    world.renamed(memory(1), "other");
    assert_eq!(world.workloads.count(), 0);
    assert_eq!(world.coverage.lost(Stage::Malformed), 2);
}

/// The path of a Docker container, by a digit of its id.
fn docker(digit: char) -> String {
    format!("/docker/{}", digit.to_string().repeat(64))
}
