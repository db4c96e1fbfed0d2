//! Limits that move, and cgroups that live for moments.

use super::{FROZEN, GROWTH, LOWERED, SPIKE};
use crate::stage::scenario::Knob::{Limit, NoKill, Swap};
use crate::stage::scenario::{Host, MEMORY_PRESSURE, Scenario};

pub fn scenarios() -> Vec<Scenario> {
    [moved(), brief()].concat()
}

fn moved() -> Vec<Scenario> {
    vec![
        Scenario::new("lowered_slightly", "the limit is lowered to just above the use; then a little more is needed")
            .group("", &[Limit(150.0)])
            .run("app", "", "anon 72; wait 12.5; anon 20; stay")
            .pause(11.0)
            .set("", Limit(78.0))
            .dies("app")
            .oom("", LOWERED)
            .limit("", 78.0)
            .size("limit_before_bytes", 150.0),
        Scenario::new("lowered_below_the_use", "the limit is lowered to half of what is used")
            .on(Host::V2)
            .group("", &[Limit(130.0)])
            .run("app", "", "anon 90; wait 60; stay")
            .pause(11.0)
            .set("", Limit(45.0))
            .dies("app")
            .oom("", LOWERED)
            .limit("", 45.0)
            .size("limit_before_bytes", 130.0),
        Scenario::new("lowered_twice", "the limit is lowered in two steps; the second is too low")
            .group("", &[Limit(200.0)])
            .run("app", "", "anon 60; wait 14.5; anon 22; stay")
            .pause(6.0)
            .set("", Limit(110.0))
            .pause(7.0)
            .set("", Limit(68.0))
            .dies("app")
            .oom("", LOWERED)
            .limit("", 68.0)
            .size("limit_before_bytes", 110.0),
        Scenario::new("raised", "the limit is raised; later the new one is hit")
            .group("", &[Limit(60.0)])
            .run("app", "", "anon 40; wait 14; anon 90")
            .pause(5.0)
            .set("", Limit(100.0))
            .dies("app")
            .oom("", SPIKE)
            .limit("", 100.0),
        Scenario::new("raised_just_before", "the limit is raised a moment before it is hit")
            .group("", &[Limit(60.0)])
            .run("app", "", "anon 40; wait 12; anon 90 @150")
            .pause(11.5)
            .set("", Limit(100.0))
            .dies("app")
            .oom("", SPIKE)
            .limit("", 100.0),
        Scenario::new("no_swap_left", "the limit of memory and swap together, with no swap to use")
            .on(Host::V1)
            .group("", &[Limit(100.0), Swap(0.0)])
            .run("app", "", "anon 20; wait 10; anon 120 @30")
            .dies("app")
            .oom("", SPIKE)
            .limit("", 100.0),
        Scenario::new("frozen", "at its limit nobody is killed (oom_kill_disable): the process hangs")
            .on(Host::V1)
            .group("", &[Limit(100.0), NoKill])
            .run("hung", "", "anon 30; wait 4; anon 110 @40; stay")
            .pause(70.0)
            .incident(MEMORY_PRESSURE, "", FROZEN)
            .or_alert()
            .says("frozen|freez|not killed|oom_kill_disable|hang"),
    ]
}

fn brief() -> Vec<Scenario> {
    vec![
        Scenario::new("brief", "a cgroup that lives only for moments: created, filled, killed, removed")
            .group("", &[])
            .create("job", &[Limit(30.0)])
            .run("job", "job", "anon 60")
            .dies("job")
            .remove("job")
            .oom("job", SPIKE)
            .limit("job", 30.0),
        Scenario::new("brief_below_a_limit", "the same below a parent with a larger limit")
            .group("", &[Limit(200.0)])
            .pause(4.0)
            .create("job", &[Limit(30.0)])
            .run("job", "job", "anon 60")
            .dies("job")
            .remove("job")
            .oom("job", SPIKE)
            .limit("job", 30.0),
        Scenario::new("gone_after_the_kill", "filled slowly; the cgroup is removed right after the kill")
            .group("", &[])
            .create("job", &[Limit(100.0)])
            .run("job", "job", "anon 58; anon 60 @0.9")
            .dies("job")
            .remove("job")
            .oom("job", GROWTH)
            .limit("job", 100.0),
    ]
}
