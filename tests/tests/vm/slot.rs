//! Many cgroups, and many CPUs that could be there: each cgroup has its own counts, and the maps stay small.

use std::collections::HashMap;

use collector_common::fault::{Access, word};
use collector_core::sample::{Lost, Reading};
use collector_core::signal::fault::Reading as Fault;
use collector_core::stage::Stage;
use collector_tests::agent::Agent;
use collector_tests::cgroup::Cgroup;
use collector_tests::needs;
use collector_tests::provocation::Provocation;
use collector_tests::require::own_machine;

const MIB: u64 = 1 << 20;
/// Pages that are written in each.
const PAGES: u64 = 20;

#[test]
fn cgroups_that_come_later_have_slots_of_their_own() {
    needs!(own_machine(), "it needs a machine of its own: cargo xtask test vm");
    let cpus = aya::util::nr_cpus().unwrap();
    let line = std::fs::read_to_string("/proc/cmdline").unwrap();
    let asked = line.split_whitespace().find_map(|word| word.strip_prefix("possible_cpus="));
    assert!(asked.is_none_or(|asked| asked.parse() == Ok(cpus)), "{cpus} possible CPUs, and not {asked:?}");
    // The kernel itself needs much memory for each cgroup and possible CPU.
    let (early, late, budget) = if cpus > 16 { (40, 60, 64 * MIB) } else { (200, 1300, 16 * MIB) };
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
    agent.await_rounds();
    let (mut counted, mut lost, mut memory) = (HashMap::<u64, u64>::new(), 0, 0);
    for sample in agent.stop() {
        match sample.reading {
            Reading::Fault(Fault::Counts { cgroup: Some(id), counts }) => {
                *counted.entry(id.id).or_default() += counts[word::USER + Access::Write as usize];
            }
            Reading::Lost(Lost { stage: Stage::Slot, count }) => lost += count,
            Reading::Process(process) => memory = process.map_bytes.unwrap(),
            _ => {}
        }
    }
    let own = |cgroup: &Cgroup| counted.get(&cgroup.memory_id()).copied().unwrap_or(0);
    let sum: u64 = cgroups.iter().map(own).sum();
    eprintln!("{} cgroups, {sum} of {faults} faults; {cpus} possible CPUs, {memory} bytes of maps", cgroups.len());
    for cgroup in &cgroups {
        let count = own(cgroup);
        assert!((PAGES..2 * PAGES).contains(&count), "{}: {count} of {PAGES} pages", cgroup.path);
    }
    assert_eq!(lost, 0, "cgroups without a slot");
    assert!(memory > 0 && memory <= budget, "{memory} bytes of maps, with {cpus} possible CPUs");
}
