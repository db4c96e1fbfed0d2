//! Days of made-up servers: what is no regression is told as none, and what is one is found in time.

mod server;

use std::f64::consts::TAU;

use super::Fold;
use crate::latency::{Limits, State};
use crate::statistic::model;
use crate::view::coverage::Coverage;
use crate::view::model::{Models, Standing};
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
                if std::env::var("SHOW").is_ok() {
                    let standing = self.standing().unwrap();
                    println!("{:?} {:?}", standing.load, standing.worse().collect::<Vec<_>>());
                }
                self.began.push(time)
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

/// A server that has been as usual for hours gets slower. Returns what was told before, and how long it took until it was told.
fn slower(seed: u64, requests: f64, slow: (f64, f64), long: f64) -> (usize, Option<u64>) {
    let mut world = World::new(seed);
    let moves = |time: u64| {
        let requests = requests * (1.0 + 0.2 * (time as f64 / (2 * HOUR) as f64 * TAU).sin());
        Asked { requests, long, slow: (1.0, 1.0) }
    };
    // It begins at any moment of a window.
    world.serve(3 * HOUR + seed % 4 * APART, moves);
    let (before, from) = (world.began.len(), world.made.time);
    world.serve(10 * MINUTE, |time| Asked { slow, ..moves(time + 3 * HOUR) });
    (before, world.began.get(before).map(|time| time - from))
}

#[test]
#[ignore]
fn measure() {
    let (mut days, mut told) = (0, 0);
    for seed in 1..=std::env::var("DAYS").map_or(100, |it| it.parse().unwrap()) {
        let world = day(seed, 24);
        days += 1;
        told += usize::from(!world.began.is_empty());
        if !world.began.is_empty() {
            println!("seed {seed}: {:?}", world.began.len());
        }
    }
    println!("false: {told} of {days}");
    for requests in [60.0, 120.0, 300.0] {
        for slow in [1.15, 1.2, 1.3, 1.5, 2.0] {
            for (what, slow) in
                [("all", (slow, slow)), ("first", (slow, 1.0)), ("between", (1.0, slow)), ("alike", (slow, 1.0))]
            {
                let (mut early, mut found, mut late) = (0, 0, 0);
                for seed in 0..100 {
                    let (before, after) = slower(seed, requests, slow, if what == "alike" { 0.0 } else { 0.1 });
                    early += before;
                    found += usize::from(after.is_some_and(|it| it <= 3 * MINUTE + APART));
                    late += usize::from(after.is_some());
                }
                println!("{requests} {what} {slow:?}: before {early}, in 3 min {found}, ever {late}");
            }
        }
    }
}
