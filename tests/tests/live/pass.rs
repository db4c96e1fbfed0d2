//! The pass over all cgroups, compared with the kernel's files: two readers, one of which has it, over cgroups that change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::Duration;

use collector::config::Config;
use collector::source::cgroup::{Controller, Hierarchies, path_in, walk};
use collector::source::kernel::Kernel;
use collector::source::kernel::pass::Pass;
use collector::source::root::Root;
use collector::source::statistic::{Limits, Reader, handle};
use collector::source::{self, Source as _};
use collector_common::pass::word;
use collector_core::cgroup::Id;
use collector_core::sample::Reading;
use collector_core::signal::cgroup;
use collector_core::statistic::Statistic as _;
use collector_core::statistic::workload::{LEFT_BEHIND, Statistic as S, Values};
use collector_tests::cgroup::Cgroup;
use collector_tests::forest::Forest;
use collector_tests::provocation::Provocation;
use collector_tests::require::{is_root, kernel};
use collector_tests::{applies, needs, provoke};
use rustix::fs::{MemfdFlags, memfd_create};

const CGROUPS: usize = 500;
const ROUNDS: usize = 4;
const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;

/// What a reader last emitted of each cgroup.
pub struct Read {
    reader: Reader,
    values: BTreeMap<Id, Values>,
}

impl Read {
    fn new(reader: Reader, born: &[(Id, String)]) -> Read {
        let mut read = Read { reader, values: BTreeMap::new() };
        for (id, path) in born {
            let born = cgroup::Reading::Born { id: *id, path: path.clone() };
            read.reader.follow(&Reading::Cgroup(born));
        }
        read.tick();
        read
    }

    pub fn tick(&mut self) {
        let Read { reader, values } = self;
        source::read("cgroup", reader, &mut |sample| match sample.reading {
            Reading::Statistics(it) => drop(values.insert(it.cgroup, it.values)),
            Reading::Source(it) => assert!(it.up, "{it:?}"),
            _ => {}
        });
    }
}

/// The directories of the cgroups at a path in all hierarchies; the memory controller's comes last, so that joining the others is not
/// charged.
fn directories(hierarchies: &Hierarchies, path: &str) -> Vec<PathBuf> {
    hierarchies.all().iter().rev().map(|hierarchy| hierarchy.root.join(&path[1..])).collect()
}

/// Puts this process back.
fn leave(hierarchies: &Hierarchies, home: &[u8]) {
    for hierarchy in hierarchies.all() {
        if let Some(path) = path_in(home, hierarchy.id) {
            fs::write(hierarchy.root.join(&path[1..]).join("cgroup.procs"), "0").unwrap();
        }
    }
}

/// Changes what the cgroup with this number holds, its limits, and the time that it ran.
fn change(directories: &[PathBuf], v2: bool, number: usize, round: usize, pages: &File) {
    let directory: &Path = directories.last().unwrap();
    let write = |file: &str, text: String| {
        let path = directory.join(file);
        // A kernel without swap accounting has no limit on swap.
        if path.exists() {
            fs::write(&path, &text).unwrap_or_else(|error| panic!("{}: {text}: {error}", path.display()));
        }
    };
    let limit = (number % 7 > 2).then(|| 16 * MIB + (number + round) as u64 * PAGE);
    let bytes = |factor: u64| limit.map_or("max".to_owned(), |limit| (limit * factor).to_string());
    match v2 {
        true => {
            write("memory.max", bytes(4));
            write("memory.high", bytes(3));
            write("memory.low", bytes(2));
            write("memory.min", limit.unwrap_or(0).to_string());
            write("memory.swap.max", bytes(1));
        }
        false => {
            // The limit on both is never below that on memory.
            write("memory.memsw.limit_in_bytes", "-1".to_owned());
            write("memory.limit_in_bytes", limit.map_or("-1".to_owned(), |limit| limit.to_string()));
            write("memory.memsw.limit_in_bytes", limit.map_or("-1".to_owned(), |limit| (3 * limit).to_string()));
            write("memory.swappiness", (number % 100).to_string());
        }
    }
    directories.iter().for_each(|directory| fs::write(directory.join("cgroup.procs"), "0").unwrap());
    if round == 0 {
        // With less and without a process, it would count as empty, and hardly any of its files would be read.
        let at = (ROUNDS * CGROUPS * 5) as u64 * PAGE + number as u64 * LEFT_BEHIND;
        pages.write_all_at(&[7; LEFT_BEHIND as usize], at).unwrap();
    }
    for page in 0..=(number + round) % 5 {
        let at = ((ROUNDS * number + round) * 5 + page) as u64 * PAGE;
        pages.write_all_at(&[7; PAGE as usize], at).unwrap();
    }
}

/// Statistics that differ although the files said the same before and after the pass; and the number of those compared. Of the one
/// that holds nothing any more, hardly any is read again.
fn compare(before: &Read, passed: &Read, after: &Read, empty: Id) -> (Vec<String>, usize) {
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for (id, first) in before.values.iter().filter(|(id, _)| **id != empty) {
        let (ours, last) = (&passed.values[id], &after.values[id]);
        for statistic in S::ALL.iter().filter(|it| first.get(**it) == last.get(**it)) {
            compared += 1;
            if ours.get(*statistic) != first.get(*statistic) {
                let values = (ours.get(*statistic), first.get(*statistic));
                wrong.push(format!("{id:?} {}: {values:?}", statistic.name()));
            }
        }
    }
    (wrong, compared)
}

#[test]
fn the_pass_over_all_cgroups_and_their_files_say_the_same() {
    needs!(is_root(), "cgroups and programs need root");
    let pass = Kernel::open(&Config::default()).unwrap().take_pass();
    assert_eq!(pass.is_some(), kernel() >= (6, 1), "an iterator over cgroups");
    applies!(pass.is_some(), "this kernel cannot iterate over cgroups");
    let mut forest = Forest::everywhere("pass");
    for number in 0..CGROUPS {
        forest.make(format!("n{number}"));
    }
    let killed = Cgroup::new("pass-killed");
    killed.limit(8 * MIB);
    assert!(!provoke!(&killed, &["hog", "anon=67108864"]).wait().unwrap().success());
    assert_eq!(killed.kills(), 1);

    let hierarchies = Hierarchies::find(&Root::default()).unwrap();
    let below = format!("{}/", forest.path);
    let mut born = Vec::new();
    walk(&hierarchies.memory, &mut |id, path| {
        if path.starts_with(&below) || path == killed.path {
            born.push((id, path.to_owned()));
        }
    })
    .unwrap();
    assert_eq!(born.len(), CGROUPS + 1);
    let descriptors = handle::raise() / 3;
    let open = || {
        let limits = Limits { workloads: 2 * CGROUPS, descriptors, period: 1 };
        Reader::open(&Root::default(), &hierarchies, limits).unwrap()
    };
    let [mut before, mut after] = [(); 2].map(|()| Read::new(open(), &born));
    let mut passed = Read::new(open().with(pass), &born);

    let dead = Id { hierarchy: hierarchies.memory.id, id: killed.memory_id() };
    let home = fs::read("/proc/self/cgroup").unwrap();
    let pages = File::from(memfd_create("pass", MemfdFlags::CLOEXEC).unwrap());
    let mut decided = 0;
    for round in 0..ROUNDS {
        // First all of them, then every other.
        for number in (round % 2..CGROUPS).step_by(1 + round.min(1)) {
            let directories = directories(&hierarchies, &format!("{}/n{number}", forest.path));
            change(&directories, forest.is_v2(), number, round, &pages);
        }
        leave(&hierarchies, &home);
        // As if processes had entered: everything is read.
        for read in [&mut before, &mut passed, &mut after] {
            for (id, _) in &born {
                read.reader.follow(&Reading::Cgroup(cgroup::Reading::Attached { id: *id, pid: 1 }));
            }
            read.tick();
        }
        assert_eq!(passed.reader.passed(), CGROUPS + 1);
        let (wrong, compared) = compare(&before, &passed, &after, dead);
        assert!(wrong.is_empty(), "round {round}: {} of {compared}: {:?}", wrong.len(), &wrong[..wrong.len().min(20)]);
        decided += compared;
    }
    assert!(decided > ROUNDS * CGROUPS * S::ALL.len() * 9 / 10, "{decided} numbers compared");
    assert_eq!(passed.values[&dead].get(S::MemoryEventOomKill), Some(1));
    let ran = passed.values.values().filter(|values| values.get(S::CpuUsage).is_some_and(|ns| ns > 0)).count();
    assert!(ran >= CGROUPS, "{ran} ran");
    let limits = passed.values.values().filter(|values| values.get(S::MemoryLimit).is_some()).count();
    assert!((CGROUPS / 4..CGROUPS).contains(&limits), "{limits} with a limit");
}

/// Lets a cgroup's processes run a fifth of the time.
fn set_quota(cgroup: &Cgroup) {
    match cgroup.is_v2() {
        true => fs::write(cgroup.file(Controller::Cpu, "cpu.max"), "20000 100000"),
        false => fs::write(cgroup.file(Controller::Cpu, "cpu.cfs_quota_us"), "20000"),
    }
    .unwrap();
}

#[test]
fn a_quota_and_the_waits_for_it_are_what_the_files_say() {
    needs!(is_root(), "cgroups and programs need root");
    let Some(pass) = Kernel::open(&Config::default()).unwrap().take_pass() else {
        return applies!(false, "this kernel cannot iterate over cgroups");
    };
    assert!(pass.has(word::TIME) && pass.has(word::PERIODS) && pass.has(word::THROTTLED));
    let hierarchies = Hierarchies::find(&Root::default()).unwrap();
    let over = [Controller::Memory, Controller::Cpuacct].map(|controller| hierarchies.of(controller));
    let over: BTreeSet<u64> = over.into_iter().flatten().map(|hierarchy| hierarchy.id).collect();
    assert_eq!(pass.hierarchies().collect::<BTreeSet<_>>(), over);
    let cgroup = Cgroup::everywhere("quota");
    set_quota(&cgroup);
    let id = Id { hierarchy: hierarchies.memory.id, id: cgroup.memory_id() };
    let born = [(id, cgroup.path.clone())];
    // Only the first tick reads what is read at a turn.
    let limits = |period| Limits { workloads: 10, descriptors: 100, period };
    let open = |period| Reader::open(&Root::default(), &hierarchies, limits(period)).unwrap();
    let mut passed = Read::new(open(1_000_000).with(Some(pass)), &born);
    let mut files = Read::new(open(1), &born);

    let file = std::env::temp_dir().join(format!("headroom-quota-{}", std::process::id()));
    let work = ["hold", "4194304", "0", file.to_str().unwrap(), "0", "-", "400"];
    let mut busy = Provocation::within(env!("CARGO_BIN_EXE_provoke"), &work, &cgroup);
    for _ in 0..20 {
        sleep(Duration::from_millis(100));
        passed.tick();
    }
    // It waits for its input from now on. Of a cgroup without a process nothing would be read.
    busy.report();
    fs::remove_file(file).unwrap();
    // The kernel brings the averages of pressure up to date every two seconds.
    for _ in 0..5 {
        sleep(Duration::from_millis(700));
        passed.tick();
    }
    files.tick();
    let sum = |read: &Read, statistic| read.values.values().filter_map(|values| values.get(statistic)).next();
    let mut compared = vec![S::CpuUsage, S::CpuPeriods, S::CpuThrottledPeriods, S::CpuThrottled];
    if cgroup.is_v2() {
        compared.extend([S::CpuPressureSome, S::CpuPressureFull, S::MemoryPressureSome, S::IoPressureSome]);
    }
    for statistic in compared {
        assert_eq!(sum(&passed, statistic), sum(&files, statistic), "{}", statistic.name());
    }
    // Without the time before it joined.
    assert!(sum(&files, S::CpuUsage) >= Some(300_000_000), "{:?}", sum(&files, S::CpuUsage));
    assert!(sum(&files, S::CpuThrottledPeriods) >= Some(10) && sum(&files, S::CpuThrottled) >= Some(500_000_000));
    assert!(!cgroup.is_v2() || sum(&files, S::CpuPressureSome) >= Some(500_000_000));
    busy.end();
}

/// Total times of waits in microseconds that a cgroup's files have, as the pass names them.
fn waits(cgroup: &Cgroup) -> [u64; 3] {
    ["memory", "cpu", "io"].map(|name| {
        let text = fs::read_to_string(cgroup.memory().join(format!("{name}.pressure"))).unwrap();
        let total = text.lines().next().unwrap().rsplit_once("total=").unwrap().1;
        total.parse().unwrap()
    })
}

#[test]
fn the_pass_has_the_total_times_of_waits() {
    needs!(is_root(), "cgroups and programs need root");
    let cgroup = Cgroup::everywhere("waits");
    applies!(cgroup.is_v2(), "cgroups of v1 have no pressure of their own");
    let Some(mut pass) = Kernel::open(&Config::default()).unwrap().take_pass() else {
        return applies!(false, "this kernel cannot iterate over cgroups");
    };
    set_quota(&cgroup);
    cgroup.limit(4 * MIB);
    // More than its limit, so that it waits for memory, too.
    let mut hog = provoke!(&cgroup, &["hog", "anon=16777216"]);
    hog.wait().unwrap();
    let before = waits(&cgroup);
    pass.run(0).unwrap();
    let words = pass.rows().find(|row| row[word::ID].load(Relaxed) == cgroup.memory_id()).unwrap();
    let words = [word::MEMORY_PRESSURE, word::CPU_PRESSURE, word::IO_PRESSURE].map(|word| words[word].load(Relaxed));
    let after = waits(&cgroup);
    assert!(before[0] + before[1] > 0, "{before:?}");
    for ((before, ns), after) in before.into_iter().zip(words).zip(after) {
        assert!((before..=after).contains(&(ns / 1000)), "{before} µs, {ns} ns, {after} µs");
    }
}

/// Calls of this process that read something (proc(5)).
fn reads() -> usize {
    let text = fs::read_to_string("/proc/self/io").unwrap();
    text.lines().find_map(|line| line.strip_prefix("syscr: ")).unwrap().parse().unwrap()
}

/// Cgroups that hold memory, and a reader of them with the pass that has its turns every `period` ticks.
pub fn calm(pass: Pass, count: usize, period: u64) -> (Forest, Read, Vec<(Id, String)>) {
    let mut forest = Forest::everywhere("calm");
    let hierarchies = Hierarchies::find(&Root::default()).unwrap();
    let home = fs::read("/proc/self/cgroup").unwrap();
    let pages = File::from(memfd_create("calm", MemfdFlags::CLOEXEC).unwrap());
    let mut born = Vec::new();
    for number in 0..count {
        let name = format!("n{number}");
        let id = Id { hierarchy: hierarchies.memory.id, id: forest.make(&name) };
        born.push((id, format!("{}/{name}", forest.path)));
        change(&directories(&hierarchies, &born[number].1), forest.is_v2(), number, 0, &pages);
    }
    leave(&hierarchies, &home);
    // The pages stay for as long as the cgroups.
    std::mem::forget(pages);
    let limits = Limits { workloads: count, descriptors: handle::raise(), period };
    let reader = Reader::open(&Root::default(), &hierarchies, limits).unwrap().with(Some(pass));
    let read = Read::new(reader, &born);
    (forest, read, born)
}

#[test]
fn no_file_is_read_of_cgroups_in_which_nothing_happens() {
    needs!(is_root(), "cgroups and programs need root");
    let Some(pass) = Kernel::open(&Config::default()).unwrap().take_pass() else {
        return applies!(false, "this kernel cannot iterate over cgroups");
    };
    const MANY: usize = 100;
    let (_forest, mut passed, born) = calm(pass, MANY, 1_000_000);
    let mut tick = |emitted: &mut usize| {
        let before = reads();
        passed.values.clear();
        passed.tick();
        *emitted = passed.values.len();
        reads() - before
    };
    let mut emitted = 0;
    // Pressure that the kernel still adds up, and charges of other CPUs.
    let calm = (0..50).any(|_| {
        sleep(Duration::from_millis(200));
        tick(&mut emitted) < MANY / 10
    });
    assert!(calm && emitted < MANY / 10, "{emitted} emitted");
    let hierarchies = Hierarchies::find(&Root::default()).unwrap();
    let home = fs::read("/proc/self/cgroup").unwrap();
    let directories = directories(&hierarchies, &born[7].1);
    directories.iter().for_each(|directory| fs::write(directory.join("cgroup.procs"), "0").unwrap());
    leave(&hierarchies, &home);
    tick(&mut emitted);
    assert!((1..MANY / 10).contains(&emitted), "{emitted} emitted: that in which something ran");
}
