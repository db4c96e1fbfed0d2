//! How a process in a test's cgroup misbehaves: `provoke VERB [KEY=VALUE]…`, a file each. It prints `ready` once it is
//! where the test wants it, and fails loudly: a provocation that did not happen must not pass for one that went unseen.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a provocation that cannot go on fails")]

#[path = "../provoke/compact.rs"]
mod compact;
#[path = "../provoke/hog.rs"]
mod hog;
#[path = "../provoke/memory.rs"]
mod memory;
#[path = "../provoke/option.rs"]
mod option;
#[path = "../provoke/sleeper.rs"]
mod sleeper;
#[path = "../provoke/thrash.rs"]
mod thrash;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let verb = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    match verb.as_str() {
        "compact" => compact::run(),
        "hog" => hog::run(&arguments),
        "sleeper" => sleeper::run(&arguments),
        "thrash" => thrash::run(&arguments),
        _ => panic!("no such verb: {verb:?}"),
    }
}
