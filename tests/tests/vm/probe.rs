//! Every probe on every kernel of the matrix.

use collector_common::{Probe, SIGNALS, block};
use collector_tests::agent::{Agent, headroom};
use collector_tests::needs;
use collector_tests::require::own_machine;

/// Signals that are off by default.
const ASKED_FOR: &[&str] = &["transfer"];

/// Whether this probe may be missing: a fallback, or one that not all kernels or devices need.
fn is_spare(probe: &Probe) -> bool {
    probe.instead_of.is_some() || ["oom_process_exit", block::ISSUE].contains(&probe.program)
}

/// The kernels of the matrix support everything: a probe that is unsupported or failed on one of them is a bug.
#[test]
fn every_probe_or_its_fallback_is_attached() {
    needs!(own_machine(), "other kernels run in virtual machines: cargo xtask test vm");
    check(&Agent::start(""));
}

pub fn check(agent: &Agent) {
    let exposition = agent.scrape();
    let holds = |program, state| exposition.sum("headroom_probe_state", &[("probe", program), ("state", state)]) == 1.0;
    let signals = SIGNALS.iter().filter(|signal| !ASKED_FOR.contains(&signal.name));
    let probes: Vec<&Probe> = signals.flat_map(|signal| signal.probes).collect();
    for probe in &probes {
        let right = holds(probe.program, "attached") || is_spare(probe) && holds(probe.program, "unneeded");
        assert!(right, "{} is not attached:\n{}\n{}", probe.program, exposition.text, agent.log());
    }
    // Of a probe and its fallbacks, one must be attached.
    for spare in probes.iter().filter_map(|probe| Some((probe.program, probe.instead_of?))) {
        assert!(holds(spare.0, "attached") != holds(spare.1, "attached"), "{spare:?}");
    }
    // The doctor reports the same.
    let output = headroom("doctor").arg("--json").output().unwrap();
    let findings: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for verdict in findings["probes"].as_array().unwrap() {
        let (program, state) = (verdict["program"].as_str().unwrap(), verdict["state"].as_str().unwrap());
        assert_eq!(exposition.sum("headroom_probe_state", &[("probe", program), ("state", state)]), 1.0, "{verdict}");
    }
}
