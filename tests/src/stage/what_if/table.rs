//! The pairs. Sizes are percentages of the pair's own size, rates of that a second.

use super::pair::{Pair, Supposed};
use crate::stage::scenario::Knob::Limit;
use crate::stage::scenario::Scenario;

/// Quick ones, for every run of the tests.
const QUICK: [&str; 4] = ["lower_below_use", "lower_page_cache", "without_the_neighbour", "raise_for_a_leak"];

pub fn quick() -> Vec<Pair> {
    all().into_iter().filter(|pair| QUICK.contains(&pair.name)).collect()
}

pub fn all() -> Vec<Pair> {
    [own(), shared(), stalls()].concat()
}

/// One cgroup `w` with this limit, and no other.
fn alone(name: &'static str, what: &'static str, limit: Option<f64>) -> Scenario {
    let knobs = limit.map(Limit);
    Scenario::new(name, what).group("", &[]).group("w", knobs.as_slice())
}

/// Two cgroups `w` and `n` that share a limit.
fn two(name: &'static str, what: &'static str, limit: f64) -> Scenario {
    Scenario::new(name, what).group("", &[Limit(limit)]).group("w", &[]).group("n", &[])
}

/// The same process in `w` with one limit and with another.
fn limits(
    name: &'static str,
    what: &'static str,
    [was, would]: [Option<f64>; 2],
    play: impl Fn(Scenario, bool) -> Scenario,
    killed: [bool; 2],
) -> Pair {
    let change = would.map_or(Supposed::NoLimit("w"), |limit| Supposed::Limit("w", limit));
    let scenario = |limit, killed| play(alone(name, what, limit), killed);
    Pair {
        name,
        what,
        was: scenario(was, killed[0]),
        would: scenario(would, killed[1]),
        change,
        measured: "w",
        waits: false,
    }
}

/// Runs a script until it says that it is ready, or is killed.
fn script(text: &'static str) -> impl Fn(Scenario, bool) -> Scenario {
    move |scenario, killed| {
        let scenario = scenario.run("worker", "w", text);
        if killed { scenario.dies("worker").pause(2.0) } else { scenario.ready("worker").pause(3.0) }
    }
}

fn own() -> Vec<Pair> {
    let some = |was: f64, would: f64| [Some(was), Some(would)];
    let read = |scenario: Scenario, _: bool| {
        scenario
            .file("data", 100.0)
            .run("worker", "w", "anon 40; read disk/data 3 1; ready; stay")
            .ready("worker")
            .pause(2.0)
    };
    vec![
        limits(
            "lower_below_use",
            "a limit of less than it uses",
            some(200.0, 60.0),
            script("anon 100 @30; ready; stay"),
            [false, true],
        ),
        limits(
            "lower_from_none",
            "a limit where there was none",
            [None, Some(60.0)],
            script("anon 100 @30; ready; stay"),
            [false, true],
        ),
        limits(
            "lower_above_use",
            "a lower limit, above what it uses",
            some(200.0, 130.0),
            script("anon 100 @40; ready; stay"),
            [false, false],
        ),
        limits(
            "lower_shared_memory",
            "a limit of less than its shared memory",
            some(200.0, 60.0),
            script("shared 100 @30; ready; stay"),
            [false, true],
        ),
        limits(
            "lower_kernel_memory",
            "a limit of less than its pipes hold",
            some(200.0, 40.0),
            script("pipe 60 @20; ready; stay"),
            [false, true],
        ),
        limits(
            "lower_page_cache",
            "a limit of less than it uses with its page cache",
            some(300.0, 90.0),
            read,
            [false, false],
        ),
        limits(
            "lower_two_processes",
            "a limit of less than two processes use",
            some(200.0, 70.0),
            |scenario, killed| {
                let scenario = scenario.run("calm", "w", "anon 45; ready; stay").ready("calm");
                let scenario = scenario.pause(2.0).run_scored("worker", "w", 500, "anon 50 @20; ready; stay");
                if killed { scenario.dies("worker").pause(2.0) } else { scenario.ready("worker").pause(3.0) }
            },
            [false, true],
        ),
        limits(
            "lower_spike",
            "a limit of less than it uses for two seconds",
            some(200.0, 60.0),
            script("anon 20; wait 2; anon 70 @35; wait 2; free; ready; stay"),
            [false, true],
        ),
        limits(
            "lower_small_spike",
            "a limit of more than it uses for two seconds",
            some(200.0, 120.0),
            script("anon 20; wait 2; anon 70 @35; wait 2; free; ready; stay"),
            [false, false],
        ),
        limits(
            "lower_many",
            "a limit of less than ten processes use",
            some(300.0, 70.0),
            |scenario, killed| {
                let scenario = scenario.run("worker", "w", "swarm 10 10 3; ready; stay");
                if killed { scenario.pause(6.0) } else { scenario.ready("worker").pause(3.0) }
            },
            [false, true],
        ),
        limits(
            "raise_for_a_leak",
            "a higher limit for what grows on and on",
            some(60.0, 110.0),
            script("anon 800 @16; stay"),
            [true, true],
        ),
        limits(
            "lower_for_a_leak",
            "a lower limit for what grows on and on",
            some(110.0, 60.0),
            script("anon 800 @16; stay"),
            [true, true],
        ),
        limits(
            "raise_for_a_slow_leak",
            "a higher limit for what grows slowly",
            some(50.0, 65.0),
            script("anon 30; anon 800 @3; stay"),
            [true, true],
        ),
        limits(
            "remove_the_limit",
            "no limit where it was killed at one",
            [Some(60.0), None],
            script("anon 100 @30; ready; stay"),
            [true, false],
        ),
        limits(
            "raise_enough",
            "a limit of more than it needs where it was killed",
            some(60.0, 200.0),
            script("anon 100 @30; ready; stay"),
            [true, false],
        ),
    ]
}

fn shared() -> Vec<Pair> {
    let pair =
        |name, what, was, would, change, measured| Pair { name, what, was, would, change, measured, waits: false };
    let calm = |scenario: Scenario, text: &'static str| scenario.run("worker", "w", text).ready("worker").pause(2.0);
    let grows = |scenario: Scenario, text: &'static str| {
        scenario.run_scored("grower", "n", 500, text).dies("grower").pause(2.0)
    };
    let [one, two_, three, four, five, six, seven] = [
        ("without_the_neighbour", "the neighbour that filled the shared limit does not run"),
        ("without_a_small_neighbour", "a small neighbour does not run; the other grows on and on"),
        ("without_a_stranger", "a workload elsewhere does not run"),
        ("lower_shared", "a shared limit of less than both use"),
        ("cap_the_neighbour", "the neighbour that filled the shared limit has a limit of its own"),
        ("start_a_large_one", "something more runs that does not fit"),
        ("start_a_small_one", "something more runs that fits"),
    ];
    let of = |(name, what): (&'static str, &'static str), limit| two(name, what, limit);
    vec![
        pair(
            one.0,
            one.1,
            grows(calm(of(one, 100.0), "anon 50; ready; stay"), "anon 90 @20; stay"),
            calm(of(one, 100.0), "anon 50; ready; stay").pause(4.0),
            Supposed::Without("n"),
            "",
        ),
        pair(
            two_.0,
            two_.1,
            grows(calm(of(two_, 100.0), "anon 25; ready; stay"), "anon 800 @14; stay"),
            grows(of(two_, 100.0).pause(2.2), "anon 800 @14; stay"),
            Supposed::Without("w"),
            "",
        ),
        pair(
            three.0,
            three.1,
            alone(three.0, three.1, Some(60.0))
                .group("n", &[])
                .run("other", "n", "anon 30; ready; stay")
                .ready("other")
                .run("worker", "w", "anon 100 @25; stay")
                .dies("worker")
                .pause(2.0),
            alone(three.0, three.1, Some(60.0))
                .group("n", &[])
                .run("worker", "w", "anon 100 @25; stay")
                .dies("worker")
                .pause(2.0),
            Supposed::Without("n"),
            "w",
        ),
        pair(
            four.0,
            four.1,
            calm(of(four, 250.0), "anon 50; ready; stay")
                .run("grower", "n", "anon 80 @20; ready; stay")
                .ready("grower")
                .pause(3.0),
            grows(calm(of(four, 110.0), "anon 50; ready; stay"), "anon 80 @20; stay"),
            Supposed::Limit("", 110.0),
            "",
        ),
        pair(
            five.0,
            five.1,
            grows(calm(of(five, 120.0), "anon 50; ready; stay"), "anon 100 @15; stay"),
            grows(
                calm(
                    Scenario::new(five.0, five.1).group("", &[Limit(120.0)]).group("w", &[]).group("n", &[Limit(40.0)]),
                    "anon 50; ready; stay",
                ),
                "anon 100 @15; stay",
            ),
            Supposed::Limit("n", 40.0),
            "n",
        ),
        pair(
            six.0,
            six.1,
            calm(of(six, 150.0).pause(2.0), "anon 100 @20; ready; stay"),
            of(six, 150.0)
                .run("more", "n", "anon 80; ready; stay")
                .ready("more")
                .pause(2.0)
                .run_scored("worker", "w", 500, "anon 100 @20; ready; stay")
                .dies("worker")
                .pause(2.0),
            Supposed::Start("", 80.0),
            "",
        ),
        pair(
            seven.0,
            seven.1,
            calm(of(seven, 150.0).pause(2.0), "anon 80 @20; ready; stay"),
            calm(
                of(seven, 150.0).run("more", "n", "anon 40; ready; stay").ready("more").pause(2.0),
                "anon 80 @20; ready; stay",
            ),
            Supposed::Start("", 40.0),
            "",
        ),
    ]
}

/// A reader whose file fits into a limit alone, and not beside a neighbour.
fn stalls() -> Vec<Pair> {
    let reads = |name, what| {
        two(name, what, 130.0).file("data", 80.0).run("reader", "w", "read disk/data 12 1; ready; stay").pause(4.0)
    };
    let gone =
        ("wait_without_the_neighbour", "the neighbour that takes the room for a reader's page cache does not run");
    let capped =
        ("wait_with_a_capped_neighbour", "the neighbour that takes the room for a reader's page cache has a limit");
    let beside = |scenario: Scenario, text: &'static str| scenario.run("neighbour", "n", text).pause(8.0);
    let limited =
        Scenario::new(capped.0, capped.1).group("", &[Limit(130.0)]).group("w", &[]).group("n", &[Limit(30.0)]);
    let limited = limited.file("data", 80.0).file("other", 110.0);
    let both = |scenario: Scenario| {
        scenario
            .run("reader", "w", "read disk/data 12 1; ready; stay")
            .pause(4.0)
            .run("neighbour", "n", "read disk/other 8 1; stay")
            .pause(8.0)
    };
    vec![
        Pair {
            name: gone.0,
            what: gone.1,
            was: beside(reads(gone.0, gone.1), "anon 85; stay"),
            would: reads(gone.0, gone.1).pause(8.0),
            change: Supposed::Without("n"),
            measured: "w",
            waits: true,
        },
        Pair {
            name: capped.0,
            what: capped.1,
            was: both(two(capped.0, capped.1, 130.0).file("data", 80.0).file("other", 110.0)),
            would: both(limited),
            change: Supposed::Limit("n", 30.0),
            measured: "w",
            waits: true,
        },
    ]
}
