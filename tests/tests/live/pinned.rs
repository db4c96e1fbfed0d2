//! Memory that drivers pinned, of whatever kind: the agent's number moves by exactly what a process of the test pins and releases.

use std::fs;
use std::time::Instant;

use collector_tests::agent::{Agent, PATIENCE, body};
use collector_tests::exposition::Exposition;
use collector_tests::provocation::Provocation;
use collector_tests::require::is_root;
use collector_tests::{applies, needs};
use serde_json::Value;

const PINNED: &str = "headroom_host_memory_pinned_bytes";
const BYTES: u64 = 48 << 20;

fn pinned(exposition: &Exposition) -> Option<u64> {
    exposition.values(PINNED, &[]).first().map(|bytes| *bytes as u64)
}

/// Whether a process may have an io_uring here.
fn has_rings() -> bool {
    let allowed = fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    // Kernels before 6.6 have no such setting.
    allowed.ok().is_none_or(|text| text.trim() != "2")
}

#[test]
fn what_a_process_pins_is_counted_to_the_byte_and_gone_with_it() {
    needs!(is_root(), "programs need root");
    let counters = fs::read_to_string("/proc/vmstat").unwrap();
    applies!(counters.contains("nr_foll_pin_acquired"), "the kernel counts no pins");
    applies!(has_rings(), "io_uring is off");
    let agent = Agent::start("tick = \"100ms\"\n");
    let before = held(&agent);
    let mut process = Provocation::start(env!("CARGO_BIN_EXE_provoke"), &["pin", &BYTES.to_string()], &[]);
    assert_eq!(process.report(), (BYTES, BYTES), "the kernel counts them for the process, too");
    agent.scrape_until("the pinned memory", |now| pinned(now) == Some(before + BYTES));
    let status = || -> Value { serde_json::from_str(&body(&agent.address, "/api/v1/status", "")).unwrap() };
    let deadline = Instant::now() + PATIENCE;
    while status()["memory"]["pinned_bytes"] != before + BYTES {
        assert!(Instant::now() < deadline, "{}", status()["memory"]);
    }
    process.end();
    agent.scrape_until("the release", |now| pinned(now) == Some(before));
}

/// What is pinned for longer: direct IO of others is for a moment.
fn held(agent: &Agent) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    let mut last = pinned(&agent.settle());
    loop {
        let now = pinned(&agent.settle());
        match now {
            Some(bytes) if now == last => return bytes,
            _ => last = now,
        }
        assert!(Instant::now() < deadline, "it never stays the same: {last:?}");
    }
}
