//! Hundreds of cgroups created, removed and renamed: what the agent knows of them, compared with what the test did and what is
//! mounted.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use collector::source::cgroup::Hierarchies;
use collector::source::root::Root;
use collector_core::sample::{Reading, Sample};
use collector_core::signal::cgroup::Reading as Change;
use collector_core::signal::fault::Reading as Fault;
use collector_core::stage::Stage;
use collector_tests::agent::Agent;
use collector_tests::cgroup::Cgroup;
use collector_tests::exposition::Exposition;
use collector_tests::process::Killed;
use collector_tests::record::lost;
use collector_tests::require::is_root;
use collector_tests::user;
use collector_tests::{applies, needs};
use rustix::process::Signal;

const FAULTS: &str = "headroom_workload_page_faults_total";

/// Directories in the memory hierarchy below a cgroup. When dropped, they are removed.
struct Nest {
    parent: Cgroup,
    children: Vec<PathBuf>,
}

impl Nest {
    fn new(name: &str) -> Nest {
        let parent = Cgroup::new(name);
        parent.delegate("memory").unwrap();
        Nest { parent, children: Vec::new() }
    }

    /// Makes one, and returns its id.
    fn make(&mut self, name: &str) -> u64 {
        let directory = self.parent.memory().join(name);
        fs::create_dir(&directory).unwrap();
        let id = fs::metadata(&directory).unwrap().ino();
        self.children.push(directory);
        id
    }

    fn remove_all(&mut self) {
        for directory in self.children.drain(..) {
            fs::remove_dir(&directory).unwrap();
        }
    }
}

impl Drop for Nest {
    fn drop(&mut self) {
        for directory in self.children.drain(..) {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// Paths of all cgroups in the relevant hierarchies.
fn paths_on_disk() -> BTreeSet<String> {
    fn below(root: &Path, directory: &Path, paths: &mut BTreeSet<String>) {
        let path = directory.strip_prefix(root).unwrap().display();
        paths.insert(format!("/{path}"));
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            below(root, &entry.path(), paths);
        }
    }
    let mut paths = BTreeSet::new();
    for hierarchy in Hierarchies::find(&Root::default()).unwrap().distinct() {
        below(&hierarchy.root, &hierarchy.root, &mut paths);
    }
    paths
}

/// Paths of all workloads that the agent shows.
fn workloads(exposition: &Exposition) -> BTreeSet<String> {
    let infos = exposition.samples.iter().filter(|sample| sample.0 == "headroom_workload_info");
    infos.map(|(_, labels, _)| labels["workload"].clone()).collect()
}

/// How often the kernel reported the creation and the removal of each cgroup; cgroups found by a walk do not count.
fn reported(samples: &[Sample]) -> HashMap<u64, (u64, u64)> {
    let mut reported: HashMap<u64, (u64, u64)> = HashMap::new();
    let mut walking = false;
    for sample in samples {
        match &sample.reading {
            Reading::Cgroup(Change::Walk) => walking = true,
            Reading::Cgroup(Change::Walked) => walking = false,
            Reading::Cgroup(Change::Born { id, .. }) if !walking => reported.entry(id.id).or_default().0 += 1,
            Reading::Cgroup(Change::Died { id }) => reported.entry(id.id).or_default().1 += 1,
            _ => {}
        }
    }
    reported
}

#[test]
fn every_creation_and_removal_is_reported_and_no_removed_cgroup_remains() {
    needs!(is_root(), "loading eBPF programs needs root");
    const CGROUPS: u64 = 2000;
    let agent = Agent::start("tick = \"100ms\"\n[workload]\nmax = 4000\ngrace = \"1s\"\n");
    let mut nest = Nest::new("many");
    let mut ids = HashSet::new();
    for number in 0..CGROUPS {
        assert!(ids.insert(nest.make(&format!("n{number}"))));
        nest.remove_all();
    }
    let below = format!("{}/", nest.parent.path);
    let exposition = agent.scrape_until("the end of them all", |exposition| {
        !exposition.text.contains(&below) && workloads(exposition) == paths_on_disk()
    });
    assert_eq!(exposition.sum("headroom_workloads", &[]), workloads(&exposition).len() as f64);
    assert!(workloads(&exposition).contains(&nest.parent.path));

    let samples = agent.stop();
    let reported = reported(&samples);
    let (mut births, mut deaths) = (0, 0);
    for id in &ids {
        let (born, died) = reported.get(id).copied().unwrap_or_default();
        assert!(born <= 1 && died <= 1, "{id} was created {born} times and removed {died} times");
        births += born;
        deaths += died;
    }
    let lost = lost(&samples, Stage::RingCritical);
    eprintln!("{births} births, {deaths} deaths, {lost} lost");
    assert_eq!(births + deaths + lost, 2 * CGROUPS);
}

#[test]
fn slots_are_reused_and_no_cgroup_is_charged_for_another() {
    needs!(is_root(), "loading eBPF programs needs root");
    // Each wave has more cgroups than there are slots, faster than slots are returned: some find none, and count as
    // `other`. Before the next wave the removed ones have returned theirs.
    const WAVES: u64 = 4;
    const WAVE: u64 = 160;
    let agent = Agent::start("tick = \"100ms\"\n[workload]\nmax = 64\ngrace = \"10m\"\n");
    let mut nest = Nest::new("slots");
    let mut made: HashMap<u64, (u64, u64)> = HashMap::new();
    let mut paths: HashMap<u64, String> = HashMap::new();
    for number in 0..WAVES * WAVE {
        if number % WAVE == 0 {
            std::thread::sleep(std::time::Duration::from_millis(2500));
        }
        let id = nest.make(&format!("n{number}"));
        // Each has its own number of faults.
        let touched = 100 + number % 7 * 100;
        let taken = touch(nest.children.last().unwrap(), touched);
        assert!(taken >= touched, "{taken} faults for {touched} pages");
        made.insert(id, (touched, taken));
        paths.insert(id, format!("{}/n{number}", nest.parent.path));
        remove(&nest.children.pop().unwrap());
    }
    agent.await_rounds();
    // In this order: cgroups of others on this host, which have no slot either, are counted meanwhile.
    let samples = agent.samples();
    let exposition = agent.settle();
    let (mut own, mut others) = (HashMap::<u64, u64>::new(), 0);
    for sample in &samples {
        if let Reading::Fault(Fault::Counts { cgroup, counts }) = &sample.reading {
            // The row's last word counts major faults, which are included in the others.
            let faults: u64 = counts[..counts.len() - 1].iter().sum();
            match cgroup {
                Some(cgroup) if made.contains_key(&cgroup.id) => *own.entry(cgroup.id).or_default() += faults,
                Some(_) => {}
                None => others += faults,
            }
        }
    }
    let (mut counted, mut touched_by_all) = (0, 0);
    for (id, (touched, taken)) in &made {
        let faults = own.get(id).copied().unwrap_or(0);
        // The kernel's own accesses for the process also fault, and are not in the process's count.
        assert!(faults <= taken + 50, "{id} took {taken} faults, and was charged {faults}");
        counted += faults;
        touched_by_all += touched;
    }
    let whole = made.iter().filter(|(id, (touched, _))| own.get(id).is_some_and(|faults| faults >= touched)).count();
    eprintln!("{touched_by_all} touched; {counted} charged to {} cgroups, {others} to other; {whole} whole", own.len());
    assert!(counted + others >= touched_by_all, "{counted} and {others} of {touched_by_all}");
    assert!(whole > 1 + 2 * 64, "slots are returned: {whole} cgroups had one");
    // A cgroup without a slot is counted at each lookup by a CPU.
    let slotless = lost(&samples, Stage::Slot);
    eprintln!("lost: slot {slotless}, workload {}", exposition.lost("workload"));
    assert_eq!(slotless > 0, others > 0);
    assert!(own.len() == made.len() || others > 0, "{} of {} had a slot", own.len(), made.len());
    // Within the grace period all cgroups have been removed; `other` has those over the limit.
    assert!(exposition.lost("workload") >= (WAVES * WAVE - 64) as f64);
    assert!(exposition.sum("headroom_workloads", &[]) <= 64.0);
    let other = exposition.sum(FAULTS, &[("workload", "other")]);
    assert!(other >= others as f64, "{other} in other, but {others} were not charged to a cgroup");
    // Removed workloads made room for new ones, and took their counts with them. Those that still show have their own.
    let mut shown = 0;
    for (id, path) in &paths {
        let counts = exposition.values(FAULTS, &[("workload", path)]);
        if !counts.is_empty() {
            assert_eq!(counts.iter().sum::<f64>(), own.get(id).copied().unwrap_or(0) as f64, "{path}");
            shown += 1;
        }
    }
    assert!(shown > 0, "the last removed ones still show");
}

/// Runs a process in a cgroup that touches this many pages; returns the kernel's count of its faults.
#[allow(clippy::zombie_processes, reason = "wait4 waits for it, and returns what it used")]
fn touch(directory: &Path, pages: u64) -> u64 {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(env!("CARGO_BIN_EXE_provoke"));
    command.args(["hog", &format!("anon={}", pages * 4096)]).stdout(Stdio::null());
    let procs = directory.join("cgroup.procs");
    // SAFETY: between fork and exec only open, write and close are called.
    unsafe { command.pre_exec(move || fs::write(&procs, "0")) };
    let child = command.spawn().unwrap();
    let mut status = 0;
    // SAFETY: all zeroes is a value of this C struct of numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both point to live values; the child is ours, and nobody else waits for it.
    let pid = unsafe { libc::wait4(child.id() as i32, &mut status, 0, &mut usage) };
    assert_eq!((pid, status), (child.id() as i32, 0));
    (usage.ru_minflt + usage.ru_majflt) as u64
}

/// A cgroup can be busy for a moment after its last process ended.
fn remove(directory: &Path) {
    for _ in 0..1000 {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            other => return other.unwrap(),
        }
    }
    panic!("{} stays busy", directory.display());
}

#[test]
fn the_series_move_to_the_new_name() {
    needs!(is_root(), "loading eBPF programs needs root");
    let mut cgroup = Cgroup::new("old");
    applies!(!cgroup.is_v2(), "cgroup v2 has no renames");
    let agent = Agent::start("tick = \"100ms\"\n[workload]\ngrace = \"1s\"\n");
    let hog = |cgroup: &Cgroup| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_provoke"));
        command.args(["hog", "anon=4096000"]).stdout(Stdio::null());
        assert!(cgroup.spawn(&mut command).wait().unwrap().success());
    };
    let faults = |exposition: &Exposition, path: &str| exposition.sum(FAULTS, &[("workload", path)]);
    let mut inner = cgroup.child("inner");
    hog(&inner);
    let (old, old_inner) = (cgroup.path.clone(), inner.path.clone());
    let before = faults(&agent.settle(), &old_inner);
    assert!(before >= 1000.0, "{before}");

    let new = old.replace("-old-", "-new-");
    for hierarchy in Hierarchies::find(&Root::default()).unwrap().distinct() {
        fs::rename(hierarchy.root.join(&old[1..]), hierarchy.root.join(&new[1..])).unwrap();
    }
    cgroup.path = new.clone();
    inner.path = format!("{new}/inner");
    let exposition = agent.scrape_until("the new name", |exposition| workloads(exposition).contains(&inner.path));
    let moved = faults(&exposition, &inner.path);
    assert_eq!(moved, before, "nothing ran meanwhile");
    hog(&inner);
    let after = faults(&agent.settle(), &inner.path);
    assert!(after >= before + 1000.0, "{before}, then {after}");
    let gone = |exposition: &Exposition| !exposition.text.contains(&format!("\"{old}"));
    let exposition = agent.scrape_until("the end of the old name", gone);
    assert!(!exposition.text.contains(&old_inner));
    assert!(workloads(&exposition).is_superset(&[new, inner.path.clone()].into()));
    drop(inner);
    drop(cgroup);
}

#[test]
fn after_lost_records_a_walk_finds_the_present_cgroups() {
    needs!(is_root(), "loading eBPF programs needs root");
    const CGROUPS: u64 = 500;
    let agent = Agent::start("tick = \"100ms\"\n[kernel]\ncritical_ring = 4096\n[workload]\ngrace = \"1s\"\n");
    let mut nest = Nest::new("unseen");
    // The agent sees neither the removal of these nor the creation of those.
    let dead: HashSet<String> = (0..20).map(|number| format!("{}/dead{number}", nest.parent.path)).collect();
    for number in 0..20 {
        nest.make(&format!("dead{number}"));
    }
    agent.scrape_until("the first twenty", |e| dead.iter().all(|path| workloads(e).contains(path)));

    agent.signal(Signal::STOP);
    let last_heard = agent.samples().len();
    let doomed = std::mem::take(&mut nest.children);
    let ids: Vec<u64> = (0..CGROUPS).map(|number| nest.make(&format!("n{number}"))).collect();
    doomed.iter().for_each(|directory| fs::remove_dir(directory).unwrap());
    agent.signal(Signal::CONT);

    let living = nest.children.len();
    let exposition = agent.scrape_until("the present cgroups, and no others", |exposition| {
        let shown = workloads(exposition);
        shown == paths_on_disk() && dead.iter().all(|path| !shown.contains(path))
    });
    let below = format!("{}/n", nest.parent.path);
    assert_eq!(workloads(&exposition).iter().filter(|path| path.starts_with(&below)).count(), living);

    let samples = agent.stop();
    let reported = reported(&samples);
    let births: u64 = ids.iter().filter_map(|id| reported.get(id)).map(|(born, _)| born).sum();
    let deaths: u64 = reported.values().map(|(_, died)| died).sum();
    let lost = lost(&samples, Stage::RingCritical);
    eprintln!("{births} births and {deaths} deaths reported, {lost} lost, {last_heard} samples before");
    assert!(births < CGROUPS, "the ring did not overflow");
    assert!(births + deaths + lost >= CGROUPS + 20, "{births} + {deaths} + {lost}: more is missing than was counted");
}

/// What looks like a container of root's engine, made as the user of a test below its cgroup.
fn pretend(nest: &mut Nest, digit: &str) -> (PathBuf, String) {
    let directory = nest.parent.memory().join("docker").join(digit.repeat(64));
    let made = Command::new("mkdir").arg("-p").arg(&directory).uid(user::ID).gid(user::ID).status().unwrap();
    assert!(made.success());
    if nest.children.is_empty() {
        nest.children.push(nest.parent.memory().join("docker"));
    }
    nest.children.insert(0, directory.clone());
    (directory, format!("docker/{}", digit.repeat(12)))
}

#[test]
fn what_a_user_makes_in_a_cgroup_of_its_own_has_the_users_name() {
    needs!(is_root(), "cgroups and programs need root");
    let mut nest = Nest::new("given");
    chown(nest.parent.memory(), Some(user::ID), Some(user::ID)).unwrap();
    let before = pretend(&mut nest, "a");
    let agent = Agent::start("tick = \"100ms\"\n");
    let after = pretend(&mut nest, "b");
    let mut processes = Vec::new();
    for (directory, name) in [&before, &after] {
        let mut process = Killed(Command::new("sleep").arg("600").spawn().unwrap());
        fs::write(directory.join("cgroup.procs"), process.0.id().to_string()).unwrap();
        let theirs = format!("user-{}/{name}", user::ID);
        let seen = agent.scrape_until("the user's", |now| workloads(now).contains(&theirs));
        assert!(!workloads(&seen).contains(name), "{name}");
        assert!(process.0.try_wait().unwrap().is_none());
        processes.push(process);
    }
    drop(processes);
}
