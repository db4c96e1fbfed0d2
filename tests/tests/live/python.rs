//! The Python package against a real agent: its processes are in a cgroup with a limit, and a filesystem is filled. The witnesses are in
//! its tests: the kernel's numbers, and what its own tasks did.

use std::process::Stdio;

use collector_tests::agent::Agent;
use collector_tests::binary::binary;
use collector_tests::cgroup::Cgroup;
use collector_tests::mount::Mount;
use collector_tests::needs;
use collector_tests::python;
use collector_tests::require::{installed, is_root};

const LIMIT: u64 = 768 << 20;

#[test]
fn the_package_passes_its_own_tests_against_an_agent() {
    needs!(is_root(), "loading eBPF programs needs root");
    needs!(installed("python3"), "python3 is not installed");
    let mount = Mount::tmpfs("size=4m").unwrap();
    let mountpoint = mount.0.to_str().unwrap().to_owned();
    // Neither this machine's memory nor its load counts here.
    let agent = Agent::start(&format!(
        "tick = \"200ms\"\nfilesystem.interval = \"500ms\"\n[level]\nmemory_limit = 1.0\nfilesystems = [{mountpoint:?}]\n[[rule]]\n\
         alert = \"LevelCritical\"\nmetric = \"headroom_degradation_level\"\nabove = 3\nseverity = \"critical\"\n\
         summary = \"the level is {{value}}\"\naction = \"Free something.\"\n"
    ));
    let cgroup = Cgroup::new("python");
    cgroup.limit(LIMIT);
    let mut tests = python::tests("live");
    tests.env("HEADROOM_SOCKET", agent.directory().join("headroom.sock"));
    tests.env("HEADROOM_TEST_LIMIT", LIMIT.to_string()).env("HEADROOM_TEST_MOUNT", &mountpoint);
    // One of them kills an agent of its own.
    tests.env("HEADROOM_TEST_AGENT", binary());
    let output = cgroup.spawn(tests.stderr(Stdio::piped())).wait_with_output().unwrap();
    python::passed(&output);
}
