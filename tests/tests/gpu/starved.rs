//! A training job whose GPU waits: for the host, or because it does less itself.

use collector_tests::needs;
use collector_tests::require::is_root;
use collector_tests::stage::{Options, starved};

const PROGRAM: &str = env!("CARGO_BIN_EXE_provoke");

/// Names of scenarios, separated by commas: all of them are staged by `cargo xtask test incidents`.
const NAMES: &str = "HEADROOM_STAGE_NAMES";

#[test]
fn a_job_that_waits_for_the_host_is_told_and_one_that_does_less_is_not() {
    needs!(is_root(), "loading eBPF programs needs root");
    let asked = std::env::var(NAMES).unwrap_or_else(|_| starved::QUICK.join(","));
    let names = asked.split(',').map(str::to_owned).collect();
    let rows = starved::run(PROGRAM, starved::all(), &Options { seed: 1, names });
    let wrong: Vec<String> = rows.iter().filter(|row| !row.right()).map(|row| format!("{row:#?}")).collect();
    assert!(wrong.is_empty() && !rows.is_empty(), "{}", wrong.join("\n"));
}
