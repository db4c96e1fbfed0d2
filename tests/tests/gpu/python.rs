//! The Python package against an agent with two GPUs. The witness is what the library's stand-in was told to answer.

use std::process::Stdio;

use collector_tests::cgroup::Cgroup;
use collector_tests::needs;
use collector_tests::nvml::host;
use collector_tests::python;
use collector_tests::require::{installed, is_root};

#[test]
fn the_package_passes_its_own_tests_with_gpus() {
    needs!(is_root(), "programs need root");
    needs!(installed("python3"), "python3 is not installed");
    let nvml = host(&["GPU-a", "GPU-b"]);
    // Neither this machine's memory nor its load counts here.
    let agent = nvml.agent_with("[level]\nmemory_limit = 1.0\n");
    let cgroup = Cgroup::new("python");
    let (name, value) = nvml.environment();
    let mut tests = python::tests("gpu");
    tests.env("HEADROOM_SOCKET", agent.directory().join("headroom.sock")).env(name, value);
    let output = cgroup.spawn(tests.stderr(Stdio::piped())).wait_with_output().unwrap();
    python::passed(&output);
}
