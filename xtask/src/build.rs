//! `cargo xtask build`: the binary `headroom` with its eBPF programs.

use std::path::PathBuf;

use anyhow::Result;

use crate::page;
use crate::project::{self, Project};
use crate::setup::{self, Scope};

const BINARY: &str = "headroom";
/// A target for tests that is always built where there is a binary for tests.
pub const ANY_TEST: &str = "static";

#[derive(Clone, Copy, Debug, Default, clap::Args)]
// Clap names a group after its struct, and the struct of every verb is `Args`.
#[group(skip)]
pub struct Args {
    /// Build for release instead of debug
    #[arg(long)]
    pub release: bool,
}

/// Installs what is missing, builds, and prints where the binary is.
pub fn build(project: &Project, args: &Args) -> Result<()> {
    setup::ensure(project, Scope::Build)?;
    let binary = compile(project, args)?;
    project::say(project::STEP, &format!("built: {}", binary.display()));
    Ok(())
}

/// Builds `headroom` and returns its path. A release has the page; another build goes without it if it has to.
pub fn compile(project: &Project, args: &Args) -> Result<PathBuf> {
    prepare_page(project, args.release)?;
    let mut cargo = project.cargo("build");
    cargo.args(["--package", "collector", "--bin", BINARY]);
    if args.release {
        cargo.arg("--release");
    }
    project::run(&mut cargo)?;
    Ok(project.target.join(if args.release { "release" } else { "debug" }).join(BINARY))
}

/// Builds `headroom` together with these targets for tests, and returns its path.
pub fn compile_with(project: &Project, tests: &[&str]) -> Result<PathBuf> {
    prepare_page(project, false)?;
    let mut cargo = project.cargo_tested("build");
    cargo.args(["--bin", BINARY]);
    tests.iter().for_each(|test| _ = cargo.args(["--test", test]));
    project::run(&mut cargo)?;
    Ok(project.target.join("debug").join(BINARY))
}

fn prepare_page(project: &Project, required: bool) -> Result<()> {
    match page::prepare(project) {
        Err(why) if required => {
            return Err(why.context("the page is missing; `cargo build --release` leaves it out"));
        }
        Err(why) => project::say(project::NOTE, &format!("the page is left out: {why:#}")),
        Ok(()) => {}
    }
    Ok(())
}
