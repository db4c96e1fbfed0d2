//! `cargo xtask build`: the binary `headroom`, eBPF programs included.

use std::path::PathBuf;

use anyhow::Result;

use crate::project::{self, Project};
use crate::setup::{self, Scope};

/// How to build.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
// A group is named after its struct, and every verb's is `Args`.
#[group(skip)]
pub struct Args {
    /// Build what is shipped, not what is quick to build
    #[arg(long)]
    pub release: bool,
}

/// Sets up, builds, and says where the binary is.
pub fn build(project: &Project, args: &Args) -> Result<()> {
    setup::ensure(project, Scope::Build)?;
    let binary = compile(project, args)?;
    project::say(project::STEP, &format!("built: {}", binary.display()));
    Ok(())
}

/// Builds `headroom` and gives its path.
pub fn compile(project: &Project, args: &Args) -> Result<PathBuf> {
    let mut cargo = project.cargo("build");
    cargo.args(["--package", "collector", "--bin", "headroom"]);
    if args.release {
        cargo.arg("--release");
    }
    project::run(&mut cargo)?;
    Ok(project.target.join(if args.release { "release" } else { "debug" }).join("headroom"))
}
