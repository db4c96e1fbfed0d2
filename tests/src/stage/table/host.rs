//! A host out of memory, and one that swaps: only on a machine that is for tests.

use super::{HOST, HOST_BY_ANOTHER, SPIKE, SWAP_FULL, SWAPPING, either};
use crate::stage::scenario::Knob::{Limit, Swap};
use crate::stage::scenario::{Host, MEMORY_PRESSURE, Scenario};

fn alone(name: &'static str, what: &'static str) -> Scenario {
    Scenario::new(name, what).on(Host::Own).alone()
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        alone("host_exhausted", "a workload without a limit takes all memory of the host")
            .group("", &[])
            .group("calm", &[])
            .group("hog", &[])
            .run("calm", "calm", "anon 60; ready; stay")
            .ready("calm")
            .run_scored("hog", "hog", 500, "anon 20; wait 8; anon 2400 @200")
            .dies("hog")
            .oom("hog", HOST)
            .never("{calm}"),
        alone("host_exhausted_by_another", "one takes all memory of the host, and another is killed for it")
            .group("", &[])
            .group("victim", &[])
            .group("hog", &[])
            .run_scored("victim", "victim", 900, "anon 240; ready; stay")
            .ready("victim")
            .run("hog", "hog", "anon 20; wait 8; anon 2400 @200")
            .dies("victim")
            // Before it has taken what the victim left.
            .signal("hog", libc::SIGKILL)
            .oom("victim", HOST_BY_ANOTHER)
            .says("{hog}"),
        alone("swap_full", "fills its limit, then its swap")
            .swap()
            .group("", &[Limit(60.0), Swap(40.0)])
            .run("app", "", "anon 30; wait 8; anon 110 @8")
            .dies("app")
            .oom("", either(SWAP_FULL, SPIKE))
            .limit("", 60.0),
        alone("no_swap_allowed", "the host has swap, and the workload may not use it")
            .swap()
            .group("", &[Limit(100.0)])
            .run("app", "", "anon 30; wait 10; anon 110 @25")
            .dies("app")
            .oom("", SPIKE)
            .limit("", 100.0),
        alone("swaps", "uses more than its limit over and over, and swaps all the time")
            .swap()
            .group("", &[Limit(50.0), Swap(200.0)])
            .run("app", "", "again 90 30")
            .ends("app")
            .incident(MEMORY_PRESSURE, "", SWAPPING),
    ]
}
