//! Several processes in one cgroup: who is killed is not always who grew.

use super::{GROWTH, OTHERS, SPIKE, TOO_LOW, either, limited};
use crate::stage::scenario::Knob::{Limit, Together};
use crate::stage::scenario::{Host, Scenario};

pub fn scenarios() -> Vec<Scenario> {
    vec![
        limited("largest_did_not_grow", "the largest process is killed, but another one grew")
            .run("holder", "", "anon 55; ready; stay")
            .ready("holder")
            .pause(12.0)
            .run("grower", "", "anon 8; wait 2; anon 50 @9; stay")
            .dies("holder")
            .oom("", SPIKE)
            .says("grower"),
        limited("largest_did_not_grow_slowly", "the same, slowly")
            .run("holder", "", "anon 54; ready; stay")
            .ready("holder")
            .run("grower", "", "anon 8; anon 40 @0.9; stay")
            .dies("holder")
            .oom("", GROWTH)
            .says("grower"),
        limited("scored_worker", "a small worker is killed for its oom_score_adj; its master grew")
            .run_scored("worker", "", 900, "anon 12; ready; stay")
            .ready("worker")
            .pause(9.0)
            .run("master", "", "anon 10; wait 2; anon 72 @12; wait 1; anon 10; stay")
            .dies("worker")
            .oom("", SPIKE)
            .says("master"),
        limited("many_small", "a dozen equal workers; one more is too many")
            .run("pool", "", "swarm 11 8 2; wait 18; swarm 4 8 2; wait 4")
            .ends("pool")
            .oom("", OTHERS),
        limited("fork_bomb", "hundreds of tiny processes within seconds")
            .run("bomb", "", "swarm 220 0.5 60; wait 4")
            .ends("bomb")
            .oom("", either(OTHERS, SPIKE)),
        limited("threads", "eight threads of one process fill the limit together")
            .run("server", "", "anon 15; wait 9; thread 8; anon 130 @26")
            .dies("server")
            .oom("", SPIKE)
            .timed(),
        limited("forked_at_once", "a process forks, and all its children take memory at the same time")
            .run("master", "", "anon 5; wait 8; fork 6; anon 30")
            .ends("master")
            .oom("", SPIKE),
        limited("kill_storm", "two dozen processes, each too large, are killed one after the other")
            .run("master", "", "anon 5; wait 6; fork 24; anon 120")
            .ends("master")
            .oom("", SPIKE),
        limited("killed_twice", "is killed, starts again at once, and is killed again")
            .run("app", "", "anon 20; wait 7; anon 130 @30")
            .dies("app")
            .run("app", "", "anon 20; wait 4; anon 130 @30")
            .dies("app")
            .oom("", SPIKE)
            .timed(),
        limited("crash_loop", "needs a little more than its limit each time it starts")
            .run("app", "", "anon 112 @40")
            .dies("app")
            .pause(2.0)
            .run("app", "", "anon 112 @40")
            .dies("app")
            .pause(2.0)
            .run("app", "", "anon 112 @40")
            .dies("app")
            .oom("", either(SPIKE, TOO_LOW)),
        Scenario::new("killed_together", "a cgroup whose processes are killed together")
            .on(Host::V2)
            .group("", &[Limit(100.0), Together])
            .run("helper", "", "anon 6; stay")
            .run("other", "", "anon 6; stay")
            .run("grower", "", "anon 10; wait 9; anon 130 @30")
            .dies("grower")
            .oom("", SPIKE)
            .together()
            .limit("", 100.0),
    ]
}
