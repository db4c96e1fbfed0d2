//! Packages of npm that tests compare with, installed from their lock file into the folder of the project's own programs.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::project::{self, Project};
use crate::setup;

/// Folder with `package.json` and `package-lock.json`, and folder below the tools into which they are installed.
const GRAFANA: (&str, &str) = ("tests/grafana", "grafana");

/// Installs what is not there yet; silent and quick if nothing is missing.
pub fn install(project: &Project) -> Result<()> {
    let (from, to) = (project.root.join(GRAFANA.0), setup::tools(project).join(GRAFANA.1));
    let lock = fs::read(from.join("package-lock.json")).context("read the lock file of npm packages")?;
    // Copied last, so it says that what it names is installed.
    let done = to.join("installed.json");
    if fs::read(&done).is_ok_and(|done| done == lock) {
        return Ok(());
    }
    project::say(project::STEP, &format!("npm: Grafana's types, into {}", to.display()));
    fs::create_dir_all(&to).with_context(|| format!("create {}", to.display()))?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(from.join(file), to.join(file)).with_context(|| format!("copy {file}"))?;
    }
    let mut npm = Command::new("npm");
    npm.current_dir(&to).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    project::run(&mut npm).context("Grafana's types were not installed: npm needs the network")?;
    fs::write(&done, lock).with_context(|| format!("write {}", done.display()))
}
