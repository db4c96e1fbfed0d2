//! `cargo xtask bench`: the cost of the probes and the collector.

use anyhow::Result;

use crate::build;
use crate::project::{self, Project};
use crate::setup::{self, Scope};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Names of benchmarks, and their options [default: all]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Installs what is missing, builds for release, and measures. The benchmarks get the binary in `HEADROOM_BIN`.
pub fn bench(project: &Project, args: &Args) -> Result<()> {
    setup::ensure(project, Scope::Test)?;
    let binary = build::compile(project, &build::Args { release: true })?;
    let mut cargo = project.cargo("run");
    cargo.args(["--release", "--package", "collector-tests", "--bin", "bench", "--"]).args(&args.names);
    project::run(cargo.env("HEADROOM_BIN", binary))
}
