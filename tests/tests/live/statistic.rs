//! Statistics of workloads, compared with the kernel's files, what the test's process used, and getrusage(2).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use collector::source::cgroup::Controller;
use collector_core::sample::{Reading, Sample};
use collector_core::statistic::workload::Statistic;
use collector_tests::agent::{Agent, PATIENCE};
use collector_tests::cgroup::Cgroup;
use collector_tests::exposition::Exposition;
use collector_tests::loopback::Loop;
use collector_tests::process::meminfo;
use collector_tests::provocation::Provocation;
use collector_tests::require::{is_root, skip};
use collector_tests::scratch::{Scratch, scratch};
use collector_tests::{applies, needs};

const CONFIG: &str = "tick = \"100ms\"\n[workload]\nstat_interval = \"100ms\"\n";
const MIB: u64 = 1 << 20;
const ANON: u64 = 96 * MIB;
const SHMEM: u64 = 48 * MIB;
const FILE: u64 = 64 * MIB;
const LIMIT: u64 = 512 * MIB;
const CPU_MS: u64 = 1500;

/// A loop device over a file of its own.
struct Disk {
    device: Loop,
    _folder: Scratch,
}

impl Disk {
    fn new() -> Option<Disk> {
        let folder = scratch();
        let device = Loop::new(&folder, FILE).map_err(|why| skip(&why)).ok();
        device.map(|device| Disk { device, _folder: folder })
    }

    /// Newer kernels count a device's IO for v1 only once some cgroup limits it.
    fn count_io(&self, cgroup: &Cgroup) {
        if !cgroup.is_v2() {
            let numbers = fs::read_to_string(Path::new("/sys/block").join(&self.device.name).join("dev")).unwrap();
            let limit = format!("{} {}", numbers.trim(), 1u64 << 50);
            fs::write(cgroup.file(Controller::Io, "blkio.throttle.read_bps_device"), limit).unwrap();
        }
    }
}

/// A process in these cgroups that holds memory of each type and has used CPU time.
struct Holder {
    provocation: Provocation,
    /// CPU time in seconds since it joined.
    cpu: f64,
    _directory: Scratch,
}

impl Holder {
    fn start(device: Option<&Disk>, cgroups: &[&Cgroup]) -> Holder {
        let directory = scratch();
        let device = device.map_or("-".into(), |device| device.device.device().into_os_string().into_string().unwrap());
        let [anon, shmem, file, cpu] = [ANON, SHMEM, FILE, CPU_MS].map(|number| number.to_string());
        let path = directory.join("held");
        let verb = ["hold", &anon, &shmem, path.to_str().unwrap(), &file, &device, &cpu];
        // The memory controller comes last, so that joining the others is not charged.
        let procs: Vec<PathBuf> = cgroups.iter().rev().flat_map(|cgroup| cgroup.procs()).collect();
        let mut provocation = Provocation::start(env!("CARGO_BIN_EXE_provoke"), &verb, &procs);
        let (after, before) = provocation.report();
        Holder { provocation, cpu: (after - before) as f64 / 1e6, _directory: directory }
    }

    fn end(self) {
        self.provocation.end();
    }
}

/// The only number in a file.
fn single(path: &Path) -> f64 {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.trim().parse().unwrap_or_else(|error| panic!("{}: {error}: {text}", path.display()))
}

/// Sum of the numbers at the end of lines that contain this key.
fn keyed(path: &Path, key: &str) -> f64 {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text.lines().filter(|line| line.contains(key));
    lines.map(|line| line.rsplit([' ', '=']).next().unwrap().parse::<f64>().unwrap()).sum()
}

#[track_caller]
fn assert_near(what: &str, found: f64, wanted: f64) {
    eprintln!("{what}: {found}, {wanted} wanted");
    assert!((found - wanted).abs() <= wanted * 0.02, "{what}: {found}, {wanted} wanted");
}

fn metric(exposition: &Exposition, cgroup: &Cgroup, name: &str) -> f64 {
    let name = format!("headroom_workload_{name}");
    let values = exposition.values(&name, &[("workload", &cgroup.path)]);
    assert_eq!(values.len(), 1, "{name} of {}:\n{}", cgroup.path, exposition.text);
    values[0]
}

#[test]
fn memory_is_what_was_allocated_and_what_the_files_say() {
    needs!(is_root(), "cgroups and programs need root");
    let agent = Agent::start(CONFIG);
    let cgroup = Cgroup::everywhere("statistic");
    cgroup.limit(LIMIT);
    let holder = Holder::start(None, &[&cgroup]);
    let exposition = agent.settle();
    let metric = |name: &str| metric(&exposition, &cgroup, name);

    assert_near("anon", metric("memory_anon_bytes"), ANON as f64);
    assert_near("shmem", metric("memory_shmem_bytes"), SHMEM as f64);
    assert_near("file", metric("memory_file_bytes"), (FILE + SHMEM) as f64);
    assert_eq!(metric("memory_limit_bytes"), LIMIT as f64);
    let [current, stat] = match cgroup.is_v2() {
        true => ["memory.current", "memory.stat"],
        false => ["memory.usage_in_bytes", "memory.stat"],
    };
    let [current, stat] = [current, stat].map(|name| cgroup.memory().join(name));
    assert_near("current", metric("memory_current_bytes"), single(&current));
    let total = if cgroup.is_v2() { "" } else { "total_" };
    let key = format!("{total}inactive_file ");
    let text = fs::read_to_string(&stat).unwrap();
    let inactive: f64 = text.lines().find_map(|line| line.strip_prefix(&key)).unwrap().parse().unwrap();
    assert_near("working set", metric("memory_working_set_bytes"), single(&current) - inactive);
    // On cgroup v2 the kernel has this sum since 5.18.
    if !cgroup.is_v2() || text.lines().any(|line| line.starts_with("kernel ")) {
        assert!(metric("memory_kernel_bytes") > 0.0);
    }
    let ratio = metric("memory_limit_used_ratio");
    assert_near("share of the limit", ratio, single(&current) / LIMIT as f64);
    holder.end();
}

/// Readings of a cgroup at its turn: anonymous memory in each.
fn turns(agent: &Agent, cgroup: &Cgroup) -> Vec<Option<u64>> {
    let anon = |sample: Sample| match sample.reading {
        Reading::Statistics(it) if it.cgroup.id == cgroup.memory_id() && it.turn => {
            Some(it.values.get(Statistic::MemoryAnon))
        }
        _ => None,
    };
    agent.samples().into_iter().filter_map(anon).collect()
}

#[test]
fn the_parts_of_memory_are_read_at_every_tick_near_a_limit() {
    needs!(is_root(), "cgroups and programs need root");
    let agent = Agent::start("tick = \"100ms\"\n[workload]\nstat_interval = \"1h\"\n");
    let (near, far) = (Cgroup::new("near"), Cgroup::new("far"));
    near.limit((ANON + SHMEM + FILE) * 10 / 9);
    let holders = [Holder::start(None, &[&near]), Holder::start(None, &[&far])];
    let deadline = Instant::now() + PATIENCE;
    while turns(&agent, &near).len() < 20 {
        assert!(Instant::now() < deadline, "{:?}\n{}", turns(&agent, &near), agent.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    // While it holds what it does, the one without a limit is only read when it is new and as it grew.
    let before = [&near, &far].map(|cgroup| turns(&agent, cgroup).len());
    std::thread::sleep(Duration::from_secs(2));
    let after = [&near, &far].map(|cgroup| turns(&agent, cgroup));
    assert!(after[0].len() >= before[0] + 5, "{before:?} {after:?}");
    // On a small host what it holds is much, which matters too.
    if ANON + SHMEM + FILE < meminfo("MemTotal") / 20 {
        assert!(after[1].len() <= before[1] + 2, "{before:?} {after:?}");
    }
    let key = if near.is_v2() { "anon " } else { "total_rss " };
    let text = fs::read_to_string(near.memory().join("memory.stat")).unwrap();
    let anon: f64 = text.lines().find_map(|line| line.strip_prefix(key)).unwrap().parse().unwrap();
    assert_near("anon", after[0].last().unwrap().unwrap() as f64, anon);
    holders.into_iter().for_each(Holder::end);
}

#[test]
fn cpu_pressure_and_io_are_what_the_kernel_says() {
    needs!(is_root(), "cgroups and programs need root");
    let agent = Agent::start(CONFIG);
    let cgroup = Cgroup::everywhere("usage");
    let Some(device) = Disk::new() else { return };
    device.count_io(&cgroup);
    let holder = Holder::start(Some(&device), &[&cgroup]);
    let exposition = agent.settle();
    let labels = |label: (&'static str, &'static str)| [("workload", cgroup.path.as_str()), label];
    assert_near("CPU", metric(&exposition, &cgroup, "cpu_seconds_total"), holder.cpu);

    let read = exposition.sum("headroom_workload_io_bytes_total", &labels(("operation", "read")));
    assert_near("bytes read", read, FILE as f64);
    if !cgroup.is_v2() {
        let file = cgroup.file(Controller::Io, "blkio.throttle.io_service_bytes_recursive");
        assert_eq!(read, keyed(&file, " Read "));
        let reads = exposition.sum("headroom_workload_ios_total", &labels(("operation", "read")));
        let file = cgroup.file(Controller::Io, "blkio.throttle.io_serviced_recursive");
        assert_eq!(reads, keyed(&file, " Read "));
    }
    for (resource, file) in [("cpu", "cpu.pressure"), ("memory", "memory.pressure"), ("io", "io.pressure")] {
        let waiting = "headroom_workload_pressure_waiting_seconds_total";
        let file = cgroup.file(Controller::Pressure, file);
        // Without this file pressure is not measured, and there must be no metric.
        let Ok(text) = fs::read_to_string(&file) else {
            assert!(!exposition.has(waiting, &labels(("resource", resource))));
            continue;
        };
        let some = text.lines().find(|line| line.starts_with("some ")).unwrap();
        let now: f64 = some.rsplit('=').next().unwrap().parse::<f64>().unwrap() / 1e6;
        let seen = exposition.sum(waiting, &labels(("resource", resource)));
        assert!(exposition.has(waiting, &labels(("resource", resource))));
        // The process is idle now.
        assert_near(resource, seen, now);
    }
    holder.end();
}

#[test]
fn cgroups_of_one_process_in_several_hierarchies_are_one_workload() {
    needs!(is_root(), "cgroups and programs need root");
    let agent = Agent::start(CONFIG);
    let memory = Cgroup::only("joined-memory", Controller::Memory);
    applies!(!memory.is_v2(), "on cgroup v2 all controllers have the same cgroup");
    let cpuacct = Cgroup::only("joined-cpuacct", Controller::Cpuacct);
    let io = Cgroup::only("joined-io", Controller::Io);
    let Some(device) = Disk::new() else { return };
    device.count_io(&io);
    let holder = Holder::start(Some(&device), &[&memory, &cpuacct, &io]);
    let joined = |exposition: &Exposition| {
        let labels = [("workload", memory.path.as_str())];
        let names = ["headroom_workload_cpu_seconds_total", "headroom_workload_io_bytes_total"];
        names.iter().all(|name| exposition.has(name, &labels))
    };
    agent.scrape_until("the joined cgroups", joined);
    let exposition = agent.settle();
    assert_near("anon", metric(&exposition, &memory, "memory_anon_bytes"), ANON as f64);
    assert_near("CPU", metric(&exposition, &memory, "cpu_seconds_total"), holder.cpu);
    let read = [("workload", memory.path.as_str()), ("operation", "read")];
    assert_near("bytes read", exposition.sum("headroom_workload_io_bytes_total", &read), FILE as f64);
    // What the programs count for the joined cgroup belongs to the workload as well.
    assert!(exposition.sum("headroom_workload_block_bytes_total", &read) > 0.0, "{}", exposition.text);
    for other in [&cpuacct, &io] {
        let labels = [("workload", other.path.as_str())];
        assert!(!exposition.has("headroom_workload_cpu_seconds_total", &labels));
        assert!(!exposition.has("headroom_workload_io_bytes_total", &labels));
    }
    holder.end();
}

#[test]
fn cgroups_that_come_and_go_leave_no_descriptor_open_and_no_errors() {
    needs!(is_root(), "cgroups and programs need root");
    let agent = Agent::start("tick = \"20ms\"\n[workload]\nstat_interval = \"20ms\"\ngrace = \"0s\"\n");
    let before = agent.settle().sum("process_open_fds", &[]);
    for _ in 0..10 {
        let cgroups: Vec<Cgroup> = (0..20).map(|_| Cgroup::everywhere("churn")).collect();
        let last = cgroups.last().unwrap().path.clone();
        agent.scrape_until("the last", |exposition| exposition.has("headroom_workload_info", &[("workload", &last)]));
        agent.settle();
    }
    let exposition = agent.scrape_until("the end of all", |exposition| {
        // One more for the connection of this scrape.
        exposition.sum("process_open_fds", &[]) <= before + 1.0
    });
    assert_eq!(exposition.sum("headroom_source_up", &[("source", "cgroup")]), 1.0);
    assert!(!agent.log().contains("cannot be read"), "{}", agent.log());
}
