//! `provoke VERB …`: how processes in the tests' cgroups misbehave. One file a verb, in `src/provoke`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "../provoke/dirty.rs"]
mod dirty;
#[path = "../provoke/io.rs"]
mod io;
#[path = "../provoke/join.rs"]
mod join;
#[path = "../provoke/major.rs"]
mod major;
#[path = "../provoke/touch.rs"]
mod touch;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["touch", access, pages, ref cgroups @ ..] => touch::run(access, pages.parse().unwrap(), cgroups),
        ["major", file, pages, ref cgroups @ ..] => major::run(file, pages.parse().unwrap(), cgroups),
        ["io", operation, file, block, count, ref cgroups @ ..] => {
            io::run(operation, file, block.parse().unwrap(), count.parse().unwrap(), cgroups);
        }
        ["dirty", file, bytes, ref cgroups @ ..] => dirty::run(file, bytes.parse().unwrap(), cgroups),
        _ => panic!("no such verb: {arguments:?}"),
    }
}
