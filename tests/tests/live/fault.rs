//! Page faults, compared with getrusage(2) of the process that took them.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;

use collector_tests::agent::Agent;
use collector_tests::cgroup::Cgroup;
use collector_tests::exposition::Exposition;
use collector_tests::provocation::Provocation;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use collector_tests::{applies, needs};

const FAULTS: &str = "headroom_workload_page_faults_total";
const MAJOR: &str = "headroom_workload_major_page_faults_total";
const CONFIG: &str = "tick = \"100ms\"\n[workload]\ngrace = \"10m\"\n";

/// Faults that the reference does not include: the process takes them between joining the cgroup and its first getrusage, and
/// after its second one while it prints; each time a dozen pages of the C library and of the stack at most.
const TAIL: f64 = 64.0;

/// Starts `touch`, and waits until it is done.
fn touch(access: &str, pages: u64, cgroups: &[PathBuf]) -> (Provocation, u64) {
    let mut provocation =
        Provocation::start(env!("CARGO_BIN_EXE_provoke"), &["touch", access, &pages.to_string()], cgroups);
    let (minor, major) = provocation.report();
    assert!(minor + major >= pages, "{minor} + {major} faults for {pages} pages");
    (provocation, minor + major)
}

#[track_caller]
fn assert_charged(exposition: &Exposition, workload: &str, reference: u64, tail: f64) {
    let charged = exposition.sum(FAULTS, &[("workload", workload)]);
    let unseen = charged - reference as f64;
    assert!((0.0..=tail).contains(&unseen), "{workload}: {charged} charged, {reference} by getrusage");
    eprintln!("{workload}: {charged} charged, {reference} by getrusage");
}

/// Faults of one kind are within the tail of what was provoked.
#[track_caller]
fn assert_sort(exposition: &Exposition, workload: &str, mode: &str, access: &str, pages: u64) {
    let count = exposition.sum(FAULTS, &[("workload", workload), ("mode", mode), ("access", access)]);
    assert!((pages as f64..=pages as f64 + TAIL).contains(&count), "{workload} {mode}/{access}: {count} of {pages}");
}

#[test]
fn every_touched_page_is_one_fault_of_its_cgroup_by_mode_and_access() {
    needs!(is_root(), "cgroups and programs need root");
    let agent = Agent::start(CONFIG);
    let sorts = [("write", "user", "write"), ("read", "user", "read"), ("kernel", "kernel", "write")];
    let running: Vec<_> = sorts
        .map(|(verb, mode, access)| {
            let cgroup = Cgroup::new(verb);
            let (provocation, reference) = touch(verb, 5000, &cgroup.procs());
            (cgroup, provocation, reference, mode, access)
        })
        .into();
    let exposition = agent.settle();
    for (cgroup, _, reference, mode, access) in &running {
        assert_charged(&exposition, &cgroup.path, *reference, TAIL);
        assert_sort(&exposition, &cgroup.path, mode, access, 5000);
    }
    running.into_iter().for_each(|(_, provocation, ..)| provocation.end());
}

#[test]
fn two_processes_at_once_are_counted_separately() {
    needs!(is_root(), "cgroups and programs need root");
    let agent = Agent::start(CONFIG);
    let program = env!("CARGO_BIN_EXE_provoke");
    // Both start before either has reported: on two CPUs they run in parallel, on one in turns.
    let mut running: Vec<_> = [("first", 70_000), ("second", 40_000)]
        .map(|(name, pages): (_, u64)| {
            let cgroup = Cgroup::new(name);
            let verb = ["touch", "write", &pages.to_string()];
            let provocation = Provocation::within(program, &verb, &cgroup);
            (cgroup, provocation, pages)
        })
        .into();
    let witnesses: Vec<u64> = running.iter_mut().map(|(_, provocation, _)| provocation.report().0).collect();
    let exposition = agent.settle();
    for ((cgroup, _, pages), reference) in running.iter().zip(witnesses) {
        assert!(reference >= *pages);
        assert_charged(&exposition, &cgroup.path, reference, TAIL);
    }
}

/// The kernel reuses the memory of removed cgroups: a program that identified a cgroup by its address would charge the faults
/// of the next one to the last one.
#[test]
fn short_lived_cgroups_are_never_charged_for_each_other() {
    needs!(is_root(), "cgroups and programs need root");
    const CGROUPS: u64 = 200;
    // The exit of the process is charged as well: taking down its address space causes no faults, but the C library's exit
    // handlers touch a few more pages.
    const EXIT: f64 = 32.0;
    let agent = Agent::start(CONFIG);
    let charged: Vec<_> = (0..CGROUPS)
        .map(|index| {
            let cgroup = Cgroup::new("short");
            // Further apart than the tail, so that a neighbour's count cannot be mistaken for it.
            let (provocation, reference) = touch("write", 100 + 200 * (index % 10), &cgroup.procs());
            provocation.end();
            (cgroup.path.clone(), reference)
        })
        .collect();
    let exposition = agent.settle();
    for (path, reference) in &charged {
        assert_charged(&exposition, path, *reference, TAIL + EXIT);
    }
    assert_eq!(exposition.lost("slot"), 0.0);
}

/// On a hybrid host a process is in a cgroup of each tree; memory is accounted in one of them only.
#[test]
fn on_a_hybrid_host_the_memory_controllers_cgroup_is_charged() {
    needs!(is_root(), "cgroups and programs need root");
    let cgroup = Cgroup::new("hybrid");
    let unified = PathBuf::from("/sys/fs/cgroup/unified");
    applies!(!cgroup.is_v2() && unified.join("cgroup.procs").exists(), "memory is not on v1 beside a v2 tree");
    let agent = Agent::start(CONFIG);
    let other = Directory::new(unified.join(format!("headroom-test-unified-{}", std::process::id())));
    let mut cgroups = cgroup.procs();
    cgroups.insert(0, other.0.join("cgroup.procs"));
    let (provocation, reference) = touch("write", 3000, &cgroups);
    let exposition = agent.settle();
    assert_charged(&exposition, &cgroup.path, reference, TAIL);
    let name = format!("/{}", other.0.file_name().unwrap().to_string_lossy());
    assert!(!exposition.has(FAULTS, &[("workload", &name)]), "{}", exposition.text);
    provocation.end();
}

/// A directory, removed when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new(path: PathBuf) -> Directory {
        fs::create_dir(&path).unwrap();
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        for _ in 0..200 {
            if fs::remove_dir(&self.0).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

#[test]
fn a_dropped_file_mapping_gives_one_major_fault_per_page() {
    needs!(is_root(), "cgroups and programs need root");
    let folder = scratch();
    needs!(folder.is_on_disk(), "the temporary directory is in memory: there is no IO to wait for");
    let path = folder.join("mapped");
    let mut file = File::create(&path).unwrap();
    file.write_all(&vec![7; 8 << 20]).unwrap();
    file.sync_all().unwrap();
    let agent = Agent::start(CONFIG);
    let cgroup = Cgroup::new("major");
    let verb = ["major", path.to_str().unwrap(), "64"];
    let mut provocation = Provocation::within(env!("CARGO_BIN_EXE_provoke"), &verb, &cgroup);
    let (minor, major) = provocation.report();
    // No other process maps this file, and the rest of what the process touches was in memory before.
    assert_eq!(major, 64);
    let exposition = agent.settle();
    // The few pages of code that it runs after its report may have left the page cache.
    let charged = exposition.sum(MAJOR, &[("workload", &cgroup.path)]);
    assert!((64.0..=72.0).contains(&charged), "{charged}: {}", exposition.text);
    assert_charged(&exposition, &cgroup.path, minor + major, TAIL);
    assert_latency(&exposition);
    provocation.end();
}

/// The latency histogram has at least the 64 if some probe is attached; otherwise it is absent, and each probe says why.
fn assert_latency(exposition: &Exposition) {
    let attached = |probe| exposition.sum("headroom_probe_state", &[("probe", probe), ("state", "attached")]) == 1.0;
    let pairs = [("fault_file_exit", "fault_file_entry"), ("fault_file_kretprobe", "fault_file_kprobe")];
    if pairs.iter().any(|&(exit, entry)| attached(exit) && attached(entry)) {
        let count = exposition.sum("headroom_major_fault_seconds_count", &[]);
        assert!(count >= 64.0, "{count} major faults were timed");
        return;
    }
    assert!(!exposition.has("headroom_major_fault_seconds_count", &[]), "{}", exposition.text);
    for (exit, entry) in pairs {
        for probe in [exit, entry] {
            let unsupported = [("probe", probe), ("state", "unsupported")];
            assert_eq!(exposition.sum("headroom_probe_state", &unsupported), 1.0, "{probe}: {}", exposition.text);
        }
    }
}

#[test]
fn without_programs_at_page_faults_their_number_is_the_kernels() {
    needs!(is_root(), "cgroups and programs need root");
    let agent = Agent::start(&format!("{CONFIG}stat_interval = \"1s\"\n[fault]\naccess = false\n"));
    let cgroup = Cgroup::new("kernels");
    let (provocation, reference) = touch("write", 5000, &cgroup.procs());
    let workload = ("workload", cgroup.path.as_str());
    // The kernel adds up its per-CPU counters now and then.
    let exposition =
        agent.scrape_until("the kernel's count", |exposition| exposition.sum(FAULTS, &[workload]) >= reference as f64);
    assert_charged(&exposition, &cgroup.path, reference, TAIL);
    assert_sort(&exposition, &cgroup.path, "any", "any", 5000);
    for mode in ["user", "kernel"] {
        assert!(!exposition.has(FAULTS, &[workload, ("mode", mode)]), "{}", exposition.text);
    }
    for probe in ["fault_user", "fault_kernel", "fault_any"] {
        let disabled = [("probe", probe), ("state", "disabled")];
        assert_eq!(exposition.sum("headroom_probe_state", &disabled), 1.0, "{probe}");
    }
    // Major faults are rare: their program stays.
    let attached = [("probe", "fault_major"), ("state", "attached")];
    assert_eq!(exposition.sum("headroom_probe_state", &attached), 1.0, "{}", exposition.text);
    assert_eq!(exposition.sum(MAJOR, &[workload]), 0.0);
    provocation.end();
}

#[test]
fn without_the_tracepoints_the_software_event_counts_the_same() {
    needs!(is_root(), "cgroups and programs need root");
    let agent = Agent::start(&format!("{CONFIG}[kernel]\ndisable = [\"fault_user\", \"fault_kernel\"]\n"));
    let state = |exposition: &Exposition, probe, state| {
        exposition.sum("headroom_probe_state", &[("probe", probe), ("state", state)])
    };
    let cgroup = Cgroup::new("any");
    let (provocation, reference) = touch("write", 5000, &cgroup.procs());
    let exposition = agent.settle();
    assert_eq!(state(&exposition, "fault_any", "attached"), 1.0, "{}", exposition.text);
    assert_eq!(state(&exposition, "fault_user", "disabled"), 1.0);
    assert_charged(&exposition, &cgroup.path, reference, TAIL);
    assert_sort(&exposition, &cgroup.path, "any", "any", 5000);
    assert!(!exposition.has(FAULTS, &[("workload", &cgroup.path), ("mode", "user")]));
    provocation.end();
}
