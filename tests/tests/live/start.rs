//! The agent starts again and again on a busy host: cgroups that come and go, a workload that is reclaimed from all the time, IO
//! under way, a cgroup with a path longer than a record. Whatever is under way when its programs are attached is no loss and no
//! reason for an alert. What the host does not offer is said, and the rest goes on.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use collector_core::sample::Reading;
use collector_core::stage::Stage;
use collector_tests::agent::{Agent, PATIENCE, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::needs;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;

const MIB: u64 = 1 << 20;
const STARTS: usize = 20;
/// Counts wait for the creation of their cgroup for ten ticks.
const TICKS: usize = 15;

/// Runs a command in a cgroup, to its end.
fn run(cgroup: &Cgroup, command: &str) {
    let mut shell = Command::new("sh");
    let shell = shell.args(["-c", command]).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(cgroup.spawn(shell).wait().unwrap().success(), "{command}");
}

/// Cgroups nested so deep that the path of the last is longer than a record of the programs holds, innermost first:
/// in this order they are dropped.
fn deep() -> Vec<Cgroup> {
    let mut all = vec![Cgroup::new("start-deep")];
    for level in 0..5 {
        let name = format!("{level}{}", "x".repeat(240));
        all.insert(0, all[0].child(&name));
    }
    assert!(all[0].path.len() > collector_common::cgroup::PATH);
    all
}

/// Ends the load when dropped, also if the test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_start_on_a_busy_host_loses_nothing_and_raises_no_alert() {
    needs!(is_root(), "loading eBPF programs needs root");
    let folder = scratch();
    let file = folder.join("blocks");
    fs::write(&file, vec![7; 64 * MIB as usize]).unwrap();
    let file = file.display();
    let stop = AtomicBool::new(false);
    let repeat = |action: &dyn Fn()| {
        while !stop.load(Ordering::Relaxed) {
            action();
            sleep(Duration::from_millis(5));
        }
    };
    scope(|threads| {
        // Born, counted for and gone within milliseconds.
        threads.spawn(|| repeat(&|| run(&Cgroup::new("start-brief"), "for i in 1 2 3; do /bin/true; done")));
        // Page cache of a file that does not fit: its reader reclaims all the time.
        threads.spawn(|| {
            let cgroup = Cgroup::new("start-reclaim");
            cgroup.limit(16 * MIB);
            repeat(&|| run(&cgroup, &format!("cat {file} > /dev/null")));
        });
        threads.spawn(|| {
            repeat(&|| {
                run(&Cgroup::new("start-io"), &format!("dd if={file} of=/dev/null bs=64k iflag=direct count=200"))
            })
        });
        threads.spawn(|| {
            let deep = deep();
            repeat(&|| run(&deep[0], "/bin/true"));
        });
        let end = End(&stop);
        let mut told = Vec::new();
        for start in 0..STARTS {
            let agent = Agent::start("tick = \"50ms\"\n[kernel]\nmeasure = \"0s\"\n");
            let deadline = Instant::now() + PATIENCE;
            let ticks = || agent.samples().iter().filter(|sample| sample.reading == Reading::Tick).count();
            while ticks() < TICKS && Instant::now() < deadline {
                sleep(Duration::from_millis(25));
            }
            let page = agent.scrape();
            let lost =
                Stage::ALL.map(|stage| (stage, page.lost(stage.label()))).into_iter().filter(|(_, lost)| *lost > 0.0);
            told.extend(lost.map(|(stage, lost)| format!("start {start}: lost {lost} at {}", stage.label())));
            let log = agent.log();
            // Others on this host may have alerts and incidents of their own.
            let is_ours = |line: &&str| line.contains("\"EventsLost\"") || line.contains("headroom-test-start-");
            let told_of = log.lines().filter(|line| line.contains("\"alert\":") || line.contains("\"incident\":"));
            let said = told_of.filter(is_ours);
            told.extend(said.map(|line| format!("start {start}: {line}")));
            assert!(ticks() >= TICKS, "{log}");
        }
        drop(end);
        assert!(told.is_empty(), "{told:#?}");
    });
}

#[test]
fn a_trigger_that_cannot_be_armed_is_said_and_skipped() {
    needs!(is_root(), "loading eBPF programs needs root");
    needs!(fs::exists("/proc/pressure/memory").unwrap(), "this kernel has no PSI");
    // This host, except that one of its pressure files is a copy.
    let root = scratch();
    let proc = root.join("proc");
    fs::create_dir_all(proc.join("pressure")).unwrap();
    symlink("/sys", root.join("sys")).unwrap();
    for name in ["1", "self", "meminfo", "vmstat", "stat", "loadavg", "diskstats", "pressure/memory", "pressure/cpu"] {
        symlink(Path::new("/proc").join(name), proc.join(name)).unwrap();
    }
    fs::copy("/proc/pressure/io", proc.join("pressure/io")).unwrap();
    let config = format!("rootfs = {:?}\n", &*root);
    let agent = Agent::start(&config);
    let page = agent.settle();
    let armed = |resource| page.values("headroom_host_pressure_trigger_armed", &[("resource", resource)]);
    assert_eq!((armed("memory"), armed("io")), (vec![1.0, 1.0], vec![0.0]), "{}", agent.log());
    let said = |log: &str| log.contains("PSI trigger could not be armed") && log.contains("cannot be watched");
    assert!(said(&agent.log()), "{}", agent.log());
    let doctor = headroom("doctor").arg("--config").arg(agent.directory().join("headroom.toml")).output().unwrap();
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(doctor.contains("io stalled: PSI trigger could not be armed: its file cannot be watched"), "{doctor}");
}
