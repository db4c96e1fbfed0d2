//! Copies between host and GPU, pinned memory and device memory, compared with what a program requested from a stand-in for the
//! CUDA driver's library.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

use collector_tests::agent::{Agent, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::cuda::{Cuda, install};
use collector_tests::exposition::Exposition;
use collector_tests::needs;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;

const PROGRAM: &str = env!("CARGO_BIN_EXE_provoke");
const CONFIG: &str = "tick = \"100ms\"\n[transfer]\nenabled = true\nscan = \"100ms\"\n";

const CALLS: &str = "headroom_workload_gpu_transfers_total";
const BYTES: &str = "headroom_workload_gpu_transfer_bytes_total";
const SECONDS: &str = "headroom_gpu_transfer_seconds_count";
const PINNED: &str = "headroom_workload_pinned_host_bytes";
const DEVICE: &str = "headroom_workload_gpu_allocated_bytes";
const REFUSED: &str = "headroom_workload_gpu_allocation_failures_total";

/// One test at a time: the agent searches all processes, and would also find another test's.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the library has probes.
fn await_library(agent: &Agent) {
    agent.scrape_until("an attached probe", |now| state(now, "transfer_copy_end", "attached") == 1.0);
}

fn state(exposition: &Exposition, probe: &str, state: &str) -> f64 {
    exposition.sum("headroom_probe_state", &[("probe", probe), ("state", state)])
}

#[track_caller]
fn assert_copies(exposition: &Exposition, cgroup: &Cgroup, direction: &str, calls: u64, bytes: u64) {
    for (name, expected) in [(CALLS, calls), (BYTES, bytes)] {
        let counted = exposition.sum(name, &[("workload", &cgroup.path), ("direction", direction)]);
        assert_eq!(counted, expected as f64, "{name} {direction}");
    }
}

#[test]
fn copies_are_counted_by_call_byte_and_direction() {
    needs!(is_root(), "cgroups and programs need root");
    let _turn = turn();
    let folder = scratch();
    let library = install(&folder);
    let [cgroup, other] = ["copies", "others"].map(Cgroup::new);
    let mut cuda = Cuda::with(PROGRAM, &cgroup, &library);
    let agent = Agent::start(CONFIG);
    await_library(&agent);
    let (host, device) = (0x1000, 0x2_0000_0000);
    for (index, function) in
        ["cuMemcpyHtoD_v2", "cuMemcpyHtoD_v2_ptds", "cuMemcpyHtoDAsync_v2", "cuMemcpyHtoDAsync_v2_ptsz"]
            .iter()
            .enumerate()
    {
        cuda.copy(function, device, host, 1 << (10 * index), 10);
    }
    for (index, function) in
        ["cuMemcpyDtoH_v2", "cuMemcpyDtoH_v2_ptds", "cuMemcpyDtoHAsync_v2", "cuMemcpyDtoHAsync_v2_ptsz"]
            .iter()
            .enumerate()
    {
        cuda.copy(function, host, device, 1 << (10 * index), 7);
    }
    // More than 32 bits can count, and a copy that failed.
    cuda.copy("cuMemcpyHtoD_v2", device, host, 5 << 32, 1);
    cuda.send("fail 1");
    assert_eq!(cuda.send(&format!("copy cuMemcpyHtoD_v2 {device} {host} 4096 1")).0, 1);
    // A process of another workload, started after the library was found.
    let mut second = Cuda::with(PROGRAM, &other, &library);
    second.copy("cuMemcpyHtoDAsync_v2", device, host, 3, 1000);

    let exposition = agent.settle();
    let sizes = 1 + (1 << 10) + (1 << 20) + (1 << 30);
    assert_copies(&exposition, &cgroup, "host_to_device", 41, 10 * sizes + (5 << 32));
    assert_copies(&exposition, &cgroup, "device_to_host", 28, 7 * sizes);
    assert_copies(&exposition, &other, "host_to_device", 1000, 3000);
    assert_copies(&exposition, &other, "device_to_host", 0, 0);
    let seconds = |direction| exposition.sum(SECONDS, &[("direction", direction)]);
    assert_eq!((seconds("host_to_device"), seconds("device_to_host")), (1041.0, 28.0));
    assert_eq!(exposition.lost("transfer"), 0.0);
}

#[test]
fn the_direction_of_a_copy_without_one_follows_from_the_allocations() {
    needs!(is_root(), "cgroups and programs need root");
    let _turn = turn();
    let folder = scratch();
    let library = install(&folder);
    let cgroup = Cgroup::new("direction");
    let mut cuda = Cuda::with(PROGRAM, &cgroup, &library);
    let agent = Agent::start(CONFIG);
    await_library(&agent);
    let device = cuda.allocate("cuMemAlloc_v2", 1 << 20);
    let another = cuda.allocate("cuMemAllocAsync_ptsz", 1 << 20);
    let pinned = cuda.allocate("cuMemHostAlloc", 1 << 20);
    cuda.copy("cuMemcpy", device, pinned, 100, 1);
    cuda.copy("cuMemcpyAsync", device, pinned, 100, 2);
    cuda.copy("cuMemcpy_ptds", pinned, device, 1000, 4);
    cuda.copy("cuMemcpyAsync_ptsz", pinned, another, 1000, 8);
    cuda.copy("cuMemcpy", device, 0x1000, 10, 16);
    cuda.copy("cuMemcpy", 0x1000, 0x2000, 10, 32);
    // Between two addresses on the device: neither direction.
    cuda.copy("cuMemcpyAsync", device, another, 10, 64);
    let exposition = agent.settle();
    assert_copies(&exposition, &cgroup, "host_to_device", 3, 300);
    assert_copies(&exposition, &cgroup, "device_to_host", 12, 12_000);
    assert_copies(&exposition, &cgroup, "unknown", 48, 480);
    // Addresses inside an allocation, or whose allocation was not seen, are distinguished by whether the process can read them.
    cuda.copy("cuMemcpyAsync", device + 4096, pinned + 8192, 100, 128);
    cuda.copy("cuMemcpy", pinned + 4096, device + 8192, 100, 256);
    let exposition = agent.settle();
    assert_copies(&exposition, &cgroup, "host_to_device", 3 + 128, 300 + 12_800);
    assert_copies(&exposition, &cgroup, "device_to_host", 12 + 256, 12_000 + 25_600);
    assert_copies(&exposition, &cgroup, "unknown", 48, 480);
}

#[test]
fn a_batch_counts_as_many_copies_as_it_has() {
    needs!(is_root(), "cgroups and programs need root");
    let _turn = turn();
    let folder = scratch();
    let library = install(&folder);
    let cgroup = Cgroup::new("batch");
    let mut cuda = Cuda::with(PROGRAM, &cgroup, &library);
    let agent = Agent::start(CONFIG);
    await_library(&agent);
    let device = cuda.allocate("cuMemAlloc_v2", 64 << 20);
    let pinned = cuda.allocate("cuMemHostAlloc", 64 << 20);
    // As a model server moves blocks of its cache out and back in.
    cuda.batch("cuMemcpyBatchAsync", pinned + 4096, device + 4096, 8192, 1000);
    cuda.batch("cuMemcpyBatchAsync_v2", device + 4096, pinned + 4096, 4096, 500);
    cuda.batch("cuMemcpyBatchAsync_v2_ptsz", device, pinned, 16, 4096);
    cuda.batch("cuMemcpyBatchAsync_ptsz", 0x1000, 0x2000, 10, 7);
    let lost = |it: &Exposition| it.lost("transfer");
    let exposition = agent.settle();
    assert_copies(&exposition, &cgroup, "device_to_host", 1000, 8_192_000);
    assert_copies(&exposition, &cgroup, "host_to_device", 500 + 4096, 2_048_000 + 65_536);
    assert_copies(&exposition, &cgroup, "unknown", 7, 70);
    assert_eq!(lost(&exposition), 0.0);
    // Copies of a batch over the limit are counted as lost.
    cuda.batch("cuMemcpyBatchAsync", pinned, device, 1, 5000);
    let exposition = agent.settle();
    assert_copies(&exposition, &cgroup, "device_to_host", 1000 + 4096, 8_192_000 + 4096);
    assert_eq!(lost(&exposition), 1.0);
}

#[test]
fn pinned_and_device_memory_grow_shrink_and_end_with_their_process() {
    needs!(is_root(), "cgroups and programs need root");
    let _turn = turn();
    let folder = scratch();
    let library = install(&folder);
    let cgroup = Cgroup::new("held");
    let mut cuda = Cuda::with(PROGRAM, &cgroup, &library);
    let agent = Agent::start(CONFIG);
    await_library(&agent);
    let held = |cgroup: &Cgroup| {
        let exposition = agent.settle();
        [PINNED, DEVICE].map(|name| exposition.sum(name, &[("workload", &cgroup.path)]) as u64)
    };
    let first = cuda.allocate("cuMemHostAlloc", 3 << 20);
    // It calls the other function: still one allocation.
    let second = cuda.allocate("cuMemAllocHost_v2", 5 << 20);
    let own = vec![0u8; 4096];
    let registered = own.as_ptr() as u64;
    assert_eq!(cuda.send(&format!("call cuMemHostRegister_v2 {registered} 4096")).0, 0);
    let device = cuda.allocate("cuMemAlloc_v2", 7 << 30);
    let stream = cuda.allocate("cuMemAllocAsync", 1 << 30);
    let pool = cuda.allocate("cuMemAllocFromPoolAsync", 1 << 20);
    assert_eq!(held(&cgroup), [(8 << 20) + 4096, (8 << 30) + (1 << 20)]);

    cuda.call("cuMemFreeHost", first);
    cuda.call("cuMemHostUnregister", registered);
    cuda.call("cuMemFree_v2", device);
    cuda.call("cuMemFreeAsync", pool);
    assert_eq!(held(&cgroup), [5 << 20, 1 << 30]);

    // A release that failed changes nothing, nor does one of an unknown address.
    cuda.send("fail 999");
    assert_eq!(cuda.send(&format!("call cuMemFreeHost {second}")).0, 999);
    cuda.send(&format!("call cuMemFree_v2 {}", 0xdead));
    assert_eq!(held(&cgroup), [5 << 20, 1 << 30]);
    cuda.call("cuMemFreeHost", second);
    cuda.call("cuMemFreeAsync_ptsz", stream);
    assert_eq!(held(&cgroup), [0, 0]);

    cuda.allocate("cuMemHostAlloc", 9 << 20);
    cuda.allocate("cuMemAlloc_v2", 9 << 30);
    assert_eq!(held(&cgroup), [9 << 20, 9 << 30]);
    cuda.end();
    assert_eq!(held(&cgroup), [0, 0], "the process exited without freeing it");
}

#[test]
fn refused_allocations_are_counted_and_reported() {
    needs!(is_root(), "cgroups and programs need root");
    let _turn = turn();
    let folder = scratch();
    let library = install(&folder);
    let cgroup = Cgroup::new("refused");
    let mut cuda = Cuda::with(PROGRAM, &cgroup, &library);
    let agent = Agent::start(CONFIG);
    await_library(&agent);
    for (function, bytes, code) in
        [("cuMemAlloc_v2", 1u64 << 40, 2), ("cuMemAllocAsync", 77, 2), ("cuMemHostAlloc", 8, 304)]
    {
        cuda.send(&format!("fail {code}"));
        assert_eq!(cuda.send(&format!("allocate {function} {bytes}")).0, code);
    }
    let exposition = agent.settle();
    let refused = |memory| exposition.sum(REFUSED, &[("workload", &cgroup.path), ("memory", memory)]);
    assert_eq!((refused("device"), refused("pinned_host")), (2.0, 1.0));
    let pid = cuda.pid();
    // All of it was recorded before the scrape. A stop takes as long as the kernel to leave the library's functions: half a minute.
    let reported: Vec<_> = agent
        .samples()
        .into_iter()
        .filter_map(|sample| match sample.reading {
            collector_core::sample::Reading::Transfer(collector_core::signal::transfer::Reading::Refused(refusal)) => {
                Some(refusal)
            }
            _ => None,
        })
        .map(|refusal| (refusal.pid, refusal.comm, refusal.bytes, refusal.code))
        .collect();
    let expected = [(1 << 40, 2), (77, 2), (8, 304)].map(|(bytes, code)| (pid, "provoke".to_owned(), bytes, code));
    assert_eq!(reported, expected);
}

/// The process starts and loads the library long after the agent has started. The library is visible only in that process's
/// mount namespace.
#[test]
fn a_library_that_appears_later_in_another_mount_namespace_is_found() {
    needs!(is_root(), "cgroups, mounts and programs need root");
    let _turn = turn();
    let folder = scratch();
    let library = install(&folder);
    let hidden = folder.join("hidden");
    fs::create_dir(&hidden).unwrap();
    let agent = Agent::start(CONFIG);
    let before = agent.settle();
    assert_eq!(state(&before, "transfer_copy_end", "waiting"), 1.0, "{}", before.text);
    assert!(!before.has(SECONDS, &[]));
    let cgroup = Cgroup::new("hidden");
    let mut cuda = Cuda::start(PROGRAM, &cgroup);
    cuda.send(&format!("hide {} {}", library.display(), hidden.display()));
    assert!(fs::read_dir(&hidden).unwrap().next().is_none(), "it is visible from here");
    cuda.load(&hidden.join("libcuda.so.1"));
    await_library(&agent);
    cuda.copy("cuMemcpyDtoH_v2", 0x1000, 0x2_0000_0000, 4096, 3);
    let exposition = agent.settle();
    assert_copies(&exposition, &cgroup, "device_to_host", 3, 3 * 4096);
    assert_eq!(exposition.sum("headroom_source_up", &[("source", "transfer")]), 1.0);
}

#[test]
fn an_old_driver_lacks_functions_and_the_rest_is_counted() {
    needs!(is_root(), "cgroups and programs need root");
    let _turn = turn();
    let folder = scratch();
    let library = install(&folder);
    // The same library, with the functions that old drivers lack renamed.
    let mut content = fs::read(&library).unwrap();
    for name in ["cuMemcpy\0", "cuMemcpy_ptds\0", "cuMemcpyAsync\0", "cuMemcpyAsync_ptsz\0"] {
        let wanted = [b"\0", name.as_bytes()].concat();
        let at: Vec<usize> =
            content.windows(wanted.len()).enumerate().filter(|(_, found)| *found == wanted).map(|(at, _)| at).collect();
        assert!(!at.is_empty(), "{name}");
        at.into_iter().for_each(|at| content[at + 1] = b'x');
    }
    fs::write(&library, content).unwrap();
    let cgroup = Cgroup::new("old");
    let mut cuda = Cuda::with(PROGRAM, &cgroup, &library);
    let agent = Agent::start(CONFIG);
    await_library(&agent);
    cuda.copy("cuMemcpyHtoD_v2", 0x2_0000_0000, 0x1000, 11, 5);
    let exposition = agent.settle();
    assert_copies(&exposition, &cgroup, "host_to_device", 5, 55);
    assert_eq!(state(&exposition, "transfer_copy", "unsupported"), 1.0);
    assert!(!exposition.has("headroom_gpu_transfer_seconds_count", &[("direction", "unknown")]));
    let mut doctor = headroom("doctor");
    let config = folder.join("doctor.toml");
    fs::write(&config, "[transfer]\nenabled = true\n").unwrap();
    let reported = doctor.arg("--config").arg(&config).output().unwrap();
    let reported = String::from_utf8(reported.stdout).unwrap();
    assert!(reported.contains("libcuda.so.1 has no cuMemcpy, cuMemcpy_ptds"), "{reported}");
}

/// A process keeps using a library whose file is gone.
#[test]
fn a_removed_library_is_reported() {
    needs!(is_root(), "cgroups and programs need root");
    let _turn = turn();
    let folder = scratch();
    let library = install(&folder);
    let cgroup = Cgroup::new("removed");
    let _cuda = Cuda::with(PROGRAM, &cgroup, &library);
    fs::remove_file(&library).unwrap();
    let agent = Agent::start(CONFIG);
    let exposition = agent.scrape_until("the reason", |now| state(now, "transfer_copy_end", "failed") == 1.0);
    assert_eq!(exposition.sum("headroom_source_up", &[("source", "transfer")]), 0.0);
    assert!(agent.log().contains("the file was removed or replaced"), "{}", agent.log());
}

#[test]
fn without_transfer_enabled_nothing_is_attached() {
    needs!(is_root(), "cgroups and programs need root");
    let _turn = turn();
    let agent = Agent::start("tick = \"100ms\"\n");
    let exposition = agent.settle();
    assert_eq!(state(&exposition, "transfer_copy_end", "disabled"), 1.0);
    for name in [CALLS, BYTES, SECONDS, PINNED, DEVICE, REFUSED] {
        assert!(!exposition.has(name, &[]), "{name}");
    }
    assert!(!exposition.has("headroom_source_up", &[("source", "transfer")]));
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap();
    let (ptrace, admin) = (1 << 19, 1 << 21);
    assert_eq!(u64::from_str_radix(effective, 16).unwrap() & (ptrace | admin), 0, "it kept more than it needs");
}
