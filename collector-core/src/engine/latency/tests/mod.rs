//! Days of made-up servers: what is no regression is told as none, and what is one is found in time.

mod server;

use std::f64::consts::TAU;
use std::sync::Arc;

use super::Fold;
use crate::latency::{Limits, State};
use crate::statistic::model::{self, Kind, Server};
use crate::view::coverage::Coverage;
use crate::view::model::{Line, Models, Standing};
use server::{Asked, HOUR, MINUTE, Made, SECOND};

/// The readings of these tests are further apart than those of the agent.
const APART: u64 = 15 * SECOND;

struct World {
    fold: Fold,
    models: Models,
    made: Made,
    /// Times at which something began to be worse, and at which all was well again.
    began: Vec<u64>,
    ended: Vec<u64>,
}

impl World {
    fn new(seed: u64) -> World {
        let (fold, models) = (Fold::default(), Models::default());
        World { fold, models, made: Made::new(seed), began: Vec::new(), ended: Vec::new() }
    }

    fn hear(&mut self, reading: &model::Reading) {
        let before = self.standing().map_or(State::Learning, Standing::state);
        let time = self.made.time;
        self.models.fold(time, reading, &mut Coverage::default());
        self.fold.fold(&mut self.models, time, reading);
        let Some(now) = self.standing().map(Standing::state) else { return };
        match (before, now) {
            (State::Worse, State::Worse) => {}
            (_, State::Worse) => {
                self.began.push(time);
            }
            (State::Worse, _) => self.ended.push(time),
            _ => {}
        }
    }

    fn standing(&self) -> Option<&Standing> {
        Some(&self.models.servers.get("vllm:8000")?.models.get("m")?.standing)
    }

    fn state(&self) -> State {
        self.standing().map_or(State::Learning, Standing::state)
    }

    /// Serves for so long; `asked` gives what is asked after so many nanoseconds.
    fn serve(&mut self, ns: u64, asked: impl Fn(u64) -> Asked) {
        for step in 0..ns / APART {
            let reading = self.made.serve(APART, asked(step * APART));
            self.hear(&reading);
        }
    }
}

/// So many requests a minute, a tenth of them long, as fast as ever.
fn usual(requests: f64) -> Asked {
    Asked { requests, long: 0.1, slow: (1.0, 1.0) }
}

/// A day with a calm night and a busy noon.
fn daily(time: u64, most: f64) -> Asked {
    let day = (time as f64 / (24 * HOUR) as f64 * TAU).cos();
    usual(most * (0.52 - 0.48 * day))
}

/// What happens in a day, besides the load, none of which is a regression: bursts, other prompts, restarts, gaps, jumps of the clock.
fn day(seed: u64, hours: u64) -> World {
    let mut world = World::new(seed);
    let most = [20.0, 60.0, 120.0, 200.0][seed as usize % 4];
    let mut long: f64 = 0.1;
    let mut burst: f64 = 1.0;
    for step in 0..hours * HOUR / APART {
        let chance = &mut world.made.chance;
        let day = daily(step * APART + seed * HOUR, most);
        match chance.share() {
            // About so many times a day.
            share if share < 12.0 / 5760.0 => long = chance.share() * 0.3,
            share if share < 60.0 / 5760.0 => burst = 0.3 + 1.4 * chance.share(),
            share if share < 62.0 / 5760.0 => world.made.restart(),
            share if share < 64.0 / 5760.0 => {
                // It is too busy to answer.
                for _ in 0..3 * MINUTE / APART {
                    let mut silent = world.made.serve(APART, day);
                    silent.answer.iter_mut().for_each(|it| (it.state, it.models) = (model::State::Failed, Vec::new()));
                    world.hear(&silent);
                }
            }
            share if share < 65.0 / 5760.0 => world.made.time -= 40 * MINUTE,
            share if share < 66.0 / 5760.0 => world.made.time += 70 * MINUTE,
            share if share < 67.0 / 5760.0 => {
                let asleep = world.made.silent(20 * MINUTE, model::State::Asleep);
                world.hear(&asleep);
            }
            _ => {}
        }
        let reading = world.made.serve(APART, Asked { requests: day.requests * burst, long, ..day });
        world.hear(&reading);
    }
    world
}

/// How long it has been as usual.
const BEFORE: u64 = 100 * MINUTE;

/// A server that has been as usual for long gets slower. Returns what was told before, and how long it took until it was told.
fn slower(seed: u64, requests: f64, slow: (f64, f64), long: f64) -> (usize, Option<u64>) {
    let mut world = World::new(seed);
    let moves = |time: u64| {
        let requests = requests * (1.0 + 0.2 * (time as f64 / (2 * HOUR) as f64 * TAU).sin());
        Asked { requests, long, slow: (1.0, 1.0) }
    };
    // It begins at any moment of a window.
    world.serve(BEFORE + seed % 4 * APART, moves);
    let (before, from) = (world.began.len(), world.made.time);
    world.serve(10 * MINUTE, |time| Asked { slow, ..moves(time + BEFORE) });
    (before, world.began.get(before).map(|time| time - from))
}

#[test]
fn days_without_a_regression_are_quiet() {
    for seed in 1..=4 {
        let world = day(seed, 24);
        assert!(world.began.is_empty(), "seed {seed}");
        assert_eq!(world.state(), State::Ok, "seed {seed}");
    }
}

/// Of so many servers that get slower, those of which that is known within three minutes.
fn found(of: u64, requests: f64, slow: (f64, f64)) -> usize {
    let told: Vec<(usize, Option<u64>)> = (0..of).map(|seed| slower(seed, requests, slow, 0.1)).collect();
    assert!(told.iter().all(|(before, _)| *before == 0), "{told:?}");
    // A window ends with the first reading after it.
    told.iter().filter(|(_, after)| after.is_some_and(|ns| ns <= 3 * MINUTE + APART)).count()
}

#[test]
fn what_gets_a_third_slower_is_found_within_three_minutes() {
    assert!(found(20, 300.0, (1.3, 1.3)) >= 19);
    assert!(found(20, 300.0, (1.0, 1.3)) >= 19, "only the time between tokens");
    // Of a hundred 97.
    assert!(found(20, 60.0, (1.3, 1.3)) >= 18, "one request a second");
}

/// What was usual may not be measured while requests hang that only later show how slow they were.
#[test]
fn slowness_begins_with_the_requests_that_show_it() {
    let mut world = World::new(5);
    world.serve(2 * HOUR, |_| usual(120.0));
    let stuck = world.made.time;
    for _ in 0..10 * MINUTE / APART {
        let reading = world.made.works(APART, 10);
        world.hear(&reading);
    }
    assert_eq!(world.state(), State::Ok);
    world.serve(5 * MINUTE, |_| Asked { slow: (3.0, 3.0), ..usual(120.0) });
    let since = world.standing().unwrap().lines.iter().filter_map(|line| line.since).min().unwrap();
    assert!(since.abs_diff(stuck) <= MINUTE, "{} s from it", since.abs_diff(stuck) / SECOND);
}

/// At night so few requests come that no window says anything: that is not since when they are slow in the morning.
#[test]
fn a_quiet_night_is_no_slowness() {
    let mut world = World::new(6);
    world.serve(3 * HOUR, |_| usual(120.0));
    for _ in 0..8 * HOUR / APART {
        let reading = world.made.works(APART, 1);
        world.hear(&reading);
    }
    let morning = world.made.time;
    world.serve(10 * MINUTE, |_| Asked { slow: (3.0, 3.0), ..usual(120.0) });
    assert_eq!(world.state(), State::Worse);
    let since = world.standing().unwrap().lines.iter().filter_map(|line| line.since).min().unwrap();
    assert!(since + 20 * MINUTE > morning, "{} s before", (morning - since) / SECOND);
}

#[test]
fn it_ends_when_all_is_as_usual_again_and_the_baseline_learns_nothing_meanwhile() {
    let mut world = World::new(5);
    world.serve(HOUR, |_| usual(60.0));
    let learned = |world: &World| world.fold.tracks.values().next().unwrap().baseline.len();
    assert_eq!((world.state(), world.began.len()), (State::Ok, 0));
    let slow = Asked { slow: (1.6, 1.6), ..usual(60.0) };
    world.serve(20 * MINUTE, |_| slow);
    assert_eq!((world.state(), world.began.len(), world.ended.len()), (State::Worse, 1, 0));
    let standing = world.standing().unwrap();
    let worst = standing.worse().filter_map(Line::ratio).fold(0.0, f64::max);
    assert!((1.3..2.2).contains(&worst), "{worst}");
    let since = standing.since().unwrap();
    assert!(world.made.time - since <= 21 * MINUTE, "it knows when it began");
    let before = learned(&world);
    world.serve(10 * MINUTE, |_| slow);
    assert_eq!(learned(&world), before);
    world.serve(6 * MINUTE, |_| usual(60.0));
    assert_eq!((world.state(), world.began.len(), world.ended.len()), (State::Ok, 1, 1));
    world.serve(10 * MINUTE, |_| usual(60.0));
    assert!(learned(&world) > before);
}

#[test]
fn what_stays_worse_for_hours_becomes_usual() {
    let mut world = World::new(6);
    world.fold.limit(&Limits { accept_ns: HOUR, ..Limits::default() }, &mut world.models);
    world.serve(HOUR, |_| usual(60.0));
    let slow = Asked { slow: (1.6, 1.6), ..usual(60.0) };
    world.serve(50 * MINUTE, |_| slow);
    assert_eq!(world.state(), State::Worse);
    world.serve(40 * MINUTE, |_| slow);
    assert_eq!((world.state(), world.began.len(), world.ended.len()), (State::Ok, 1, 1));
    let usual_now = world.standing().unwrap().lines.iter().find_map(|line| line.ratio()).unwrap();
    assert!((0.85..1.15).contains(&usual_now), "{usual_now}");
}

#[test]
fn a_restart_keeps_the_baseline_and_another_setup_does_not() {
    let mut world = World::new(7);
    world.serve(HOUR, |_| usual(60.0));
    world.made.restart();
    world.serve(5 * MINUTE, |_| usual(60.0));
    assert_eq!(world.state(), State::Ok);
    // Slower after the restart.
    world.made.restart();
    world.serve(8 * MINUTE, |_| Asked { slow: (1.6, 1.6), ..usual(60.0) });
    assert_eq!(world.state(), State::Worse);
    world.made.restart();
    world.made.server = Arc::new(Server { kind: Some(Kind::Sglang), ..(*world.made.server).clone() });
    world.serve(8 * MINUTE, |_| Asked { slow: (1.6, 1.6), ..usual(60.0) });
    assert_eq!(world.state(), State::Learning, "another program is another baseline");
}

#[test]
fn a_few_long_requests_and_a_few_requests_say_nothing() {
    let mut world = World::new(8);
    world.serve(HOUR, |_| usual(120.0));
    // Two of a hundred prompts are ten times as long as before: half of them longer than any.
    world.serve(20 * MINUTE, |_| Asked { long: 0.12, ..usual(120.0) });
    assert!(world.began.is_empty());
    world.serve(20 * MINUTE, |_| Asked { slow: (3.0, 3.0), ..usual(0.4) });
    assert!(world.began.is_empty(), "of two requests in five minutes nothing is said");
}

#[test]
fn without_a_baseline_nothing_is_said_and_off_is_off() {
    let mut world = World::new(9);
    world.serve(10 * MINUTE, |_| usual(60.0));
    world.serve(10 * MINUTE, |_| Asked { slow: (2.0, 2.0), ..usual(60.0) });
    assert_eq!((world.state(), world.began.len()), (State::Learning, 0));
    world.fold.limit(&Limits { enabled: false, ..Limits::default() }, &mut world.models);
    world.serve(HOUR, |_| usual(60.0));
    assert_eq!((world.standing().unwrap(), world.fold.tracks.len()), (&Standing::default(), 0));
}

#[test]
fn what_is_kept_is_bounded() {
    let mut world = World::new(10);
    let limits = Limits { window_ns: APART, requests: 1, ..Limits::default() };
    world.fold.limit(&limits, &mut world.models);
    world.serve(3 * HOUR, |time| usual(20.0 + (time / MINUTE % 7) as f64 * 20.0));
    let track = world.fold.tracks.values().next().unwrap();
    assert!(track.baseline.len() <= 480 && track.baseline.len() == world.fold.points, "{}", world.fold.points);
    // A thousand servers with other names, and numbers that never fit together.
    for number in 0..1000 {
        let server = Server { name: format!("s:{number}").into(), ..(*world.made.server).clone() };
        let reading = world.made.serve(SECOND, usual(60.0));
        world.hear(&model::Reading { server: Arc::new(server), ..reading });
    }
    assert!(world.fold.tracks.len() <= super::TRACKS);
}

#[test]
fn a_server_with_new_names_each_time_leaves_room_for_others() {
    let mut world = World::new(11);
    let other = Server { name: "other:1".into(), ..(*world.made.server).clone() };
    // Within less time than any of them has to be silent.
    for number in 0..600 {
        let mut reading = world.made.serve(SECOND / 4, usual(60.0));
        reading.answer.iter_mut().for_each(|it| it.models[0].name = format!("m{number}").into());
        world.hear(&reading);
    }
    assert_eq!(world.fold.tracks.len(), super::TRACKS);
    let reading = world.made.serve(SECOND, usual(60.0));
    world.hear(&model::Reading { server: Arc::new(other), ..reading });
    assert!(world.fold.tracks.contains_key(&("other:1".into(), "m".into())));
    let newest = ("vllm:8000".into(), "m599".into());
    assert!(world.fold.tracks.contains_key(&newest) && world.fold.tracks.len() == super::TRACKS);
}

#[test]
#[ignore = "it takes minutes, and is for who changes how windows are judged: cargo test --release"]
fn of_a_hundred_that_are_a_third_slower_most_are_found() {
    for slow in [(1.3, 1.3), (1.0, 1.3)] {
        let found = [30.0, 60.0, 120.0, 300.0].map(|requests| (requests, found(100, requests, slow)));
        assert!(found.iter().all(|(_, found)| *found >= 95), "{slow:?} as slow: by requests a minute: {found:?}");
    }
}
