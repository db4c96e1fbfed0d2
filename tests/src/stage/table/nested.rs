//! Limits above, below and beside the workload.

use super::{BY_ANOTHER, GROWTH, LEFT_BEHIND, PARENTS, PROTECTED, SPIKE, either};
use crate::stage::scenario::Knob::{Limit, Min};
use crate::stage::scenario::{Host, Scenario};

pub fn scenarios() -> Vec<Scenario> {
    [shared(), pods(), own()].concat()
}

fn parent(name: &'static str, what: &'static str) -> Scenario {
    Scenario::new(name, what).group("", &[Limit(100.0)]).group("a", &[]).group("b", &[])
}

/// A limit that several share.
fn shared() -> Vec<Scenario> {
    vec![
        parent("parents_limit", "two share a limit; one grows, and is killed")
            .run("calm", "a", "anon 22; ready; stay")
            .ready("calm")
            .run("grower", "b", "anon 15; wait 10; anon 90 @12")
            .dies("grower")
            .oom("b", PARENTS)
            .limit("", 100.0),
        parent("bystander", "two share a limit; one grows, the other is killed")
            .run_scored("victim", "a", 900, "anon 18; ready; stay")
            .ready("victim")
            .run("grower", "b", "anon 10; wait 10; anon 65 @8; wait 2; anon 20; stay")
            .dies("victim")
            .oom("a", BY_ANOTHER)
            .limit("", 100.0)
            .says("{b}"),
        parent("both_grow", "two share a limit, and both grow")
            .run("one", "a", "anon 10; wait 6; anon 60 @2; stay")
            .run("two", "b", "anon 10; wait 6; anon 60 @2; stay")
            .pause(36.0)
            .oom("a|b", PARENTS)
            .limit("", 100.0),
        parent("neighbour_with_cache", "two share a limit; one reads files, the other grows and is killed")
            .file("data", 55.0)
            .run("reader", "a", "read disk/data 60 1; stay")
            .run("grower", "b", "anon 20; wait 12; anon 110 @12")
            .dies("grower")
            .oom("b", either(PARENTS, SPIKE))
            .limit("", 100.0)
            .never("{a} filled"),
        Scenario::new("grandparents_limit", "a limit two levels up, shared with a cousin")
            .group("", &[Limit(100.0)])
            .group("m", &[])
            .group("m/x", &[])
            .group("n", &[])
            .group("n/y", &[])
            .run("cousin", "m/x", "anon 30; ready; stay")
            .ready("cousin")
            .run("grower", "n/y", "anon 15; wait 9; anon 70 @10")
            .dies("grower")
            .oom("n/y", PARENTS)
            .limit("", 100.0),
        parent("tmpfs_of_a_neighbour", "two share a limit; one fills a tmpfs, the other is killed for it")
            .run("writer", "a", "anon 3; wait 6; file shm/x 66 @9; ready; stay")
            .ready("writer")
            .run_scored("victim", "b", 800, "anon 10; wait 2; anon 40 @20")
            .dies("victim")
            .oom("b", BY_ANOTHER)
            .limit("", 100.0)
            .says("{a}"),
        parent(
            "left_behind",
            "one fills a tmpfs, ends, and its cgroup is removed; another needs little and is killed for it",
        )
        .run("writer", "a", "anon 3; file shm/x 74; wait 3")
        .ends("writer")
        .remove("a")
        .pause(8.0)
        .run("victim", "b", "anon 6; wait 3; anon 40 @20")
        .dies("victim")
        .oom("b", LEFT_BEHIND)
        .limit("", 100.0),
        parent(
            "protected_neighbour",
            "page cache of a neighbour may not be taken (memory.min), and another is killed for it",
        )
        .on(Host::V2)
        .file("data", 66.0)
        .set("", Min(80.0))
        .set("a", Min(75.0))
        .run("reader", "a", "read disk/data 4 1; ready; stay")
        .ready("reader")
        .pause(6.0)
        .run("victim", "b", "anon 6; wait 3; anon 60 @20")
        .dies("victim")
        .oom("b", PROTECTED)
        .limit("", 100.0)
        .says("{a}"),
    ]
}

/// Pods as the kubelet lays them out.
fn pods() -> Vec<Scenario> {
    let pod = |name, what, limit, container: &[_]| {
        Scenario::new(name, what)
            .slice()
            .group("", &[])
            .group("kubepods", &[])
            .group("kubepods/burstable", &[])
            .group("kubepods/burstable/pod{uid}", &[Limit(limit)])
            .group("kubepods/burstable/pod{uid}/{id}", container)
    };
    const FIRST: &str = "kubepods/burstable/pod{uid}/{id}";
    const SECOND: &str = "kubepods/burstable/pod{uid}/{two}";
    vec![
        pod("pod_of_one", "a pod with one container and the same limit; the container leaks", 100.0, &[Limit(100.0)])
            .run("server", FIRST, "anon 58; anon 60 @0.9")
            .dies("server")
            .oom("=pod{uid}/{id12}", GROWTH),
        pod("pod_without_container_limit", "the one container has no limit, its pod has", 100.0, &[])
            .run("server", FIRST, "anon 25; wait 11; anon 120")
            .dies("server")
            .oom("=pod{uid}/{id12}", SPIKE),
        pod(
            "pod_of_two",
            "the limit of a pod is less than those of its two containers together",
            100.0,
            &[Limit(85.0)],
        )
        .group(SECOND, &[Limit(85.0)])
        .run("sidecar", SECOND, "anon 34; ready; stay")
        .ready("sidecar")
        .run("server", FIRST, "anon 25; wait 10; anon 70 @12")
        .dies("server")
        .oom("=pod{uid}/{id12}", PARENTS)
        .limit("=pod{uid}", 100.0),
        pod("container_of_two", "one of two containers hits its own limit", 100.0, &[Limit(60.0)])
            .group(SECOND, &[Limit(40.0)])
            .run("sidecar", SECOND, "anon 20; ready; stay")
            .ready("sidecar")
            .run("server", FIRST, "anon 15; wait 10; anon 70 @12")
            .dies("server")
            .oom("=pod{uid}/{id12}", SPIKE)
            .limit("=pod{uid}/{id12}", 60.0),
    ]
}

/// A limit of the workload's own, although others are there.
fn own() -> Vec<Scenario> {
    vec![
        Scenario::new("inner_limit", "the limit is on a cgroup inside the container")
            .slice()
            .group("", &[])
            .group("libpod-{id}.scope", &[])
            .group("libpod-{id}.scope/container", &[Limit(100.0)])
            .run("app", "libpod-{id}.scope/container", "anon 20; wait 11; anon 120")
            .dies("app")
            .oom("=podman/{id12}", SPIKE)
            .limit("=podman/{id12}", 100.0),
        Scenario::new("deep_in_a_container", "a process deep in a container hits the container's limit")
            .slice()
            .group("", &[])
            .group("docker-{id}.scope", &[Limit(100.0)])
            .group("docker-{id}.scope/init.scope", &[])
            .run("app", "docker-{id}.scope/init.scope", "anon 20; wait 11; anon 120")
            .dies("app")
            .oom("=docker/{id12}", SPIKE)
            .limit("=docker/{id12}", 100.0),
        Scenario::new("slice_of_one", "a slice with a limit and one service in it, which spikes")
            .slice()
            .group("", &[Limit(100.0)])
            .group("web-{id12}.service", &[])
            .run("web", "web-{id12}.service", "anon 25; wait 12; anon 120")
            .dies("web")
            .oom("=web-{id12}.service", SPIKE),
        Scenario::new("larger_neighbour", "hits its own limit beside a neighbour that is three times as large")
            .group("", &[])
            .group("big", &[])
            .group("small", &[Limit(60.0)])
            .run("big", "big", "anon 180; ready; stay")
            .ready("big")
            .run("app", "small", "anon 12; wait 10; anon 90")
            .dies("app")
            .oom("small", SPIKE)
            .limit("small", 60.0)
            .never("{big}"),
        Scenario::new("two_limits", "its own limit is hit, its parent's is not")
            .group("", &[Limit(220.0)])
            .group("own", &[Limit(100.0)])
            .group("other", &[])
            .run("other", "other", "anon 60; ready; stay")
            .ready("other")
            .run("app", "own", "anon 20; wait 11; anon 120")
            .dies("app")
            .oom("own", SPIKE)
            .limit("own", 100.0),
    ]
}
