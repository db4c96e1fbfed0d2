//! `cargo xtask build`: the binary `headroom` with its eBPF programs.

use std::path::PathBuf;

use anyhow::Result;

use crate::project::{self, Project};
use crate::setup::{self, Scope};

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

/// Builds `headroom` and returns its path.
pub fn compile(project: &Project, args: &Args) -> Result<PathBuf> {
    let mut cargo = project.cargo("build");
    cargo.args(["--package", "collector", "--bin", "headroom"]);
    if args.release {
        cargo.arg("--release");
    }
    project::run(&mut cargo)?;
    Ok(project.target.join(if args.release { "release" } else { "debug" }).join("headroom"))
}
