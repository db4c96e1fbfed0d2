//! A workload at its own limit, filled by its own memory in different shapes.

use super::{GROWTH, OWN_LIMIT, SPIKE, TOO_LOW, limited};
use crate::stage::scenario::Scenario;

/// One process in a cgroup with a limit, which it exceeds in the end.
fn one(name: &'static str, what: &'static str, script: &'static str) -> Scenario {
    limited(name, what).run("app", "", script).dies("app")
}

pub fn scenarios() -> Vec<Scenario> {
    [spikes(), slow(), steady()].concat()
}

fn spikes() -> Vec<Scenario> {
    vec![
        one("spike", "calm for a while, then takes more than its limit at once", "anon 25; wait 14; anon 140")
            .oom("", SPIKE)
            .timed()
            .never("leak"),
        one("spike_at_start", "has just started, and takes more than its limit at once", "wait 0.4; anon 140")
            .oom("", SPIKE),
        one("fills_in_seconds", "calm, then fills its limit within five seconds", "anon 20; wait 9; anon 130 @18")
            .oom("", SPIKE)
            .timed(),
        one("spike_after_growth", "grows slowly, then takes half its limit at once", "anon 20; anon 20 @1; anon 100")
            .oom("", SPIKE),
        one(
            "spike_after_fall",
            "gives most of its memory back, then spikes",
            "anon 10; anon 65; wait 14; free; wait 12; anon 120 @40",
        )
        .oom("", SPIKE)
        .timed(),
    ]
}

fn slow() -> Vec<Scenario> {
    vec![
        one("growth", "grows in a straight line for most of a minute", "anon 58; anon 60 @0.85").oom("", GROWTH),
        one("growth_after_calm", "flat for half a minute, then grows in a straight line", "anon 70; wait 34; anon 45 @1.2")
            .oom("", GROWTH),
        one("growth_in_steps", "grows by the same step every few seconds",
            "anon 55; wait 5; anon 5; wait 5; anon 5; wait 5; anon 5; wait 5; anon 5; wait 5; anon 5; wait 5; anon 5; wait 5; anon 5; wait 5; anon 5; wait 5; anon 9")
            .oom("", GROWTH),
        one("growth_near_the_limit", "nearly full, and grows very slowly", "anon 84; wait 5; anon 24 @0.4").oom("", GROWTH),
        one("saw", "rises and falls over and over, a little higher the last time",
            "anon 45; anon 40 @8; free; wait 1; anon 40 @8; free; wait 1; anon 40 @8; free; wait 1; anon 40 @8; free; wait 1; anon 70 @8")
            .oom("", OWN_LIMIT)
            .never("leak")
            .never("steadily"),
    ]
}

fn steady() -> Vec<Scenario> {
    vec![
        one(
            "too_low",
            "needs nearly all of its limit from the start, and a little more later",
            "anon 94; wait 34; anon 12",
        )
        .oom("", TOO_LOW),
        one("too_low_young", "the same, only twenty seconds old", "anon 95; wait 20; anon 9").oom("", TOO_LOW),
        one(
            "plateau_after_growth",
            "grows, then stays close under its limit, then needs a little more",
            "anon 50; anon 45 @4; wait 26; anon 12",
        )
        .oom("", TOO_LOW),
    ]
}
