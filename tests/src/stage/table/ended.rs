//! Processes that end by other hands than the OOM killer's, or that were dying already.

use super::{BY_ANOTHER, BY_HAND, PARENTS, SPIKE, either};
use crate::stage::scenario::Knob::{Cpu, Limit};
use crate::stage::scenario::{KILLED, Scenario};

/// Nothing stops it: the quota of a cgroup is lifted.
const NO_QUOTA: f64 = 1000.0;

fn near(name: &'static str, what: &'static str) -> Scenario {
    Scenario::new(name, what).group("", &[Limit(100.0)]).run("app", "", "anon 93; ready; stay").ready("app").pause(6.0)
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        near("killed_by_hand", "close to its limit, and somebody sends SIGKILL")
            .signal("app", libc::SIGKILL)
            .dies("app")
            .incident(KILLED, "", BY_HAND)
            .killed(0)
            .says("SIGKILL"),
        near("terminated", "close to its limit, and somebody sends SIGTERM")
            .signal("app", libc::SIGTERM)
            .pause(1.0)
            .incident(KILLED, "", BY_HAND)
            .killed(0)
            .says("SIGTERM"),
        Scenario::new("ends_by_itself", "takes nearly all of its limit, and ends")
            .group("", &[Limit(100.0)])
            .run("app", "", "anon 20; wait 6; anon 75")
            .ends("app")
            .none(&[]),
        dying(
            "dying_neighbour",
            "is killed by hand, dies slowly, and a neighbour allocates at the limit of both",
            libc::SIGKILL,
        ),
        dying("dying_neighbour_terminated", "the same with SIGTERM", libc::SIGTERM),
        Scenario::new("killed_by_hand_then_oom", "one is killed by hand; soon after, another one hits the limit")
            .group("", &[Limit(100.0)])
            .run("first", "", "anon 40; ready; stay")
            .ready("first")
            .pause(7.0)
            .signal("first", libc::SIGKILL)
            .dies("first")
            .pause(3.0)
            .run("second", "", "anon 10; wait 5; anon 130")
            .dies("second")
            .oom("", SPIKE)
            .limit("", 100.0)
            .killed(1),
    ]
}

/// A process with many threads and without CPU time is marked again and again while it dies: the kernel says so each time
/// another one asks for memory in vain. A few rounds, because it does not always come to that.
fn dying(name: &'static str, what: &'static str, signal: i32) -> Scenario {
    let start = Scenario::new(name, what).group("", &[Limit(100.0)]).group("slow", &[]).group("fast", &[]);
    let rounds = (0..5).fold(start, |scenario, _| {
        scenario
            .set("slow", Cpu(NO_QUOTA))
            .run("dying", "slow", "anon 60; spin 12; ready; stay")
            .ready("dying")
            .signal("dying", signal)
            .set("slow", Cpu(1.0))
            .run("asker", "fast", "anon 70; stay")
            .pause(0.5)
            .set("slow", Cpu(NO_QUOTA))
            .pause(0.2)
            .signal("asker", libc::SIGKILL)
            .dies("asker")
    });
    // The kernel may kill the asker in one of them.
    rounds.none(&either(BY_HAND, either(PARENTS, BY_ANOTHER))).uncounted()
}
