//! Memory tests for virtual machines only: the host runs out of memory, swaps, and is made to reclaim.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Instant;

use collector_core::signal::oom::Scope;
use collector_tests::agent::Agent;
use collector_tests::cgroup::Cgroup;
use collector_tests::loopback::disk_stats;
use collector_tests::process::{meminfo, vmstat};
use collector_tests::provocation::was_killed;
use collector_tests::record::kills_of;
use collector_tests::require::own_machine;
use collector_tests::scratch::scratch;
use collector_tests::swap::Swap;
use collector_tests::{applies, needs, provoke};

const CONFIG: &str = "tick = \"100ms\"\n";
const KILLS: &str = "headroom_oom_kills_total";
const STALLS: &str = "headroom_workload_reclaim_stalls_total";
const STALL_SECONDS: &str = "headroom_workload_reclaim_stall_seconds_total";
const MAJOR: &str = "headroom_workload_major_page_faults_total";
const MIB: u64 = 1 << 20;
const OWN: &str = "it would harm this machine: cargo xtask test vm";

/// The number after a word at the start of a line; the sum if several lines start so.
fn number(file: &Path, word: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let lines = text.lines().filter_map(|line| line.strip_prefix(word));
    lines.map(|rest| rest.split_whitespace().next().unwrap().parse::<u64>().unwrap()).sum()
}

/// Major faults of the children that were waited for (getrusage(2)).
fn major_faults_of_children() -> u64 {
    // SAFETY: a C struct of numbers, for which zero is a value, and which the call fills in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage), 0);
        usage
    };
    usage.ru_majflt as u64
}

#[test]
fn a_host_out_of_memory_kills_and_no_limit_is_blamed() {
    needs!(own_machine(), OWN);
    fs::write("/proc/sys/vm/overcommit_memory", "1").unwrap();
    // Where the kernel can, it gives up before it reads all programs' pages from the disk over and over.
    let _ = fs::write("/sys/kernel/mm/lru_gen/min_ttl_ms", "1000");
    let agent = Agent::start(CONFIG);
    let cgroup = Cgroup::new("exhaust");
    let before = vmstat("oom_kill");
    let mut hog = provoke!(&cgroup, &["hog", &format!("anon={}", meminfo("MemTotal")), "score=500", "comm=hog"]);
    assert!(was_killed(&mut hog), "it survived");
    assert_eq!((vmstat("oom_kill") - before, cgroup.kills()), (1, 1));

    let labels = [("workload", cgroup.path.as_str()), ("scope", "host")];
    agent.scrape_until("the kill", |exposition| exposition.sum(KILLS, &labels) > 0.0);
    let exposition = agent.settle();
    assert_eq!(exposition.sum(KILLS, &labels[..1]), 1.0, "{}", exposition.text);
    assert_eq!(exposition.sum(KILLS, &labels), 1.0);
    assert_eq!(exposition.sum("headroom_oom_limit_kills_total", &[]), 0.0, "no limit was the cause");
    let samples = agent.stop();
    let [kill] = kills_of(&samples, hog.id())[..] else { panic!("not exactly one kill of {}", hog.id()) };
    assert_eq!((kill.scope, kill.limited, kill.comm.as_str()), (Scope::Host, None, "hog"));
    // Linux 5.10 does not report it.
    if let Some(anon) = kill.anon_bytes {
        assert!(anon > meminfo("MemTotal") / 4 && anon < meminfo("MemTotal"), "{anon}");
    }
}

#[test]
fn a_group_is_killed_together_and_each_process_is_counted_once() {
    needs!(own_machine(), OWN);
    let agent = Agent::start(CONFIG);
    let cgroup = Cgroup::new("group");
    cgroup.limit(64 * MIB);
    fs::write(cgroup.memory().join("memory.oom.group"), "1").unwrap();
    let mut killed: Vec<Child> = (0..2).map(|_| provoke!(&cgroup, &["sleeper", "anon=4194304"])).collect();
    killed.push(provoke!(&cgroup, &["hog", "anon=268435456"]));
    assert!(killed.iter_mut().all(was_killed));

    let labels = [("workload", cgroup.path.as_str())];
    agent.scrape_until("the kills", |exposition| exposition.sum(KILLS, &labels) >= 3.0);
    assert_eq!(agent.settle().sum(KILLS, &labels), 3.0);
    let samples = agent.stop();
    for process in &killed {
        assert_eq!(kills_of(&samples, process.id()).len(), 1, "{}", process.id());
    }
}

#[test]
fn on_a_host_that_swaps_allocating_tasks_stall() {
    needs!(own_machine(), OWN);
    let _swap = Swap::compressed(meminfo("MemTotal") / 2);
    let agent = Agent::start(CONFIG);
    let cgroup = Cgroup::new("swapped");
    let (stalled, woken) = (vmstat("allocstall"), vmstat("pageoutrun"));
    let begun = Instant::now();
    let status = provoke!(&cgroup, &["hog", &format!("anon={}", meminfo("MemTotal") / 100 * 115)]).wait().unwrap();
    let wall = begun.elapsed().as_secs_f64();
    assert!(status.success(), "{status}");
    let exposition = agent.settle();
    let (stalled, woken) = (vmstat("allocstall") - stalled, vmstat("pageoutrun") - woken);
    assert!(stalled > 0 && woken > 0, "nothing was reclaimed");

    let labels = [("workload", cgroup.path.as_str()), ("kind", "direct")];
    let (own, seconds) = (exposition.sum(STALLS, &labels), exposition.sum(STALL_SECONDS, &labels));
    let host = exposition.sum("headroom_host_reclaim_stall_seconds_count", &labels[1..]);
    let awake = exposition.sum("headroom_host_kswapd_awake_seconds_total", &[]);
    let wakes = exposition.sum("headroom_host_kswapd_wakes_total", &[]);
    eprintln!(
        "kernel {stalled}, host {host}, own {own} of {seconds} s; kswapd {wakes} of {woken}, {awake} s; {wall} s"
    );
    assert!(own >= 1.0 && seconds > 0.0 && seconds <= wall);
    assert!(host >= own && host <= stalled as f64, "the kernel counts again where it retries within one stall");
    assert!(wakes >= 1.0 && wakes <= woken as f64 && awake > 0.0);
}

#[test]
fn above_memory_high_a_workload_is_slowed_and_not_killed() {
    needs!(own_machine(), OWN);
    let directory = scratch();
    let file = directory.join("sparse");
    File::create(&file).unwrap().set_len(96 * MIB).unwrap();
    let agent = Agent::start(&format!("{CONFIG}[workload]\nstat_interval = \"100ms\"\n"));
    let cgroup = Cgroup::new("high");
    fs::write(cgroup.memory().join("memory.high"), (32 * MIB).to_string()).unwrap();
    let status = provoke!(&cgroup, &["thrash", &format!("file={}", file.display()), "rounds=2"]).wait().unwrap();
    assert!(status.success(), "{status}");

    let event = |name: &str| number(&cgroup.memory().join("memory.events"), &format!("{name} "));
    let exposition = agent.settle();
    let reported = |name| {
        let labels = [("workload", cgroup.path.as_str()), ("event", name)];
        exposition.sum("headroom_workload_memory_events_total", &labels)
    };
    eprintln!("high {} of {}", reported("high"), event("high"));
    assert!(event("high") > 0, "the limit was not reached");
    for name in ["low", "high", "max", "oom", "oom_kill"] {
        assert_eq!(reported(name), event(name) as f64, "{name}");
    }
    let labels = [("workload", cgroup.path.as_str()), ("kind", "memcg")];
    assert!(exposition.sum(STALLS, &labels) >= 1.0);
    assert_eq!(exposition.sum("headroom_workload_memory_high_bytes", &labels[..1]), (32 * MIB) as f64);
}

/// The task that writes to `memory.reclaim` does the work: it waits, and no other task.
#[test]
fn memory_reclaim_stalls_only_the_task_that_writes() {
    needs!(own_machine(), OWN);
    let (owner, asker) = (Cgroup::new("owner"), Cgroup::new("asker"));
    let file = owner.memory().join("memory.reclaim");
    applies!(file.exists(), "its kernel has no memory.reclaim");
    let directory = scratch();
    let sparse = directory.join("sparse");
    File::create(&sparse).unwrap().set_len(64 * MIB).unwrap();
    let agent = Agent::start(CONFIG);
    let read = provoke!(&owner, &["thrash", &format!("file={}", sparse.display())]).wait().unwrap();
    assert!(read.success(), "{read}");
    let held = number(&owner.memory().join("memory.current"), "");
    assert!(held > 60 * MIB, "{held}");
    let mut ask = Command::new("sh");
    ask.args(["-c", &format!("echo 33554432 > {}", file.display())]);
    assert!(asker.spawn(&mut ask).wait().unwrap().success());
    let freed = held - number(&owner.memory().join("memory.current"), "");
    assert!(freed >= 30 * MIB, "{freed}");

    let exposition = agent.settle();
    let of = |name: &str, cgroup: &Cgroup| exposition.sum(name, &[("workload", cgroup.path.as_str())]);
    assert_eq!(of(STALLS, &owner), 0.0, "the owner did not stall: {}", exposition.text);
    assert!(of(STALLS, &asker) >= 1.0 && of(STALL_SECONDS, &asker) > 0.0);
    let taken = "headroom_workload_reclaim_target_bytes_total";
    if exposition.has(taken, &[]) {
        let (owners, askers) = (of(taken, &owner), of(taken, &asker));
        eprintln!("{freed} freed, {owners} taken from the owner, {askers} from the asker");
        assert!(owners >= (30 * MIB) as f64 && askers == 0.0);
    }
}

/// Makes a workload use twice its limit, over and over; returns its cgroup and the kernel's count of its major faults.
fn thrash() -> (Cgroup, u64) {
    let cgroup = Cgroup::new("thrash");
    fs::write(cgroup.memory().join("memory.max"), (48 * MIB).to_string()).unwrap();
    let before = major_faults_of_children();
    let status = provoke!(&cgroup, &["hog", "anon=100663296", "rounds=3"]).wait().unwrap();
    assert!(status.success(), "{status}");
    (cgroup, major_faults_of_children() - before)
}

#[test]
fn every_page_read_back_from_swap_is_a_major_fault() {
    needs!(own_machine(), OWN);
    let _swap = Swap::compressed(256 * MIB);
    let agent = Agent::start(CONFIG);
    let (cgroup, reference) = thrash();
    let exposition = agent.settle();
    let labels = [("workload", cgroup.path.as_str())];
    let (reported, all) = (exposition.sum(MAJOR, &labels), exposition.sum("headroom_major_fault_seconds_count", &[]));
    eprintln!("{reported} major faults, {all} of the host timed, {reference} by getrusage");
    assert!(reference > 10_000, "{reference} major faults: it did not thrash");
    assert_eq!(reported, reference as f64);
    // The kernel also counts a fault that it retried although another task had read the page meanwhile: nothing waited for
    // that (mm_account_fault of mm/memory.c, FAULT_FLAG_TRIED).
    assert!(all >= 0.999 * reported, "{all} were timed of {reported}");
    let pressure = [labels[0], ("resource", "memory")];
    let waited = exposition.sum("headroom_workload_pressure_waiting_seconds_total", &pressure);
    let text = fs::read_to_string(cgroup.memory().join("memory.pressure")).unwrap();
    let total = text.lines().next().unwrap().rsplit_once("total=").unwrap().1;
    let kernel = total.parse::<f64>().unwrap() / 1e6;
    assert!(kernel > 0.0 && (waited / kernel - 1.0).abs() < 0.02, "{waited} s waited, {kernel} s by the kernel");
}

#[test]
fn swapping_is_counted_as_io_of_the_disk() {
    needs!(own_machine(), OWN);
    let _swap = Swap::on("/dev/vdb");
    let agent = Agent::start(CONFIG);
    let before = disk_stats("vdb");
    let (cgroup, reference) = thrash();
    let exposition = agent.settle();
    let after = disk_stats("vdb");
    assert_eq!(exposition.sum(MAJOR, &[("workload", &cgroup.path)]), reference as f64);
    let sectors =
        [("read", after.sectors_read - before.sectors_read), ("write", after.sectors_written - before.sectors_written)];
    for (operation, sectors) in sectors {
        let labels = [("device", "vdb"), ("operation", operation)];
        let bytes = exposition.sum("headroom_block_io_bytes_total", &labels);
        eprintln!("{operation}: {bytes} bytes, {} by the kernel", sectors * 512);
        assert!(sectors > 0 && bytes == (sectors * 512) as f64, "{operation}: {bytes} bytes, {sectors} sectors");
    }
}
