//! Waiting for memory and for IO, without a kill.

use super::{HIGH, IO_BY_ONE, IO_BY_SEVERAL, IO_LIMIT, THRASH};
use crate::stage::scenario::Knob::{High, Limit, Write};
use crate::stage::scenario::{Host, IO_PRESSURE, MEMORY_PRESSURE, Scenario};

fn alone(name: &'static str, what: &'static str) -> Scenario {
    Scenario::new(name, what).alone()
}

pub fn scenarios() -> Vec<Scenario> {
    [memory(), io()].concat()
}

/// What is read again shows as waiting for memory or for the disk, as the disk is fast or slow.
fn memory() -> Vec<Scenario> {
    vec![
        alone("thrash", "reads again and again a file that does not fit into its limit")
            .group("", &[Limit(100.0)])
            .file("data", 300.0)
            .run("reader", "", "anon 8; read disk/data 26 4")
            .ends("reader")
            .incident(MEMORY_PRESSURE, "", THRASH)
            .or_kind(IO_PRESSURE),
        alone("thrash_and_calm", "the same beside a larger neighbour that does nothing")
            .group("", &[])
            .group("thrash", &[Limit(100.0)])
            .group("calm", &[])
            .file("data", 300.0)
            .run("calm", "calm", "anon 240; ready; stay")
            .ready("calm")
            .run("reader", "thrash", "anon 8; read disk/data 26 4")
            .ends("reader")
            .incident(MEMORY_PRESSURE, "thrash", THRASH)
            .or_kind(IO_PRESSURE)
            .never("{calm}"),
        alone("thrash_then_gone", "the same, and the cgroup is removed at once")
            .group("", &[])
            .group("job", &[Limit(100.0)])
            .file("data", 300.0)
            .run("reader", "job", "anon 8; read disk/data 26 4")
            .ends("reader")
            .remove("job")
            .incident(MEMORY_PRESSURE, "job", THRASH)
            .or_kind(IO_PRESSURE),
        alone("held_back", "memory.high holds it back, and it is not killed")
            .on(Host::V2)
            .group("", &[High(60.0)])
            .run("app", "", "anon 55; wait 5; anon 60 @2; stay")
            .pause(40.0)
            .incident(MEMORY_PRESSURE, "", HIGH)
            .says("memory.high"),
    ]
}

fn io() -> Vec<Scenario> {
    vec![
        alone("io_by_one", "one writes past the page cache without a pause")
            .group("", &[])
            .group("writer", &[])
            .group("calm", &[])
            .run("calm", "calm", "anon 60; ready; stay")
            .ready("calm")
            .run("writer", "writer", "write disk/x 22 6")
            .ends("writer")
            .incident(IO_PRESSURE, "writer", IO_BY_ONE)
            .says("{writer}")
            .never("{calm}"),
        alone("io_limited", "writes to the disk as fast as its own limit on IO allows")
            .group("", &[])
            .group("writer", &[Write(25.0)])
            .run("writer", "writer", "write disk/x 22 2")
            .ends("writer")
            .incident(IO_PRESSURE, "writer", IO_LIMIT),
        alone("io_by_three", "three write past the page cache, each as much as the others")
            .group("", &[])
            .group("one", &[])
            .group("two", &[])
            .group("three", &[])
            .run("one", "one", "write disk/1 22 2")
            .run("two", "two", "write disk/2 22 2")
            .run("three", "three", "write disk/3 22 2")
            .ends("one")
            .ends("two")
            .ends("three")
            .incident(IO_PRESSURE, "one|two|three", IO_BY_SEVERAL),
    ]
}
