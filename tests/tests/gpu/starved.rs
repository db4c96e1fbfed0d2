//! Work that a GPU makes slow, or that keeps a GPU waiting: one of each that is staged.

use collector_tests::needs;
use collector_tests::require::is_root;
use collector_tests::stage::{Options, Programs, served, starved};

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

#[test]
fn a_server_whose_gpu_has_a_bad_link_is_an_incident_that_says_so() {
    needs!(is_root(), "loading eBPF programs needs root");
    let programs = Programs { provoke: PROGRAM, serve: env!("CARGO_BIN_EXE_serve") };
    let names = served::QUICK.map(str::to_owned).to_vec();
    let rows = served::run(programs, served::all(), &Options { seed: 1, names });
    let wrong: Vec<String> = rows.iter().filter(|row| !row.right()).map(|row| format!("{row:#?}")).collect();
    assert!(wrong.is_empty() && !rows.is_empty(), "{}", wrong.join("\n"));
}
