//! `cargo xtask bench NAME…`: cost of the probes and the collector. Every figure with an aim is a ratio of two alternating
//! measurements in one run, because absolute figures depend on the machine.

mod advice;
mod alert;
mod api;
mod block;
mod fault;
mod gpu;
mod guard;
mod history;
mod idle;
mod machine;
mod memory;
mod model;
mod page;
mod peer;
mod peers;
mod probe;
mod report;
mod ring;
mod rule;
mod scrape;
mod serve;
mod siege;
mod soak;
mod statistic;
mod transfer;
mod workloads;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use collector_tests::allocation;
use report::{Report, Section};

#[global_allocator]
static ALLOCATOR: allocation::Counting = allocation::Counting;

/// Run benchmarks, and report which aims are met
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench")]
struct Arguments {
    /// What to measure: fault, block, ring, idle, scrape, serve, api, page, rule, workloads, history, gpu, transfer, alert, advice, guard, model, peers;
    /// and memory, soak and siege, whose rounds are minutes [default: all except these three]
    names: Vec<String>,
    /// Number of measurements [default: each benchmark's own]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Write the results to docs/cost.md, those of soak and siege to docs/reliability.md
    #[arg(long)]
    write: bool,
    /// Draw a chart of soak as PNG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Fail if an aim is missed
    #[arg(long)]
    strict: bool,
}

/// Name, default number of rounds, and function of a benchmark.
type Benchmark = (&'static str, usize, fn(usize) -> Result<Report>);

const BENCHMARKS: [Benchmark; 18] = [
    ("fault", 30, fault::measure),
    ("block", 20, block::measure),
    ("ring", 20, ring::measure),
    ("idle", 200, idle::measure),
    ("scrape", 7, scrape::measure),
    ("serve", 200, serve::measure),
    ("api", 20, api::measure),
    ("page", 20, page::measure),
    ("rule", 200, rule::measure),
    ("workloads", 20, workloads::measure),
    ("history", 5, history::measure),
    ("gpu", 20, gpu::measure),
    ("transfer", 30, transfer::measure),
    ("alert", 500, alert::measure),
    ("advice", 30, advice::measure),
    ("guard", 100, guard::measure),
    ("model", 30, model::measure),
    ("peers", 10, peers::measure),
];

/// These take long, and run only by name. Their defaults in minutes.
const SOAK: (&str, usize) = ("soak", 20);
const SIEGE: (&str, usize) = ("siege", 5);
const MEMORY: (&str, usize) = ("memory", 10);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.first().is_some_and(|name| model::is_stand_in(name)) {
        collector_tests::serve::run(&arguments);
        return ExitCode::SUCCESS;
    }
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// False if an aim is missed and `--strict` is given.
fn run(arguments: &Arguments) -> Result<bool> {
    let chosen = |name: &str| arguments.names.is_empty() || arguments.names.iter().any(|chosen| chosen == name);
    let known = || BENCHMARKS.map(|(name, ..)| name).into_iter().chain([SOAK.0, SIEGE.0, MEMORY.0]);
    if let Some(unknown) = arguments.names.iter().find(|name| !known().any(|known| known == **name)) {
        bail!("no benchmark {unknown}: there are {}", known().collect::<Vec<_>>().join(", "));
    }
    if !rustix::process::geteuid().is_root() {
        bail!("the benchmarks attach the programs: run them as root");
    }
    let docs = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs"));
    let mut met = true;
    let mut publish = |name, rounds, report: Result<Report>, document: &str| -> Result<()> {
        let report = report.with_context(|| format!("bench {name}"))?;
        met &= report.met();
        let section = Section { name, rounds, report };
        println!("\n{section}");
        if arguments.write { section.write(&docs.join(document)) } else { Ok(()) }
    };
    let rounds = |rounds| arguments.rounds.unwrap_or(rounds).max(1);
    for (name, count, measure) in BENCHMARKS.into_iter().filter(|(name, ..)| chosen(name)) {
        publish(name, rounds(count), measure(rounds(count)), "cost.md")?;
    }
    let (name, minutes) = MEMORY;
    if arguments.names.iter().any(|chosen| chosen == name) {
        let minutes = rounds(minutes);
        publish(name, minutes, memory::measure(minutes), "cost.md")?;
    }
    let (name, minutes) = SOAK;
    if arguments.names.iter().any(|chosen| chosen == name) {
        let minutes = rounds(minutes);
        publish(name, minutes, soak::measure(minutes, arguments.plot.as_deref()), "reliability.md")?;
    }
    let (name, minutes) = SIEGE;
    if arguments.names.iter().any(|chosen| chosen == name) {
        let minutes = rounds(minutes);
        publish(name, minutes, siege::measure(minutes), "reliability.md")?;
    }
    Ok(met || !arguments.strict)
}
