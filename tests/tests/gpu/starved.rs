//! A training job whose GPU waits: for the host, or because it does less itself.

use collector_tests::needs;
use collector_tests::require::is_root;
use collector_tests::stage::{Options, starved};

const PROGRAM: &str = env!("CARGO_BIN_EXE_provoke");

#[test]
fn a_job_that_waits_for_the_host_is_an_incident() {
    needs!(is_root(), "loading eBPF programs needs root");
    // `cargo xtask test incidents` stages all of them.
    let names = starved::QUICK.map(str::to_owned).to_vec();
    let rows = starved::run(PROGRAM, starved::all(), &Options { seed: 1, names });
    let wrong: Vec<String> = rows.iter().filter(|row| !row.right()).map(|row| format!("{row:#?}")).collect();
    assert!(wrong.is_empty() && !rows.is_empty(), "{}", wrong.join("\n"));
}
