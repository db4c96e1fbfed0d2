//! The kind of memory that filled the limit: files in memory, shared, locked, of the kernel, page cache beside a heap.

use super::{CACHE_HELD, GROWTH, KERNEL, SHARED, SPIKE, either, limited};
use crate::stage::scenario::Scenario;

pub fn scenarios() -> Vec<Scenario> {
    [shared(), kernel(), cache()].concat()
}

fn shared() -> Vec<Scenario> {
    vec![
        limited("tmpfs_writer", "writes a file to a tmpfs until it is killed; the file stays")
            .run("writer", "", "anon 6; wait 8; file shm/model 125 @14")
            .dies("writer")
            .oom("", SHARED)
            .size("filled_bytes", 94.0),
        limited("tmpfs_of_another", "one fills a tmpfs and ends; another needs little and is killed for it")
            .run("writer", "", "file shm/cache 82 @40")
            .ends("writer")
            .pause(6.0)
            .run("app", "", "wait 4; anon 30")
            .dies("app")
            .oom("", SHARED)
            .size("filled_bytes", 82.0)
            .says("app ("),
        limited("tmpfs_slowly", "writes to a tmpfs slowly, in a straight line")
            .run("logger", "", "anon 4; file shm/log 45; wait 4; file shm/log 70 @1.3")
            .dies("logger")
            .oom("", SHARED)
            .size("filled_bytes", 96.0),
        limited("shared_memory", "shared anonymous memory fills the limit")
            .run("worker", "", "anon 5; wait 9; shared 125 @15")
            .dies("worker")
            .oom("", SHARED)
            .says("worker ("),
        limited(
            "heap_beside_tmpfs",
            "a third of the limit is tmpfs and does not change; the heap grows in a straight line",
        )
        .run("app", "", "file shm/data 33; anon 24; wait 3; anon 60 @0.9")
        .dies("app")
        .oom("", GROWTH),
        limited("tmpfs_under_page_cache", "page cache fills the limit all the time; a tmpfs grows below it")
            .file("data", 160.0)
            .run("reader", "", "read disk/data 26 1; stay")
            .pause(8.0)
            .run("writer", "", "anon 4; file shm/model 130 @6")
            .dies("writer")
            .oom("", SHARED)
            .says("writer ("),
    ]
}

fn kernel() -> Vec<Scenario> {
    vec![
        limited("pipes", "data in pipes that nobody reads fills the limit")
            .run("piper", "", "anon 5; wait 9; pipe 130 @16")
            .dies("piper")
            .oom("", KERNEL)
            .says("piper ("),
        limited("pipes_slowly", "the same, slowly")
            .run("piper", "", "anon 5; pipe 50; wait 4; pipe 70 @1.3")
            .dies("piper")
            .oom("", KERNEL)
            .size("filled_bytes", 95.0),
        limited("sockets", "data in sockets that nobody reads fills the limit")
            .run("sender", "", "anon 5; wait 9; socket 130 @16")
            .dies("sender")
            .oom("", KERNEL)
            .says("sender ("),
        limited("inodes", "many empty files in a tmpfs: inodes and names fill the limit")
            .run("maker", "", "anon 5; wait 9; name shm/. 140 @14")
            .dies("maker")
            .oom("", KERNEL)
            .size("filled_bytes", 95.0),
        limited("kernel_memory_of_another", "one holds pipes; another needs little and is killed for it")
            .run("holder", "", "pipe 78; ready; stay")
            .ready("holder")
            .pause(7.0)
            .run_scored("app", "", 800, "anon 4; wait 4; anon 40")
            .dies("app")
            .oom("", KERNEL)
            .size("filled_bytes", 78.0)
            .says("app ("),
    ]
}

fn cache() -> Vec<Scenario> {
    vec![
        limited("locked_file", "a model's pages are locked in memory; a little more is too much")
            .file("model", 80.0)
            .run("server", "", "hold disk/model 79; ready; stay")
            .ready("server")
            .pause(7.0)
            .run_scored("app", "", 800, "anon 4; wait 4; anon 40")
            .dies("app")
            .oom("", CACHE_HELD)
            .size("filled_bytes", 79.0)
            .says("locked"),
        limited(
            "heap_under_page_cache",
            "page cache fills the limit all the time; a heap grows below it in a straight line",
        )
        .file("data", 160.0)
        .run("reader", "", "read disk/data 100 1; stay")
        .pause(4.0)
        .run("leaker", "", "anon 40; anon 90 @1.3")
        .dies("leaker")
        .oom("", GROWTH),
        limited(
            "heap_after_page_cache",
            "page cache filled the limit until just now; then a heap takes it all at once",
        )
        .file("data", 160.0)
        .run("reader", "", "read disk/data 16 1; ready; stay")
        .ready("reader")
        .run("app", "", "anon 4; wait 1; anon 140 @60")
        .dies("app")
        .oom("", SPIKE)
        .never("page cache, and it read"),
        limited("shared_then_heap", "half the limit is shared memory, held for long; the heap takes the rest at once")
            .run("app", "", "shared 48; wait 16; anon 80")
            .dies("app")
            .oom("", either(SPIKE, SHARED)),
    ]
}
