//! `cargo xtask advisories`: known vulnerabilities of the crates in both lock files, found by cargo-audit.
//!
//! A verb of its own: its answer changes without a change of ours, and it needs the network.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::project::{self, Project};
use crate::toolchain;

const AUDIT: &[&str] = &["cargo-audit@0.22.2", "--no-default-features", "--locked"];

#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// A copy of https://github.com/RustSec/advisory-db, instead of one that is fetched
    #[arg(long, value_name = "FOLDER")]
    database: Option<PathBuf>,
}

pub fn advisories(project: &Project, args: &Args) -> Result<()> {
    let tools = project.target.join(toolchain::TOOLS);
    let program = tools.join("bin/cargo-audit");
    if !program.is_file() {
        project::say(project::STEP, &format!("cargo-audit: compiled into {}, some minutes", tools.display()));
        project::run(project.cargo("install").args(AUDIT).arg("--debug").arg("--root").arg(&tools))?;
    }
    for lock in ["Cargo.lock", "fuzz/Cargo.lock"] {
        project::say(project::STEP, &format!("advisories: {lock}"));
        let mut audit = std::process::Command::new(&program);
        audit.current_dir(&project.root).args(["audit", "--deny", "unsound", "--deny", "yanked", "--file", lock]);
        if let Some(database) = &args.database {
            audit.args(["--no-fetch", "--stale", "--db"]).arg(database);
        }
        project::run(&mut audit)
            .with_context(|| format!("advisories concern {lock}, or the database is not reached"))?;
    }
    Ok(())
}
