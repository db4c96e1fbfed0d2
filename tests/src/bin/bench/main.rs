//! `cargo xtask bench NAME…`: what the probes and the collector cost. Every figure that is judged is a ratio of two
//! measurements that took turns in one run: absolute figures belong to the machine.

mod alert;
mod allocation;
mod block;
mod fault;
mod gpu;
mod idle;
mod machine;
mod peer;
mod peers;
mod probe;
mod report;
mod ring;
mod rule;
mod scrape;
mod statistic;
mod transfer;
mod workloads;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use report::{Report, Section};

#[global_allocator]
static ALLOCATOR: allocation::Counting = allocation::Counting;

/// Measures, and says which aims are met.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Arguments {
    /// What to measure: fault, block, ring, idle, scrape, rule, workloads, gpu, transfer, alert, peers [default: all]
    names: Vec<String>,
    /// How often each thing is measured [default: each benchmark's own]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Put the results into docs/cost.md
    #[arg(long)]
    write: bool,
    /// Fail if an aim is missed
    #[arg(long)]
    strict: bool,
}

/// A benchmark: its name, its rounds unless told otherwise, and what measures.
type Benchmark = (&'static str, usize, fn(usize) -> Result<Report>);

const BENCHMARKS: [Benchmark; 11] = [
    ("fault", 30, fault::measure),
    ("block", 20, block::measure),
    ("ring", 20, ring::measure),
    ("idle", 200, idle::measure),
    ("scrape", 7, scrape::measure),
    ("rule", 200, rule::measure),
    ("workloads", 20, workloads::measure),
    ("gpu", 20, gpu::measure),
    ("transfer", 30, transfer::measure),
    ("alert", 200, alert::measure),
    ("peers", 10, peers::measure),
];

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all is well: every aim is met, or nobody insists.
fn run(arguments: &Arguments) -> Result<bool> {
    let chosen = |name: &str| arguments.names.is_empty() || arguments.names.iter().any(|chosen| chosen == name);
    if let Some(unknown) = arguments.names.iter().find(|name| !BENCHMARKS.iter().any(|(known, ..)| known == name)) {
        bail!("there is no benchmark {unknown}: {}", BENCHMARKS.map(|(name, ..)| name).join(", "));
    }
    if !rustix::process::geteuid().is_root() {
        bail!("the benchmarks attach the programs: run them as root");
    }
    let document = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cost.md"));
    let mut met = true;
    for (name, rounds, measure) in BENCHMARKS.into_iter().filter(|(name, ..)| chosen(name)) {
        let rounds = arguments.rounds.unwrap_or(rounds).max(1);
        let report = measure(rounds).with_context(|| format!("bench {name}"))?;
        met &= report.met();
        let section = Section { name, rounds, report };
        println!("\n{section}");
        if arguments.write {
            section.write(&document)?;
        }
    }
    Ok(met || !arguments.strict)
}
