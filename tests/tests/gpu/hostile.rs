//! What a user may do with files and functions that are named like the CUDA driver's: honest numbers go on.

use std::fs;
use std::os::unix::fs::chown;

use collector_tests::agent::Agent;
use collector_tests::cgroup::Cgroup;
use collector_tests::cuda::{Cuda, install};
use collector_tests::exposition::Exposition;
use collector_tests::needs;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use rustix::fs::{FileType, Mode, OFlags, inotify};

const PROGRAM: &str = env!("CARGO_BIN_EXE_provoke");
const CONFIG: &str = "tick = \"100ms\"\n[transfer]\nenabled = true\nscan = \"100ms\"\n";
const BYTES: &str = "headroom_workload_gpu_transfer_bytes_total";
const DEVICE: &str = "headroom_workload_gpu_allocated_bytes";
const USER: u32 = 64_321;
/// More than all allocations that the agent can follow.
const MANY: u64 = 70_000;

fn of(exposition: &Exposition, name: &str, cgroup: &Cgroup) -> u64 {
    exposition.sum(name, &[("workload", &cgroup.path)]) as u64
}

fn await_library(agent: &Agent) {
    let attached = [("probe", "transfer_copy_end"), ("state", "attached")];
    agent.scrape_until("an attached probe", |now| now.sum("headroom_probe_state", &attached) == 1.0);
}

#[test]
fn a_users_endless_allocations_leave_room_for_roots() {
    needs!(is_root(), "cgroups and programs need root");
    let folder = scratch();
    let library = install(&folder);
    let [hostile, honest] = ["hostile", "honest"].map(Cgroup::new);
    let user = || {
        let mut cuda = Cuda::with(PROGRAM, &hostile, &library);
        assert_eq!(cuda.send(&format!("user {USER}")).0, 0);
        cuda
    };
    let mut first = user();
    let agent = Agent::start(CONFIG);
    await_library(&agent);
    assert_eq!(first.send(&format!("fill cuMemAlloc_v2 16 {MANY}")).0, 0);
    let mut root = Cuda::with(PROGRAM, &honest, &library);
    let address = root.allocate("cuMemAlloc_v2", 7 << 30);
    root.allocate("cuMemAlloc_v2", 1 << 30);
    root.call("cuMemFree_v2", address);
    let exposition = agent.settle();
    assert_eq!(of(&exposition, DEVICE, &honest), 1 << 30);
    // A quarter of the places; what has none is counted as lost.
    assert_eq!(of(&exposition, DEVICE, &hostile), 16 * (65_536 / 4));
    assert_eq!(exposition.lost("transfer"), (MANY - 65_536 / 4) as f64);

    // Another process of the user has none left, until the first has ended.
    let mut second = user();
    second.allocate("cuMemAlloc_v2", 1 << 20);
    assert_eq!(agent.settle().lost("transfer"), (MANY - 65_536 / 4 + 1) as f64);
    first.end();
    agent.scrape_until("the first process to be forgotten", |now| of(now, DEVICE, &hostile) == 0);
    second.allocate("cuMemAlloc_v2", 1 << 20);
    let exposition = agent.settle();
    assert_eq!(of(&exposition, DEVICE, &hostile), 1 << 20);
    assert_eq!(exposition.lost("transfer"), (MANY - 65_536 / 4 + 1) as f64);
}

#[test]
fn threads_that_end_inside_calls_leave_room_for_others() {
    needs!(is_root(), "cgroups and programs need root");
    let folder = scratch();
    let library = install(&folder);
    let [hostile, honest] = ["hostile", "honest"].map(Cgroup::new);
    let mut user = Cuda::with(PROGRAM, &hostile, &library);
    assert_eq!(user.send(&format!("user {USER}")).0, 0);
    let agent = Agent::start(CONFIG);
    await_library(&agent);
    // More than there are places.
    let threads = 17_000;
    assert_eq!(user.send(&format!("leave cuMemcpyHtoD_v2 {threads}")).0, 0);
    let mut root = Cuda::with(PROGRAM, &honest, &library);
    root.copy("cuMemcpyHtoD_v2", 0x2_0000_0000, 0x1000, 4096, 3);
    let exposition = agent.settle();
    assert_eq!(of(&exposition, BYTES, &honest), 3 * 4096);
    assert_eq!(exposition.lost("transfer"), f64::from(threads - 16_384 / 4));
    let mut other = Cuda::with(PROGRAM, &honest, &library);
    assert_eq!(other.send(&format!("user {}", USER + 1)).0, 0);
    other.copy("cuMemcpyHtoD_v2", 0x2_0000_0000, 0x1000, 4096, 4);
    assert_eq!(of(&agent.settle(), BYTES, &honest), 7 * 4096);
    drop((user, root));
}

#[test]
fn a_thousand_users_leave_room_for_another() {
    needs!(is_root(), "cgroups and programs need root");
    let folder = scratch();
    let library = install(&folder);
    let [hostile, honest] = ["hostile", "honest"].map(Cgroup::new);
    let mut user = Cuda::with(PROGRAM, &hostile, &library);
    let agent = Agent::start(CONFIG);
    await_library(&agent);
    let count = 1500;
    assert_eq!(user.send(&format!("users cuMemAlloc_v2 16 {} {count}", USER + 1)).0, 0);
    assert_eq!(of(&agent.settle(), DEVICE, &hostile), 16 * count);
    let mut other = Cuda::with(PROGRAM, &honest, &library);
    assert_eq!(other.send(&format!("user {USER}")).0, 0);
    other.allocate("cuMemAlloc_v2", 1 << 20);
    let exposition = agent.settle();
    assert_eq!(of(&exposition, DEVICE, &honest), 1 << 20);
    assert_eq!(exposition.lost("transfer"), 0.0);
    // What users who have ended took is given back: again and again there is room for as many.
    drop(user);
    agent.scrape_until("the users to be forgotten", |now| of(now, DEVICE, &hostile) == 0);
    for _ in 0..2 {
        let mut user = Cuda::with(PROGRAM, &hostile, &library);
        assert_eq!(user.send(&format!("users cuMemAlloc_v2 16 {} {count}", USER + 1)).0, 0);
        assert_eq!(of(&agent.settle(), DEVICE, &hostile), 16 * count);
        drop(user);
        agent.scrape_until("the users to be forgotten", |now| of(now, DEVICE, &hostile) == 0);
    }
    assert_eq!(agent.settle().lost("transfer"), 0.0);
}

#[test]
fn many_files_of_a_user_and_what_is_mounted_over_one_keep_no_library_out() {
    needs!(is_root(), "cgroups, mounts and programs need root");
    let folder = scratch();
    let library = install(&folder);
    let [hostile, honest] = ["hostile", "honest"].map(Cgroup::new);
    // Whoever opens it, even for a moment, is seen.
    let fifo = folder.join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, &fifo, inotify::WatchFlags::OPEN).unwrap();
    // Older kernels, such as 5.10, also report whoever only looks where a path leads.
    drop(rustix::fs::open(&fifo, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap());
    let tells_opened = rustix::io::read(&watch, &mut [0; 256]) == Err(rustix::io::Errno::AGAIN);
    let hidden = folder.join("hidden");
    fs::create_dir(&hidden).unwrap();
    let mut covered = Cuda::start(PROGRAM, &hostile);
    covered.send(&format!("hide {} {}", library.display(), hidden.display()));
    covered.load(&hidden.join("libcuda.so.1"));
    let cover = format!("cover {} {}", fifo.display(), hidden.join("libcuda.so.1").display());
    assert_eq!(covered.send(&cover).0, 0);
    // Real libraries, and each is another file: more than there are places.
    let copies: Vec<Cuda> = (0..20)
        .map(|number| {
            let copy = folder.join(format!("copy{number}"));
            fs::create_dir(&copy).unwrap();
            let copy = copy.join("libcuda.so.1");
            fs::copy(&library, &copy).unwrap();
            chown(&copy, Some(USER), None).unwrap();
            Cuda::with(PROGRAM, &hostile, &copy)
        })
        .collect();
    let agent = Agent::start(CONFIG);
    await_library(&agent);
    let mut root = Cuda::with(PROGRAM, &honest, &library);
    agent.await_log(&[&format!("functions of {}", library.display())]);
    root.copy("cuMemcpyHtoD_v2", 0x2_0000_0000, 0x1000, 4096, 3);
    assert_eq!(of(&agent.settle(), BYTES, &honest), 3 * 4096);
    let log = agent.log();
    assert_eq!(log.matches("functions of").count(), 5, "four of the user's and root's own:\n{log}");
    assert!(log.contains("another file is in its place"), "{log}");
    if tells_opened {
        assert_eq!(rustix::io::read(&watch, &mut [0; 256]), Err(rustix::io::Errno::AGAIN), "the FIFO was opened");
    }
    drop((covered, copies));
}

#[test]
fn files_of_roots_that_a_users_processes_mount_take_the_users_places() {
    needs!(is_root(), "cgroups, mounts and programs need root");
    let folder = scratch();
    let library = install(&folder);
    let [hostile, honest] = ["hostile", "honest"].map(Cgroup::new);
    // More than there are places, each in a mount namespace of its own and root's.
    let mounts: Vec<Cuda> = (0..20)
        .map(|number| {
            let over = folder.join(format!("over{number}"));
            fs::create_dir(&over).unwrap();
            let mut user = Cuda::start(PROGRAM, &hostile);
            user.send(&format!("hide {} {}", library.display(), over.display()));
            user.load(&over.join("libcuda.so.1"));
            assert_eq!(user.send(&format!("user {USER}")).0, 0);
            user
        })
        .collect();
    let agent = Agent::start(CONFIG);
    agent.await_log(&["this user has as many such files as a user may have"]);
    let mut root = Cuda::with(PROGRAM, &honest, &library);
    agent.await_log(&[&format!("functions of {}", library.display())]);
    root.copy("cuMemcpyHtoD_v2", 0x2_0000_0000, 0x1000, 4096, 3);
    assert_eq!(of(&agent.settle(), BYTES, &honest), 3 * 4096);
    let log = agent.log();
    assert_eq!(log.matches("functions of").count(), 5, "four of the user's and root's own:\n{log}");
    drop(mounts);
}
