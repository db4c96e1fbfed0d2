//! What `headroom doctor` says of real cgroups, against what the kernel does with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use collector::source::cgroup::Controller;
use collector_tests::agent::headroom;
use collector_tests::cgroup::{Cgroup, is_v2};
use collector_tests::loopback::Loop;
use collector_tests::provocation::was_killed;
use collector_tests::require::{is_root, skip};
use collector_tests::scratch::scratch;
use collector_tests::{applies, needs, provoke};
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// What the doctor says of one check.
fn audited(check: &str, config: &Path) -> Value {
    let output =
        headroom("doctor").arg("--json").arg("--config").arg(config).stderr(Stdio::inherit()).output().unwrap();
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = all["isolation"].as_array().unwrap().iter().find(|audited| audited["check"] == check);
    found.unwrap_or_else(|| panic!("{all}")).clone()
}

/// What it says of a workload, if the check fails for it.
fn failure(check: &str, config: &Path, workload: &str) -> Option<String> {
    let audited = audited(check, config);
    let fails = audited["fails"].as_array().cloned().unwrap_or_default();
    let of = |failure: &&Value| failure["object"]["workload"] == workload;
    fails.iter().find(of).map(|failure| failure["is"].as_str().unwrap().to_owned())
}

/// How often the kernel had to act at the limit of this cgroup itself.
fn at_limit(cgroup: &Cgroup) -> u64 {
    let (file, key) = if cgroup.is_v2() { ("memory.events.local", "max ") } else { ("memory.failcnt", "") };
    let text = fs::read_to_string(cgroup.memory().join(file)).unwrap();
    text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok()).unwrap()
}

#[test]
fn a_limit_above_its_parents_is_never_the_one_that_acts() {
    needs!(is_root(), "needs root");
    let parent = Cgroup::new("above");
    let child = parent.child("inner");
    parent.limit(32 * MIB);
    child.limit(64 * MIB);
    let mut hog = provoke!(&child, &["hog", &format!("anon={}", 48 * MIB)]);
    assert!(was_killed(&mut hog), "below its own limit");
    assert_eq!(at_limit(&child), 0);
    assert!(at_limit(&parent) > 0);

    let none = Path::new("/dev/null");
    let said = failure("limit_above_parent", none, &child.path).unwrap();
    let expected = format!("is 64.0 MiB and never acts: {} has 32.0 MiB, which acts first.", parent.path);
    assert!(said.ends_with(&expected), "{said}");
    assert_eq!(failure("limit_above_parent", none, &parent.path), None);

    // As much as above: then either acts.
    child.limit(32 * MIB);
    assert_eq!(failure("limit_above_parent", none, &child.path), None);
}

/// The scheduler in brackets of every disk: `none [bfq]`.
fn schedulers() -> Vec<(String, String)> {
    let disks = fs::read_dir("/sys/block").unwrap().flatten();
    let scheduler = |path: PathBuf| fs::read_to_string(path.join("queue/scheduler")).ok();
    disks.filter_map(|disk| Some((disk.file_name().into_string().unwrap(), scheduler(disk.path())?))).collect()
}

#[test]
fn a_weight_of_io_acts_once_a_disk_has_a_scheduler_that_heeds_it() {
    needs!(is_root(), "needs root");
    let cgroup = Cgroup::everywhere("weight");
    let name = if is_v2() { "io.bfq.weight" } else { "blkio.bfq.weight" };
    let weight = cgroup.file(Controller::Io, name);
    applies!(weight.exists(), "the kernel has no BFQ");
    applies!(!schedulers().iter().any(|(_, chosen)| chosen.contains("[bfq]")), "a disk has BFQ already");
    let folder = scratch();
    let disk = match Loop::new(&folder, MIB) {
        Ok(disk) => disk,
        Err(why) => return skip(&why),
    };
    let config = folder.join("headroom.toml");
    fs::write(&config, "[disk]\nexclude = [\"ram*\", \"zram*\", \"fd*\"]\n").unwrap();
    assert_eq!(failure("io_weight", &config, &cgroup.path), None, "the default weight");

    fs::write(&weight, "500").unwrap();
    assert!(fs::read_to_string(&weight).unwrap().contains("500"));
    let said = failure("io_weight", &config, &cgroup.path).unwrap();
    assert!(said.contains("neither BFQ nor the kernel's cost model is on for"), "{said}");
    for (disk, _) in schedulers() {
        // A loop device without a file is no disk.
        let has_size = fs::read_to_string(format!("/sys/block/{disk}/size")).unwrap().trim() != "0";
        let made = fs::read_dir(format!("/sys/block/{disk}/slaves")).is_ok_and(|mut below| below.next().is_some());
        assert!(!has_size || made || said.contains(&disk) || disk.starts_with("zram"), "{disk}: {said}");
    }

    let scheduler = Path::new("/sys/block").join(&disk.name).join("queue/scheduler");
    fs::write(&scheduler, "bfq").unwrap();
    assert!(fs::read_to_string(&scheduler).unwrap().contains("[bfq]"));
    assert_eq!(failure("io_weight", &config, &cgroup.path), None);
    fs::write(&scheduler, "none").unwrap();
    assert!(failure("io_weight", &config, &cgroup.path).is_some());
}

#[test]
fn the_controllers_are_those_that_are_mounted() {
    needs!(is_root(), "needs root");
    applies!(!is_v2(), "on cgroup v2 its root says which there are");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let is_mounted = |name: &&str| {
        let of = |line: &str| {
            let (_, right) = line.split_once(" - cgroup ").unwrap_or_default();
            right.split([' ', ',']).any(|option| option == *name)
        };
        mounts.lines().any(of)
    };
    let all = ["memory", "cpu", "cpuset", "blkio", "pids"].iter().all(is_mounted);
    let audited = audited("controllers", Path::new("/dev/null"));
    assert_eq!(audited["state"], if all { "holds" } else { "fails" }, "{audited}");
}
