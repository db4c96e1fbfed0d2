//! Tests of the reader on trees of plain files below temporary roots.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use collector_core::sample::Statistics;
use collector_core::statistic::workload::{Statistic as S, Values};

use super::workload::{RETRY_ABSENT_TURNS, STILL_TURNS};
use super::*;
use crate::source::cgroup::walk;

mod controller;
mod examine;
mod place;
mod pulse;

const V2: &str = "27 24 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
const V1: &str = "25 24 0:20 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                  26 24 0:21 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n\
                  28 24 0:23 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";
const LIMITS: Limits = Limits { workloads: 100, descriptors: 1000, period: 4 };

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A host root in a temporary directory.
struct Host {
    at: PathBuf,
    reader: Reader,
}

impl Host {
    fn new(cgroups: &str, mounts: &str, limits: Limits) -> Host {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let at = std::env::temp_dir().join(format!("headroom-reader-{}-{number}", std::process::id()));
        write(&at.join("proc/1/cgroup"), cgroups);
        write(&at.join("proc/1/mountinfo"), mounts);
        for mount in mounts.lines() {
            fs::create_dir_all(at.join(&mount.split(' ').nth(4).unwrap()[1..])).unwrap();
        }
        let root = Root::new(&at);
        let reader = Reader::open(&root, &Hierarchies::find(&root).unwrap(), limits).unwrap();
        Host { at, reader }
    }

    fn v2(limits: Limits) -> Host {
        Host::new("0::/\n", V2, limits)
    }

    fn v1() -> Host {
        Host::new("4:memory:/\n3:blkio:/\n2:cpu,cpuacct:/\n", V1, LIMITS)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.at.join("sys/fs/cgroup").join(path)
    }

    fn write(&self, path: &str, text: &str) {
        write(&self.path(path), text);
    }

    fn id(&self, hierarchy: u64, path: &str) -> Id {
        Id { hierarchy, id: fs::metadata(self.path(path)).unwrap().ino() }
    }

    fn follow(&mut self, reading: cgroup::Reading) {
        self.reader.follow(&Reading::Cgroup(reading));
    }

    fn born(&mut self, hierarchy: u64, path: &str, file: &str) -> Id {
        let id = self.id(hierarchy, file);
        self.follow(cgroup::Reading::Born { id, path: path.into() });
        id
    }

    /// Creates a v2 cgroup with some memory, and reports its birth.
    fn make(&mut self, name: &str, bytes: u64) -> Id {
        self.write(&format!("{name}/memory.current"), &format!("{bytes}\n"));
        self.write(&format!("{name}/memory.stat"), &format!("anon {bytes}\ninactive_file 0\n"));
        self.born(0, &format!("/{name}"), name)
    }

    fn round(&mut self) -> Round {
        let mut round = Round::default();
        crate::source::read("cgroup", &mut self.reader, &mut |sample| match sample.reading {
            Reading::Statistics(Statistics { cgroup, values, .. }) => round.statistics.push((cgroup, values)),
            Reading::Cgroup(reading) => round.cgroups.push(reading),
            Reading::Source(source) => round.source = Some(source),
            other => panic!("{other:?}"),
        });
        round
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.at);
    }
}

/// An OOM kill of a process in this cgroup.
fn kill(cgroup: Id) -> oom::Kill {
    let kill = serde_json::json!({"cgroup": cgroup, "scope": "memcg", "pid": 7, "tid": 7, "comm": "a", "uid": 0,
        "score_adj": 0, "trigger_pid": 7, "trigger_comm": "a"});
    serde_json::from_value(kill).unwrap()
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// The readings of one round.
#[derive(Default)]
struct Round {
    statistics: Vec<(Id, Values)>,
    cgroups: Vec<cgroup::Reading>,
    source: Option<collector_core::sample::Source>,
}

impl Round {
    fn get(&self, id: Id, statistic: S) -> Option<u64> {
        self.statistics.iter().find(|(other, _)| *other == id).and_then(|(_, values)| values.get(statistic))
    }

    fn is_up(&self) -> bool {
        self.source.as_ref().unwrap().up
    }
}

#[test]
fn a_cgroup_is_read_from_its_birth_to_its_death() {
    let mut host = Host::v2(LIMITS);
    let id = host.make("a b\u{e9}\n", 4096);
    let round = host.round();
    assert_eq!((round.get(id, S::MemoryCurrent), round.get(id, S::MemoryAnon)), (Some(4096), Some(4096)));
    assert!(round.is_up());
    host.write("a b\u{e9}\n/memory.current", "8192\n");
    assert_eq!(host.round().get(id, S::MemoryCurrent), Some(8192));
    host.follow(cgroup::Reading::Died { id });
    assert_eq!((host.round().statistics.len(), host.reader.count(), host.reader.open_files()), (0, 0, 0));
}

#[test]
fn unchanged_values_are_emitted_once_per_turn() {
    let mut host = Host::v2(LIMITS);
    let id = host.make("a", 4096);
    let emitted: Vec<bool> = (0..13).map(|_| host.round().get(id, S::MemoryCurrent).is_some()).collect();
    let turns: Vec<bool> = (0..13).map(|tick| tick % 4 == 0).collect();
    assert_eq!(emitted, turns);
}

#[test]
fn turns_are_spread_over_the_ticks() {
    let mut host = Host::v2(LIMITS);
    let ids: Vec<Id> = (0..40).map(|number| host.make(&format!("a{number}"), 1)).collect();
    host.round();
    for number in 0..40 {
        host.write(&format!("a{number}/memory.stat"), "anon 2\n");
    }
    let mut seen = 0;
    for _ in 0..LIMITS.period {
        let round = host.round();
        let changed = ids.iter().filter(|id| round.get(**id, S::MemoryAnon) == Some(2)).count();
        assert_eq!(changed, ids.len() / LIMITS.period as usize);
        seen += changed;
    }
    assert_eq!(seen, ids.len());
}

/// Ticks in which the parts of memory of a cgroup were read, while it holds so many MiB in each.
fn reads(host: &mut Host, name: &str, id: Id, mib: &[u64]) -> Vec<bool> {
    let mut read = Vec::new();
    for (tick, mib) in mib.iter().enumerate() {
        host.write(&format!("{name}/memory.current"), &format!("{}\n", mib << 20));
        host.write(&format!("{name}/memory.stat"), &format!("anon {tick}\n"));
        read.push(host.round().get(id, S::MemoryAnon) == Some(tick as u64));
    }
    read
}

#[test]
fn those_that_matter_have_their_turn_at_every_tick() {
    let mut host = Host::new("0::/\n", V2, Limits { period: 100, ..LIMITS });
    let [calm, near, below] = ["calm", "near", "pod"].map(|name| {
        let id = host.make(name, 1);
        host.write(&format!("{name}/memory.max"), "104857600\n");
        id
    });
    let inner = host.make("pod/inner.service", 1);
    host.round();
    assert_eq!(reads(&mut host, "calm", calm, &[50, 50, 70, 70]), [true, false, true, false], "only while it grows");
    assert_eq!(reads(&mut host, "near", near, &[85, 85, 85, 84]), [true; 4]);
    assert_eq!(reads(&mut host, "near", near, &[70, 70]), [false; 2]);
    assert_eq!(reads(&mut host, "pod", below, &[40, 40]), [true, false]);
    assert_eq!(reads(&mut host, "pod/inner.service", inner, &[82, 82, 82]), [true; 3], "near the limit above it");
    // Of 5 GB, so that a twentieth is 250 MB.
    write(&host.at.join("proc/meminfo"), "MemTotal:       5000000 kB\nMemFree: 1 kB\n");
    assert_eq!(memory_total(&Root::new(&host.at)), Some(5_120_000_000));
    assert_eq!(memory_total(&Root::new(host.at.join("nowhere"))), None);
}

#[test]
fn a_limit_is_read_again_where_it_is_near() {
    let mut host = Host::new("0::/\n", V2, Limits { period: 100, ..LIMITS });
    let id = host.make("a", 90 << 20);
    host.write("a/memory.max", "104857600\n");
    host.round();
    host.round();
    host.write("a/memory.max", "94371840\n");
    assert_eq!(host.round().get(id, S::MemoryLimit), Some(94_371_840), "at the next tick, not at its turn");
}

#[test]
fn a_cgroup_that_dies_before_the_next_tick_leaves_nothing() {
    let mut host = Host::v2(LIMITS);
    let id = host.make("a", 1);
    host.follow(cgroup::Reading::Died { id });
    assert_eq!((host.round().statistics.len(), host.reader.count()), (0, 0));
    // Removed, but its death is not reported yet.
    let id = host.make("b", 1);
    fs::remove_dir_all(host.path("b")).unwrap();
    let round = host.round();
    assert!(round.statistics.is_empty() && round.is_up());
    host.follow(cgroup::Reading::Died { id });
    assert_eq!(host.reader.count(), 0);
}

#[test]
fn another_cgroup_at_the_same_path_is_not_taken_for_the_first() {
    let mut host = Host::v2(LIMITS);
    let id = host.make("a", 1);
    fs::rename(host.path("a"), host.path("old")).unwrap();
    host.write("a/memory.current", "2\n");
    assert!(host.round().statistics.is_empty());
    assert_ne!(host.id(0, "a"), id);
}

#[test]
fn an_unreadable_file_is_absent_and_reported() {
    let mut host = Host::v2(LIMITS);
    let id = host.make("a", 7);
    // A directory where a file should be.
    fs::create_dir(host.path("a/memory.events")).unwrap();
    for tick in 0..3 {
        let round = host.round();
        let error = round.source.as_ref().unwrap().error.as_deref().unwrap();
        assert!(error.starts_with("1 cgroup files could not be read"), "{tick}: {error}");
        assert!(!round.is_up());
        assert_eq!(round.get(id, S::MemoryEventMax), None);
    }
    fs::remove_dir(host.path("a/memory.events")).unwrap();
    host.write("a/memory.events", "max 3\n");
    let up: Vec<_> = (0..LIMITS.period).map(|_| host.round()).collect();
    assert!(up.iter().any(|round| round.get(id, S::MemoryEventMax) == Some(3)), "retried at its turn");
    assert!(host.round().is_up());
}

#[test]
fn files_that_appear_are_read_and_files_that_vanish_are_absent() {
    // Too few descriptors to keep files open: an open cgroupfs file reports its removal, one of this filesystem does
    // not.
    let mut host = Host::v2(Limits { descriptors: 4, ..LIMITS });
    let id = host.make("a", 7);
    host.round();
    host.write("a/io.stat", "8:0 rbytes=5\n");
    let found = (0..LIMITS.period * RETRY_ABSENT_TURNS).any(|_| host.round().get(id, S::IoReadBytes) == Some(5));
    assert!(found);
    fs::remove_file(host.path("a/memory.stat")).unwrap();
    let rounds: Vec<_> = (0..LIMITS.period).map(|_| host.round()).collect();
    let last = rounds.iter().rev().find(|round| !round.statistics.is_empty()).unwrap();
    assert_eq!((last.get(id, S::MemoryAnon), last.get(id, S::MemoryWorkingSet)), (None, None));
    assert_eq!(last.get(id, S::MemoryCurrent), Some(7));
    assert!(last.is_up());
}

#[test]
fn with_few_descriptors_everything_is_still_read() {
    let mut host = Host::v2(Limits { descriptors: 3, ..LIMITS });
    let ids: Vec<Id> = (0..10).map(|number| host.make(&format!("a{number}"), number)).collect();
    for _ in 0..=LIMITS.period {
        let round = host.round();
        assert!(round.is_up());
        assert_eq!(host.reader.open_files(), 3);
        for (number, id) in ids.iter().enumerate() {
            let current = round.get(*id, S::MemoryCurrent);
            assert!(current.is_none() || current == Some(number as u64));
        }
    }
    for number in 0..10 {
        host.write(&format!("a{number}/memory.current"), "77\n");
    }
    // Files that are not kept open are read at the workload's turn.
    let rounds: Vec<_> = (0..LIMITS.period).map(|_| host.round()).collect();
    let at_once = ids.iter().filter(|id| rounds[0].get(**id, S::MemoryCurrent) == Some(77)).count();
    assert!((1..ids.len()).contains(&at_once), "{at_once} of them in the first round");
    let seen = |id| rounds.iter().filter(|round| round.get(id, S::MemoryCurrent) == Some(77)).count();
    assert!(ids.iter().all(|id| seen(*id) >= 1));
    ids.into_iter().for_each(|id| host.follow(cgroup::Reading::Died { id }));
    assert_eq!(host.reader.open_files(), 0);
}

#[test]
fn the_root_and_nested_cgroups_are_not_read() {
    let mut host = Host::v2(LIMITS);
    host.write("memory.current", "1\n");
    host.born(0, "/", "");
    let top = host.make("system.slice/a.service", 2);
    host.make("system.slice/a.service/nested", 1);
    let round = host.round();
    assert_eq!(round.statistics.len(), 1);
    assert_eq!(round.get(top, S::MemoryCurrent), Some(2));
}

#[test]
fn a_walk_adds_new_cgroups_and_removes_dead_ones() {
    let mut host = Host::v2(LIMITS);
    let (a, b) = (host.make("a", 1), host.make("b", 2));
    host.round();
    fs::remove_dir_all(host.path("b")).unwrap();
    fs::create_dir(host.path("c")).unwrap();
    host.write("c/memory.current", "3\n");
    host.follow(cgroup::Reading::Walk);
    let mut found = Vec::new();
    walk(&host.reader.trees[0].hierarchy, &mut |id, path| found.push((id, path.to_owned()))).unwrap();
    found.into_iter().for_each(|(id, path)| host.follow(cgroup::Reading::Born { id, path }));
    host.follow(cgroup::Reading::Walked);
    let c = host.id(0, "c");
    let mut rounds: Vec<_> = (0..LIMITS.period).map(|_| host.round()).collect();
    assert_eq!(rounds.remove(0).get(c, S::MemoryCurrent), Some(3));
    assert!(rounds.iter().any(|round| round.get(a, S::MemoryCurrent).is_some()));
    assert!(rounds.iter().all(|round| round.get(b, S::MemoryCurrent).is_none()));
    assert_eq!(host.reader.count(), 2);
}

#[test]
fn a_renamed_cgroup_and_all_below_it_are_read_at_the_new_path() {
    let mut host = Host::v2(LIMITS);
    let (a, below) = (host.make("a", 1), host.make("a/b", 2));
    host.round();
    let young = host.make("a/c", 3);
    fs::rename(host.path("a"), host.path("z")).unwrap();
    host.follow(cgroup::Reading::Renamed { id: a, path: "/z".into() });
    for (name, bytes) in [("z", "10\n"), ("z/b", "20\n"), ("z/c", "30\n")] {
        host.write(&format!("{name}/memory.current"), bytes);
    }
    let round = host.round();
    assert_eq!([a, below, young].map(|id| round.get(id, S::MemoryCurrent)), [Some(10), Some(20), Some(30)]);
    assert_eq!(host.reader.count(), 3);
}

#[test]
fn what_is_below_a_renamed_cgroup_is_what_its_new_path_says() {
    let mut host = Host::v2(LIMITS);
    let scope = format!("docker-{}.scope", "4f1c2a9b".repeat(8));
    let (top, inner) = (host.make(&scope, 1), host.make(&format!("{scope}/app"), 2));
    host.round();
    for (old, new, count) in [(&*scope, "plain", 2), ("plain", &*scope, 1)] {
        fs::rename(host.path(old), host.path(new)).unwrap();
        host.follow(cgroup::Reading::Renamed { id: top, path: format!("/{new}") });
        let round = host.round();
        assert_eq!(round.get(top, S::MemoryCurrent), Some(1));
        assert_eq!((round.get(inner, S::MemoryCurrent).is_some(), host.reader.count()), (count == 2, count), "{new}");
    }
}

#[test]
fn one_file_of_each_first_level_makes_the_cpu_time_of_all_below_current() {
    let mut host = Host::v2(LIMITS);
    let ids = ["system.slice/a.service", "system.slice/b.service", "pods/x", "c"].map(|name| host.make(name, 1));
    ["system.slice", "pods", "c"].iter().for_each(|top| host.write(&format!("{top}/cpu.stat"), "usage_usec 1\n"));
    host.round();
    let Reader { trees, flush, descriptors, .. } = &mut host.reader;
    let open = descriptors.open();
    assert_eq!(flush.files(), [c"c/cpu.stat", c"pods/cpu.stat", c"system.slice/cpu.stat"]);
    flush.run(&trees[0], descriptors);
    assert_eq!(descriptors.open(), open + 3, "they stay open");
    flush.run(&trees[0], descriptors);
    assert_eq!(descriptors.open(), open + 3);
    // One that came and went between two ticks.
    let gone = host.make("gone", 1);
    fs::remove_dir_all(host.path("gone")).unwrap();
    host.round();
    let Reader { trees, flush, descriptors, .. } = &mut host.reader;
    flush.run(&trees[0], descriptors);
    assert_eq!(flush.files(), [c"c/cpu.stat", c"pods/cpu.stat", c"system.slice/cpu.stat"]);
    assert_ne!(gone, ids[0]);
}
