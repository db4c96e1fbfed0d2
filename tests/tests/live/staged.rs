//! Staged incidents: what the agent tells of them, against what is true.

use std::env;

use collector_tests::needs;
use collector_tests::require::is_root;
use collector_tests::stage::{Options, Programs, Row, run, seed, served, slow, starved, table};

/// Set by `cargo xtask test incidents`: parts of names.
const NAMES: &str = "HEADROOM_STAGE_NAMES";

fn options() -> Options {
    let names = env::var(NAMES).unwrap_or_default().split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect();
    Options { seed: seed(), names }
}

#[test]
fn the_quick_incidents_are_told_as_they_are() {
    needs!(is_root(), "loading eBPF programs needs root");
    let rows = run(env!("CARGO_BIN_EXE_provoke"), table::quick(), &Options { names: Vec::new(), ..options() });
    let wrong: Vec<String> = rows.iter().filter(|row| !row.right()).map(|row| format!("{row:#?}")).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "takes about an hour: cargo xtask test incidents"]
fn every_incident_is_staged() {
    needs!(is_root(), "loading eBPF programs needs root");
    let (program, options) = (env!("CARGO_BIN_EXE_provoke"), options());
    let mut rows: Vec<Row> = run(program, table::all(), &options);
    rows.extend(starved::run(program, starved::all(), &options));
    let programs = Programs { provoke: program, serve: env!("CARGO_BIN_EXE_serve") };
    rows.extend(slow::run(programs, slow::all(), &options));
    rows.extend(served::run(programs, served::all(), &options));
    assert!(!rows.is_empty(), "no scenario has such a name");
}
