//! `headroom act`, `headroom actions` and `headroom advise --apply`: changes of throwaway cgroups, which the tests read from the kernel's own files.

mod advice;
mod crash;
mod end;
mod hostile;

pub use crash::crashes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use collector::source::cgroup::Controller;
use collector_tests::actuator::{Actuator, allow};
use collector_tests::agent::PATIENCE;
use collector_tests::cgroup::Cgroup;
use collector_tests::process::{Killed, cpu};
use collector_tests::provocation::Provocation;
use collector_tests::require::is_root;
use collector_tests::scratch::{Scratch, scratch};
use collector_tests::{applies, needs};

const MIB: u64 = 1 << 20;
/// Every cgroup of the tests.
const TESTS: &str = "/headroom-test-act*";

fn limit_file(cgroup: &Cgroup) -> PathBuf {
    cgroup.memory().join(if cgroup.is_v2() { "memory.max" } else { "memory.limit_in_bytes" })
}

/// What the kernel says, without headroom.
fn shown(file: &Path) -> String {
    fs::read_to_string(file).unwrap().trim().to_owned()
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(20));
    }
}

/// A process that holds 24 MiB that no kernel can drop, and wrote so many bytes to a file.
fn holds(cgroup: &Cgroup, written: u64) -> (Provocation, Scratch) {
    let folder = scratch();
    let (bytes, file, written) = ((24 * MIB).to_string(), folder.join("file"), written.to_string());
    let work = ["hold", &bytes, "0", file.to_str().unwrap(), &written, "-", "0"];
    let mut process = Provocation::within(env!("CARGO_BIN_EXE_provoke"), &work, cgroup);
    process.report();
    (process, folder)
}

#[test]
fn a_limit_is_set_read_back_written_down_and_taken_back() {
    needs!(is_root(), "cgroups need root");
    let cgroup = Cgroup::new("act-set");
    let (file, path) = (limit_file(&cgroup), &*cgroup.path);
    let actuator = Actuator::start(&allow(&["memory_max"], &[TESTS], "memory_most = \"1GiB\""));
    let before = shown(&file);
    let dry = actuator.act(&["set", path, "memory.max", "64MiB", "--dry-run"]);
    assert!(dry.code == 0 && dry.out.starts_with("would do: memory_max") && dry.out.contains("64.0 MiB"), "{dry:?}");
    assert_eq!((shown(&file), actuator.journal().len()), (before.clone(), 0), "a dry run changes nothing");
    let set = actuator.act(&["set", path, "memory.max", "64MiB", "--why", "a test"]);
    assert!(set.code == 0 && set.out.contains("change 1 is done"), "{set:?}");
    assert_eq!(shown(&file), (64 * MIB).to_string());
    let again = actuator.act(&["set", path, "memory.max", "64MiB"]);
    assert!(again.code == 0 && again.out.contains("nothing was changed"), "{again:?}");
    let refused = actuator.act(&["set", path, "memory.max", "2GiB"]);
    assert!(
        refused.code == 24 && refused.err.contains("the rule \"test\" allows memory up to 1.00 GiB"),
        "{refused:?}"
    );
    let journal = actuator.journal();
    let [change] = &*journal else { panic!("{journal:?}") };
    let step = &change["steps"][0];
    assert_eq!(
        (&change["state"], &change["why"], &change["who"]["uid"]),
        (&"done".into(), &"a test".into(), &0.into())
    );
    assert_eq!((&step["before"], &step["read_back"]), (&before.clone().into(), &(64 * MIB).to_string().into()));
    assert_eq!(
        (&change["object"]["cgroup"]["path"], &change["object"]["cgroup"]["id"]),
        (&path.into(), &cgroup.memory_id().into())
    );
    let dry = actuator.actions(&["--undo", "1", "--dry-run"]);
    assert!(dry.code == 0 && shown(&file) == (64 * MIB).to_string(), "{dry:?}");
    let undone = actuator.actions(&["--undo", "1"]);
    assert!(undone.code == 0 && undone.out.contains("change 1 is undone"), "{undone:?}");
    assert_eq!(shown(&file), before);
    let twice = actuator.actions(&["--undo", "1"]);
    assert!(twice.code == 25 && twice.err.contains("nothing to undo"), "{twice:?}");
    let table = actuator.actions(&[]);
    assert!(table.out.contains(path) && table.out.contains("undone") && table.out.contains("a test"), "{table:?}");
}

#[test]
fn what_somebody_else_wrote_is_left_alone() {
    needs!(is_root(), "cgroups need root");
    let cgroup = Cgroup::new("act-other");
    let file = limit_file(&cgroup);
    let actuator = Actuator::start(&allow(&["memory_max"], &[TESTS], ""));
    let theirs = (96 * MIB).to_string();
    assert_eq!(actuator.act(&["set", &cgroup.path, "memory.max", "64MiB"]).code, 0);
    fs::write(&file, &theirs).unwrap();
    let undo = actuator.actions(&["--undo", "1"]);
    assert!(undo.code == 25 && undo.out.contains("somebody else changed it since"), "{undo:?}");
    assert_eq!((shown(&file), &actuator.journal()[0]["state"]), (theirs.clone(), &"stepped_aside".into()));
    // The same where a time is over.
    assert_eq!(actuator.act(&["set", &cgroup.path, "memory.max", "64MiB", "--for", "1s"]).code, 0);
    let theirs = (80 * MIB).to_string();
    fs::write(&file, &theirs).unwrap();
    actuator.await_state(2, "stepped_aside");
    assert_eq!(shown(&file), theirs);
}

#[test]
fn a_change_ends_at_its_time_and_one_above_it_leads_back_to_the_beginning() {
    needs!(is_root(), "cgroups need root");
    let cgroup = Cgroup::new("act-time");
    let file = limit_file(&cgroup);
    let mut actuator = Actuator::start(&allow(&["memory_max"], &[TESTS], "for_most = \"1h\""));
    let before = shown(&file);
    let endless = actuator.act(&["set", &cgroup.path, "memory.max", "64MiB"]);
    assert!(endless.code == 24 && endless.err.contains("undone within"), "{endless:?}");
    assert_eq!(actuator.act(&["set", &cgroup.path, "memory.max", "64MiB", "--for", "1s"]).code, 0);
    until("the limit is as before", || shown(&file) == before);
    actuator.await_state(1, "expired");
    // Its end passes while no actuator runs.
    assert_eq!(actuator.act(&["set", &cgroup.path, "memory.max", "64MiB", "--for", "1s"]).code, 0);
    actuator.kill();
    assert_eq!(shown(&file), (64 * MIB).to_string(), "ending undoes nothing");
    actuator.restart();
    until("the limit is as before", || shown(&file) == before);
    actuator.await_state(2, "expired");
    // A second change above a first that ends.
    assert_eq!(actuator.act(&["set", &cgroup.path, "memory.max", "64MiB", "--for", "1s"]).code, 0);
    assert_eq!(actuator.act(&["set", &cgroup.path, "memory.max", "32MiB", "--for", "1h"]).code, 0);
    actuator.await_state(3, "expired");
    assert_eq!(shown(&file), (32 * MIB).to_string(), "the second holds");
    assert_eq!(actuator.actions(&["--undo", "4"]).code, 0);
    assert_eq!(shown(&file), before);
}

#[test]
fn a_limit_below_what_is_used_must_be_forced_and_a_failure_leaves_nothing_behind() {
    needs!(is_root(), "cgroups need root");
    let cgroup = Cgroup::new("act-below");
    let file = limit_file(&cgroup);
    let _holds = holds(&cgroup, 0);
    let actuator = Actuator::start(&allow(&["memory_max"], &[TESTS], ""));
    let before = shown(&file);
    let below = actuator.act(&["set", &cgroup.path, "memory.max", "8MiB"]);
    assert!(below.code == 24 && below.err.contains("are in use, more than the limit"), "{below:?}");
    assert_eq!(shown(&file), before);
    // On cgroup v1 the kernel itself refuses it, where there is no swap; on v2 it kills.
    applies!(!cgroup.is_v2() && fs::read_to_string("/proc/swaps").unwrap().lines().count() == 1, "v1 without swap");
    let forced = actuator.act(&["set", &cgroup.path, "memory.max", "8MiB", "--force"]);
    assert!(forced.code == 1 && forced.out.contains("could not make room"), "{forced:?}");
    assert_eq!((shown(&file), &actuator.journal()[0]["state"]), (before, &"failed".into()));
}

#[test]
fn weights_and_quotas_are_set_in_the_units_of_this_host() {
    needs!(is_root(), "cgroups need root");
    let cgroup = Cgroup::with("act-cpu", &["memory", "cpu"]);
    let v2 = cgroup.is_v2();
    let file = |v2_name: &str, name: &str| cgroup.file(Controller::Cpu, if v2 { v2_name } else { name });
    let (weight, quota) = (file("cpu.weight", "cpu.shares"), file("cpu.max", "cpu.cfs_quota_us"));
    applies!(weight.exists(), "the cpu controller is on for this cgroup");
    let actuator = Actuator::start(&allow(&["cpu_weight", "cpu_max"], &[TESTS], "cpus_most = 2"));
    let before = [shown(&weight), shown(&quota)];
    assert_eq!(actuator.act(&["set", &cgroup.path, "cpu.weight", "200"]).code, 0);
    assert_eq!(actuator.act(&["set", &cgroup.path, "cpu.max", "0.5"]).code, 0);
    let wanted = if v2 { ["200", "50000 100000"] } else { ["2048", "50000"] };
    assert_eq!([shown(&weight), shown(&quota)], wanted);
    assert_eq!(actuator.act(&["set", &cgroup.path, "cpu.max", "3"]).code, 24);
    for id in ["2", "1"] {
        assert_eq!(actuator.actions(&["--undo", id]).code, 0);
    }
    assert_eq!([shown(&weight), shown(&quota)], before);
}

#[test]
fn what_cgroup_v1_cannot_do_is_unsupported_and_says_why() {
    needs!(is_root(), "cgroups need root");
    let cgroup = Cgroup::new("act-v1");
    applies!(!cgroup.is_v2(), "cgroup v1");
    let kinds = ["memory_high", "memory_low", "memory_min", "swap_max", "reclaim"];
    let actuator = Actuator::start(&allow(&kinds, &[TESTS], ""));
    for arguments in [
        &["set", &cgroup.path, "memory.low", "1MiB"][..],
        &["set", &cgroup.path, "memory.min", "1MiB"],
        &["set", &cgroup.path, "memory.swap.max", "1MiB"],
        &["reclaim", &cgroup.path, "1MiB", "--force"],
        &["set", &cgroup.path, "memory.high", "max"],
    ] {
        let said = actuator.act(arguments);
        assert!(said.code == 1 && said.err.contains("unsupported here: cgroup v1 has no memory."), "{said:?}");
    }
    assert_eq!(actuator.journal().len(), 0);
}

/// The kernel frees what can be dropped, and no more is asked of it.
fn reclaims(actuator: &Actuator) {
    let cgroup = Cgroup::new("act-reclaim");
    let (_process, folder) = holds(&cgroup, 16 * MIB);
    if !cgroup.memory().join("memory.reclaim").exists() {
        let said = actuator.act(&["reclaim", &cgroup.path, "4MiB"]);
        assert!(said.code != 0, "{said:?}");
        return;
    }
    let current = || shown(&cgroup.memory().join("memory.current")).parse::<u64>().unwrap();
    let more = actuator.act(&["reclaim", &cgroup.path, "1GiB"]);
    assert!(more.code == 24 && more.err.contains("can be dropped or swapped"), "{more:?}");
    if folder.is_on_disk() {
        let before = current();
        let said = actuator.act(&["reclaim", &cgroup.path, "8MiB"]);
        assert!(said.code == 0 && current() < before - 4 * MIB, "{before} then {}: {said:?}", current());
        let undo = actuator.actions(&["--undo", &actuator.journal().len().to_string()]);
        assert!(undo.code == 25 && undo.err.contains("cannot be undone"), "{undo:?}");
    }
}

#[test]
fn cgroup_v2_protects_reclaims_and_refuses_a_livelock() {
    needs!(is_root(), "cgroups need root");
    let cgroup = Cgroup::new("act-v2");
    applies!(cgroup.is_v2(), "cgroup v2");
    let file = |name: &str| cgroup.memory().join(name);
    let kinds = ["memory_low", "memory_high", "reclaim"];
    let actuator = Actuator::start(&allow(&kinds, &[TESTS], ""));
    assert_eq!(actuator.act(&["set", &cgroup.path, "memory.low", "16MiB"]).code, 0);
    assert_eq!(shown(&file("memory.low")), (16 * MIB).to_string());
    assert_eq!(actuator.actions(&["--undo", "1"]).code, 0);
    assert_eq!(shown(&file("memory.low")), "0");
    reclaims(&actuator);
    // Nothing that could be dropped or swapped.
    let _ = fs::write(file("memory.swap.max"), "0");
    let _holds = holds(&cgroup, 0);
    let high = actuator.act(&["set", &cgroup.path, "memory.high", "8MiB", "--for", "1m", "--force"]);
    assert!(high.code == 24 && high.err.contains("stops a workload for ever"), "{high:?}");
    assert_eq!(shown(&file("memory.high")), "max");
}

/// Lets go what a failed test left frozen: nothing frozen can be killed on cgroup v1.
struct Thawed(PathBuf, &'static str);

impl Drop for Thawed {
    fn drop(&mut self) {
        let _ = fs::write(&self.0, self.1);
    }
}

#[test]
fn a_frozen_workload_stands_still_and_goes_on_when_its_time_is_over() {
    needs!(is_root(), "cgroups need root");
    let cgroup = Cgroup::with("act-freeze", &["memory", "freezer"]);
    let (file, frozen, runs) = match cgroup.is_v2() {
        true => (cgroup.memory().join("cgroup.freeze"), "1", "0"),
        false => (cgroup.file_of("freezer", "freezer.state"), "FROZEN", "THAWED"),
    };
    let _thawed = Thawed(file.clone(), runs);
    let busy = Killed(cgroup.spawn(Command::new("sh").args(["-c", "while :; do :; done"])));
    let pid = busy.0.id();
    let works = |since: Duration| cpu(pid) > since;
    until("it works", || works(Duration::ZERO));
    let actuator = Actuator::start(&allow(&["freeze", "thaw"], &[TESTS], ""));
    let endless = actuator.act(&["freeze", &cgroup.path]);
    assert!(endless.code == 24 && endless.err.contains("thawed"), "{endless:?}");
    let said = actuator.act(&["freeze", &cgroup.path, "--for", "1h"]);
    assert!(said.code == 0 && shown(&file) == frozen, "{said:?}");
    let before = cpu(pid);
    sleep(Duration::from_millis(200));
    assert_eq!(cpu(pid), before, "nothing in it runs");
    assert_eq!(actuator.act(&["thaw", &cgroup.path]).code, 0);
    assert_eq!(shown(&file), runs);
    until("it works again", || works(before));
    let said = actuator.act(&["freeze", &cgroup.path, "--for", "1s"]);
    assert_eq!(said.code, 0, "{said:?}");
    let before = cpu(pid);
    until("it works again", || works(before));
    actuator.await_state(3, "expired");
}
