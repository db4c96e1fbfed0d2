//! `cargo xtask bench`: the cost of the probes and the collector.

use anyhow::Result;

use crate::build;
use crate::project::{self, Project};
use crate::setup::{self, Scope};
use crate::vm;

/// The test that prints what a tick over many cgroups costs.
const PRICE: (&str, &str) = ("live", "price::a_tick_beside_reading_its_files");

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print what a tick over many cgroups of v2 costs in a virtual machine with this kernel, instead: only its ratio means anything
    #[arg(long, value_name = "KERNEL")]
    vm: Option<String>,
    /// Names of benchmarks, and their options [default: all]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Installs what is missing, builds for release, and measures. The benchmarks get the binary in `HEADROOM_BIN`.
pub fn bench(project: &Project, args: &Args) -> Result<()> {
    setup::ensure(project, Scope::Test)?;
    if let Some(kernel) = &args.vm {
        let binary = build::compile_with(project, &[PRICE.0])?;
        let machines = vm::prepare(project, &vm::Args::of(kernel))?;
        for (kernel, text) in vm::run_one(&machines, &binary, PRICE, &[])? {
            text.lines().filter(|line| line.contains("times cheaper")).for_each(|line| println!("{kernel}: {line}"));
        }
        return Ok(());
    }
    let binary = build::compile(project, &build::Args { release: true })?;
    let mut cargo = project.cargo("run");
    cargo.args(["--release", "--package", "collector-tests", "--bin", "bench", "--"]).args(&args.names);
    project::run(cargo.env("HEADROOM_BIN", binary))
}
