//! The host: the agent's numbers compared with the kernel's files, a file system that is mounted, one that hangs, and pressure
//! that is reported before the next tick.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};

use collector_tests::agent::Agent;
use collector_tests::cgroup::Cgroup;
use collector_tests::exposition::Exposition;
use collector_tests::loopback::{Loop, disk_stats};
use collector_tests::needs;
use collector_tests::require::{is_root, skip};
use collector_tests::scratch::{Scratch, scratch};

const CONFIG: &str = "tick = \"100ms\"\n[filesystem]\ninterval = \"100ms\"\n";
const MIB: u64 = 1 << 20;
const SIZE: &str = "headroom_host_filesystem_size_bytes";
const FREE: &str = "headroom_host_filesystem_free_bytes";
const UP: &str = "headroom_host_filesystem_up";
const EVENTS: &str = "headroom_host_pressure_events_total";

/// The number after a key in a file of /proc, with or without a colon.
fn number(text: &str, key: &str) -> Option<f64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(|c: char| c == ':' || c.is_whitespace()));
    let (_, rest) = lines.find(|(name, _)| *name == key)?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Name, labels, and the kernel's value of a metric.
type Counter = (&'static str, Vec<(&'static str, &'static str)>, f64);

/// The kernel's counters, in the units of the metrics.
fn counters() -> Vec<Counter> {
    let read = |file: &str| fs::read_to_string(Path::new("/proc").join(file)).unwrap_or_default();
    let (vmstat, stat) = (read("vmstat"), read("stat"));
    let mut found = Vec::new();
    let mut add = |name, labels: &[(&'static str, &'static str)], value: Option<f64>| {
        found.extend(value.map(|value| (name, labels.to_vec(), value)));
    };
    let page = rustix::param::page_size() as f64;
    for (by, steal, scan) in [
        ("kswapd", "pgsteal_kswapd", "pgscan_kswapd"),
        ("direct", "pgsteal_direct", "pgscan_direct"),
        ("khugepaged", "pgsteal_khugepaged", "pgscan_khugepaged"),
    ] {
        add("headroom_host_reclaimed_bytes_total", &[("by", by)], number(&vmstat, steal).map(|it| it * page));
        add("headroom_host_reclaim_scanned_bytes_total", &[("by", by)], number(&vmstat, scan).map(|it| it * page));
    }
    add("headroom_host_page_faults_total", &[], number(&vmstat, "pgfault"));
    add("headroom_host_major_page_faults_total", &[], number(&vmstat, "pgmajfault"));
    add("headroom_host_oom_kills_total", &[], number(&vmstat, "oom_kill"));
    add("headroom_host_refaults_total", &[("type", "file")], number(&vmstat, "workingset_refault_file"));
    add("headroom_host_context_switches_total", &[], number(&stat, "ctxt"));
    add("headroom_host_forks_total", &[], number(&stat, "processes"));
    let hertz = rustix::param::clock_ticks_per_second() as f64;
    let cpu: Vec<f64> = stat.lines().next().unwrap().split_whitespace().skip(1).map(|it| it.parse().unwrap()).collect();
    add("headroom_host_cpu_seconds_total", &[("mode", "system")], Some(cpu[2] / hertz));
    add("headroom_host_cpu_seconds_total", &[("mode", "user")], Some((cpu[0] - cpu[8]) / hertz));
    for resource in ["cpu", "memory", "io"] {
        let total = |kind: &str| {
            let text = read(&format!("pressure/{resource}"));
            let line = text.lines().find_map(|line| line.strip_prefix(kind))?.to_owned();
            Some(line.rsplit_once("total=")?.1.trim().parse::<f64>().ok()? / 1e6)
        };
        add("headroom_host_pressure_waiting_seconds_total", &[("resource", resource)], total("some"));
        if resource != "cpu" {
            add("headroom_host_pressure_stalled_seconds_total", &[("resource", resource)], total("full"));
        }
    }
    found
}

#[test]
fn memory_matches_meminfo() {
    needs!(is_root(), "programs need root");
    let agent = Agent::start(CONFIG);
    let exposition = agent.settle();
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let bytes = |key: &str| number(&text, key).unwrap() * 1024.0;
    let total = bytes("MemTotal");
    for (name, key, tolerance) in [
        ("headroom_host_memory_total_bytes", "MemTotal", 0.0),
        ("headroom_host_swap_total_bytes", "SwapTotal", 0.0),
        ("headroom_host_memory_commit_limit_bytes", "CommitLimit", 0.0),
        ("headroom_host_memory_available_bytes", "MemAvailable", 0.02),
        ("headroom_host_memory_free_bytes", "MemFree", 0.05),
        ("headroom_host_memory_cached_bytes", "Cached", 0.05),
        ("headroom_host_memory_anon_bytes", "AnonPages", 0.02),
        ("headroom_host_memory_slab_bytes", "Slab", 0.02),
        ("headroom_host_memory_shmem_bytes", "Shmem", 0.02),
    ] {
        let [value] = exposition.values(name, &[])[..] else { panic!("{name}:\n{}", exposition.text) };
        eprintln!("{name}: {value}, {key} {}", bytes(key));
        // Others allocate and free memory meanwhile: equal within a share of the total.
        assert!((value - bytes(key)).abs() <= tolerance * total, "{name}: {value}, but {}", bytes(key));
    }
    let share = 1.0 - bytes("MemAvailable") / total;
    let ratio = exposition.sum("headroom_host_memory_used_ratio", &[]);
    assert!((ratio - share).abs() <= 0.02, "{ratio}, but {share}");
    assert_eq!(exposition.has("headroom_host_swap_used_ratio", &[]), bytes("SwapTotal") > 0.0);
    assert_eq!(exposition.sum("headroom_source_up", &[("source", "host")]), 1.0, "{}", exposition.text);
}

#[test]
fn counters_are_between_the_kernels_values_before_and_after() {
    needs!(is_root(), "programs need root");
    let agent = Agent::start(CONFIG);
    let before = counters();
    assert!(before.len() >= 12, "{before:?}");
    // While nobody waits, /proc/vmstat is read at every fifth tick.
    (0..3).for_each(|_| agent.await_rounds());
    let exposition = agent.settle();
    let after = counters();
    for ((name, labels, low), (_, _, high)) in before.into_iter().zip(after) {
        let [value] = exposition.values(name, &labels)[..] else { panic!("{name} {labels:?}:\n{}", exposition.text) };
        // The kernel sums some of them CPU by CPU, without stopping them.
        assert!((low - 0.02..=high + 0.02).contains(&value), "{name} {labels:?}: {low} ≤ {value} ≤ {high}");
    }
    let reclaimed = exposition.sum("headroom_host_reclaimed_bytes_total", &[]);
    let vmstat = fs::read_to_string("/proc/vmstat").unwrap();
    let reference = ["pgsteal_anon", "pgsteal_file"].map(|key| number(&vmstat, key).unwrap()).iter().sum::<f64>();
    let reference = reference * rustix::param::page_size() as f64;
    eprintln!("reclaimed: {reclaimed}, by type {reference}");
    assert!(
        reclaimed <= reference && reclaimed >= reference * 0.98 - 256.0 * MIB as f64,
        "{reclaimed}, but {reference}"
    );
    let boot = exposition.sum("headroom_host_boot_time_seconds", &[]);
    let btime = number(&fs::read_to_string("/proc/stat").unwrap(), "btime").unwrap();
    assert!((boot - btime).abs() <= 1.0, "{boot}, but {btime}");
}

#[test]
fn a_disks_io_is_what_the_kernel_counts() {
    needs!(is_root(), "loop devices and programs need root");
    let folder = scratch();
    let device = match Loop::new(&folder, 8 * MIB) {
        Ok(device) => device,
        Err(why) => return skip(&why),
    };
    let agent = Agent::start("tick = \"100ms\"\n[disk]\nexclude = [\"ram*\"]\n");
    let written = Command::new("dd")
        .args(["if=/dev/zero", "bs=64k", "count=64", "oflag=direct", "conv=notrunc", "status=none"])
        .arg(format!("of={}", device.device().display()))
        .status();
    needs!(written.is_ok_and(|status| status.success()), "dd cannot write to the loop device");
    let exposition = agent.settle();
    let stats = disk_stats(&device.name);
    assert!(stats.sectors_written * 512 >= 4 * MIB, "{stats:?}");
    let of =
        |name: &str, operation| exposition.sum(name, &[("device", device.name.as_str()), ("operation", operation)]);
    for (operation, ios, sectors, ms) in [
        ("read", stats.reads, stats.sectors_read, stats.read_ms),
        ("write", stats.writes, stats.sectors_written, stats.write_ms),
    ] {
        assert_eq!(of("headroom_host_disk_ios_total", operation), ios as f64, "{operation}");
        assert_eq!(of("headroom_host_disk_bytes_total", operation), (sectors * 512) as f64, "{operation}");
        assert_eq!(of("headroom_host_disk_io_seconds_total", operation), ms as f64 / 1e3, "{operation}");
    }
    assert_eq!(of("headroom_host_disk_ios_total", "flush"), stats.flushes as f64);
    // Loop devices are left out by default.
    let agent = Agent::start(CONFIG);
    let name = [("device", device.name.as_str())];
    assert!(!agent.settle().has("headroom_host_disk_ios_total", &name));
}

/// A mount of this test. When dropped, it is detached at once, even if processes still wait in it.
struct Mount(Scratch);

impl Mount {
    fn new(fstype: &str, options: &str) -> Result<Mount, String> {
        let folder = scratch();
        let text = |text: &str| CString::new(text).unwrap();
        let (name, path, fstype) = (text("headroom-test"), text(folder.to_str().unwrap()), text(fstype));
        let options = text(options);
        // SAFETY: strings that end with a zero, alive for the length of the call.
        let result = unsafe { libc::mount(name.as_ptr(), path.as_ptr(), fstype.as_ptr(), 0, options.as_ptr().cast()) };
        let error = std::io::Error::last_os_error();
        if result == 0 { Ok(Mount(folder)) } else { Err(format!("mount {fstype:?}: {error}")) }
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let path = CString::new(self.path()).unwrap();
        // SAFETY: a string that ends with a zero.
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
    }
}

fn of(exposition: &Exposition, name: &str, mountpoint: &str) -> Option<f64> {
    exposition.values(name, &[("mountpoint", mountpoint)]).first().copied()
}

#[test]
fn a_file_system_shows_its_free_space_and_vanishes_when_unmounted() {
    needs!(is_root(), "mounts and programs need root");
    let agent = Agent::start(CONFIG);
    let mount = match Mount::new("tmpfs", "size=8m") {
        Ok(mount) => mount,
        Err(why) => return skip(&why),
    };
    let path = mount.path().to_owned();
    let shown = agent.scrape_until("the tmpfs", |exposition| of(exposition, UP, &path) == Some(1.0));
    assert_eq!(of(&shown, SIZE, &path), Some((8 * MIB) as f64));
    assert_eq!(of(&shown, FREE, &path), Some((8 * MIB) as f64));
    assert_eq!(of(&shown, "headroom_host_filesystem_read_only", &path), Some(0.0));
    let labels = [("device", "headroom-test"), ("mountpoint", &*path), ("fstype", "tmpfs")];
    assert!(shown.has(SIZE, &labels), "{}", shown.text);
    fs::write(Path::new(&path).join("file"), vec![1; 3 << 20]).unwrap();
    agent.scrape_until("what was written", |exposition| of(exposition, FREE, &path) == Some((5 * MIB) as f64));
    drop(mount);
    agent.scrape_until("that it is gone", |exposition| of(exposition, UP, &path).is_none());
    assert_eq!(agent.scrape().sum("headroom_source_up", &[("source", "filesystem")]), 1.0);
}

#[test]
fn a_file_system_that_hangs_delays_nothing_else() {
    needs!(is_root(), "mounts and programs need root");
    let server = File::options().read(true).write(true).open("/dev/fuse");
    needs!(server.is_ok(), "no /dev/fuse");
    let server = server.unwrap();
    // A server that never answers: every call waits until it is gone.
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
    let mount = match Mount::new("fuse", &options) {
        Ok(mount) => mount,
        Err(why) => return skip(&why),
    };
    let path = mount.path().to_owned();
    let agent = Agent::start(&format!("{CONFIG}deadline = \"300ms\"\n"));
    let source = |exposition: &Exposition| exposition.sum("headroom_source_up", &[("source", "filesystem")]);
    let hung = agent.scrape_until("that it hangs", |exposition| of(exposition, UP, &path) == Some(0.0));
    assert_eq!(of(&hung, SIZE, &path), None);
    // Rounds continue, and so do the numbers of the others.
    let settled = agent.settle();
    assert_eq!((of(&settled, UP, &path), source(&settled)), (Some(0.0), 0.0), "{}", settled.text);
    assert!(settled.values(UP, &[]).contains(&1.0), "{}", settled.text);
    assert_eq!(settled.sum("headroom_source_up", &[("source", "host")]), 1.0);
    let threads = || fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap().count();
    let before = threads();
    agent.settle();
    agent.settle();
    assert_eq!(threads(), before, "each call left a thread");
    // Once the server is gone the kernel answers instead, and after unmounting nothing is left.
    drop(server);
    drop(mount);
    agent
        .scrape_until("that it is gone", |exposition| of(exposition, UP, &path).is_none() && source(exposition) == 1.0);
    agent.stop();
}

#[test]
fn the_agent_stops_although_a_file_system_hangs() {
    needs!(is_root(), "mounts and programs need root");
    let server = File::options().read(true).write(true).open("/dev/fuse");
    needs!(server.is_ok(), "no /dev/fuse");
    let server = server.unwrap();
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
    let mount = match Mount::new("fuse", &options) {
        Ok(mount) => mount,
        Err(why) => return skip(&why),
    };
    let path = mount.path().to_owned();
    let agent = Agent::start(&format!("{CONFIG}deadline = \"100ms\"\n"));
    agent.scrape_until("that it hangs", |exposition| of(exposition, UP, &path) == Some(0.0));
    agent.stop();
    drop((mount, server));
}

#[test]
fn pressure_is_reported_before_the_next_tick() {
    needs!(is_root(), "programs need root");
    needs!(Path::new("/proc/pressure/memory").exists(), "this kernel does not measure pressure");
    // The kernel reports within two seconds; the next tick is in sixty.
    let agent = Agent::start("tick = \"1m\"\n[pressure]\nmemory_waiting = \"20ms\"\nmemory_stalled = \"0s\"\n");
    let waiting = [("resource", "memory"), ("kind", "waiting")];
    let before = agent.scrape();
    assert!(before.has(EVENTS, &waiting), "no trigger:\n{}", agent.log());
    assert!(!before.has(EVENTS, &[("resource", "memory"), ("kind", "stalled")]), "{}", before.text);

    let folder = scratch();
    let file = folder.join("sparse");
    File::create(&file).unwrap().set_len(256 * MIB).unwrap();
    let cgroup = Cgroup::new("pressure");
    cgroup.limit(32 * MIB);
    let mut thrash = Command::new(env!("CARGO_BIN_EXE_provoke"));
    thrash.args(["thrash", &format!("file={}", file.display()), "rounds=1000", "threads=4"]).stdout(Stdio::null());
    let mut child = cgroup.spawn(&mut thrash);
    let events = before.sum(EVENTS, &waiting);
    let total = "headroom_host_pressure_waiting_seconds_total";
    let memory = [("resource", "memory")];
    // The first report may be of what the agent's own start waited for.
    let least = before.sum(total, &memory) + 0.02;
    let reported = agent.scrape_until("pressure", |exposition| {
        exposition.sum(EVENTS, &waiting) > events && exposition.sum(total, &memory) >= least
    });
    child.kill().unwrap();
    child.wait().unwrap();

    let log = agent.log();
    assert!(log.contains("some tasks on the host waited for memory"), "{log}");
    // There was no tick meanwhile: numbers that only a tick reads stay, and those of the trigger do not.
    let switches = "headroom_host_context_switches_total";
    assert_eq!(reported.values(switches, &[]), before.values(switches, &[]));
}

#[test]
fn resources_without_a_trigger_have_no_events() {
    needs!(is_root(), "programs need root");
    let off = "memory_waiting = \"0s\"\nmemory_stalled = \"0s\"\nio_stalled = \"0s\"\n";
    let agent = Agent::start(&format!("tick = \"100ms\"\n[pressure]\n{off}"));
    let exposition = agent.settle();
    assert!(!exposition.has(EVENTS, &[]), "{}", exposition.text);
}
