//! Staged incidents: what the agent tells of them, against what is true.

use std::env;

use collector_tests::needs;
use collector_tests::require::is_root;
use collector_tests::stage::{Options, Programs, Row, run, served, slow, starved, table};

/// Set by `cargo xtask test incidents`: the seed of the numbers, and parts of names.
const SEED: &str = "HEADROOM_STAGE_SEED";
const NAMES: &str = "HEADROOM_STAGE_NAMES";

fn options() -> Options {
    let seed = env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| collector::clock::unix_ns() / 1_000_000_000);
    let names = env::var(NAMES).unwrap_or_default().split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect();
    Options { seed, names }
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
