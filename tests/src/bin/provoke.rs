//! Misbehaviour of a process in a test's cgroup: `provoke VERB …`, one file per verb. It panics if anything fails: what did not
//! happen must not look like something that the agent missed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a provocation that cannot continue fails")]

#[path = "../provoke/act/mod.rs"]
mod act;
#[path = "../provoke/compact.rs"]
mod compact;
#[path = "../provoke/confined.rs"]
mod confined;
#[path = "../provoke/cuda.rs"]
mod cuda;
#[path = "../provoke/dirty.rs"]
mod dirty;
#[path = "../provoke/forbidden.rs"]
mod forbidden;
#[path = "../provoke/hog.rs"]
mod hog;
#[path = "../provoke/hold.rs"]
mod hold;
#[path = "../provoke/io.rs"]
mod io;
#[path = "../provoke/join.rs"]
mod join;
#[path = "../provoke/major.rs"]
mod major;
#[path = "../provoke/memory.rs"]
mod memory;
#[path = "../provoke/nvml.rs"]
mod nvml;
#[path = "../provoke/option.rs"]
mod option;
#[path = "../provoke/pin.rs"]
mod pin;
#[path = "../provoke/profile.rs"]
mod profile;
#[path = "../provoke/sleeper.rs"]
mod sleeper;
#[path = "../provoke/tenant.rs"]
mod tenant;
#[path = "../provoke/thrash.rs"]
mod thrash;
#[path = "../provoke/touch.rs"]
mod touch;
#[path = "../provoke/train.rs"]
mod train;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let verb = arguments.next().unwrap_or_default();
    let options: Vec<String> = arguments.collect();
    let arguments: Vec<&str> = options.iter().map(String::as_str).collect();
    match (verb.as_str(), &arguments[..]) {
        ("act", _) => act::run(&options),
        ("compact", _) => compact::run(),
        ("confined", [uid, transfer, folder]) => confined::run(uid, transfer.parse().unwrap(), folder),
        ("cuda", _) => cuda::run(),
        ("forbidden", [file, pid, name]) => forbidden::run(file, pid.parse().unwrap(), name),
        ("hog", _) => hog::run(&options),
        ("pin", [bytes, cgroups @ ..]) => pin::run(bytes.parse().unwrap(), cgroups),
        ("profile", [library, gib]) => profile::run(library, gib.parse().unwrap(), false),
        ("profile", [library, gib, "pause"]) => profile::run(library, gib.parse().unwrap(), true),
        ("sleeper", _) => sleeper::run(&options),
        ("tenant", [usage]) => tenant::run(usage),
        ("thrash", _) => thrash::run(&options),
        ("touch", [access, pages, cgroups @ ..]) => touch::run(access, pages.parse().unwrap(), cgroups),
        ("train", _) => train::run(&options),
        ("visit", [pages, cgroups @ ..]) => touch::visit(pages.parse().unwrap(), cgroups),
        ("hold", [anon, shmem, file, bytes, device, cpu, cgroups @ ..]) => {
            let [anon, shmem, bytes] = [anon, shmem, bytes].map(|number| number.parse().unwrap());
            hold::run(anon, shmem, (file, bytes), device, cpu.parse().unwrap(), cgroups);
        }
        ("nvml", [times, library @ ..]) => nvml::run(times.parse().unwrap(), library.first().copied()),
        ("major", [file, pages, cgroups @ ..]) => major::run(file, pages.parse().unwrap(), cgroups),
        ("io", [operation, file, block, count, cgroups @ ..]) => {
            io::run(operation, file, block.parse().unwrap(), count.parse().unwrap(), cgroups);
        }
        ("dirty", [file, bytes, cgroups @ ..]) => dirty::run(file, bytes.parse().unwrap(), cgroups),
        _ => panic!("unknown verb or wrong arguments: {verb:?} {arguments:?}"),
    }
}
