//! Many cgroups, and many CPUs that could be there: each cgroup has its own counts, and the maps stay small.

use collector_tests::agent::Agent;
use collector_tests::cgroup::Cgroup;
use collector_tests::needs;
use collector_tests::provocation::Provocation;
use collector_tests::require::own_machine;

const MIB: f64 = (1 << 20) as f64;
/// Pages that are written in each.
const PAGES: u64 = 20;

#[test]
fn cgroups_that_come_later_have_slots_of_their_own() {
    needs!(own_machine(), "it needs a machine of its own: cargo xtask test vm");
    let cpus = aya::util::nr_cpus().unwrap();
    // The kernel itself needs much memory for each cgroup and possible CPU.
    let (early, late, budget) = if cpus > 16 { (40, 60, 64.0 * MIB) } else { (200, 1300, 16.0 * MIB) };
    let make = |count| -> Vec<Cgroup> { (0..count).map(|_| Cgroup::new("many")).collect() };
    let mut cgroups = make(early);
    let agent = Agent::start("");
    cgroups.extend(make(late));
    let procs: Vec<String> =
        cgroups.iter().flat_map(Cgroup::procs).map(|file| file.into_os_string().into_string().unwrap()).collect();
    let pages = PAGES.to_string();
    let verb: Vec<&str> = ["visit", &pages].into_iter().chain(procs.iter().map(String::as_str)).collect();
    let mut visitor = Provocation::start(env!("CARGO_BIN_EXE_provoke"), &verb, &[]);
    let (faults, _) = visitor.report();
    visitor.end();
    let exposition = agent.settle();
    let written = |workload: &str| {
        let labels = [("workload", workload), ("mode", "user"), ("access", "write")];
        exposition.sum("headroom_workload_page_faults_total", &labels)
    };
    for cgroup in &cgroups {
        let count = written(&cgroup.path);
        assert!((PAGES as f64..2.0 * PAGES as f64).contains(&count), "{}: {count} of {PAGES} pages", cgroup.path);
    }
    let sum: f64 = cgroups.iter().map(|cgroup| written(&cgroup.path)).sum();
    let memory = exposition.sum("headroom_map_memory_bytes", &[]);
    eprintln!("{} cgroups, {sum} of {faults} faults; {cpus} possible CPUs, {memory} bytes of maps", cgroups.len());
    for stage in ["slot", "workload", "unknown_cgroup", "series"] {
        assert_eq!(exposition.lost(stage), 0.0, "{stage}");
    }
    assert!(memory > 0.0 && memory <= budget, "{memory} bytes of maps, with {cpus} possible CPUs");
}
