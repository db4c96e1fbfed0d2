//! The page of the agent: what it is made of, and whether its types are right. The collector's build script bundles it.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use crate::peer;
use crate::project::{self, Project};
use crate::setup::{self, Scope};
use crate::toolchain;

/// Installs what the page is made of; silent and quick if nothing is missing.
pub fn prepare(project: &Project) -> Result<()> {
    setup::ensure(project, Scope::Page)?;
    peer::install_page(project)
}

/// Has the compiler check the types, where there is Node.js. The packages are not where it looks for them: nothing is installed beside the sources.
pub fn check(project: &Project) -> Result<()> {
    if let Err(why) = prepare(project) {
        project::say(project::NOTE, &format!("skipped: {why:#}"));
        return Ok(());
    }
    let packages = project.target.join(toolchain::TOOLS).join(toolchain::PAGE);
    let web = project.root.join("web");
    let settings = json!({
        "extends": web.join("tsconfig.json"),
        "compilerOptions": {"baseUrl": packages, "paths": {"*": ["./node_modules/*", "./node_modules/@types/*"]}},
        "include": [web.join("src")],
    });
    let file = project.target.join("page.tsconfig.json");
    fs::write(&file, settings.to_string()).with_context(|| format!("write {}", file.display()))?;
    project::run(Command::new("node").arg(packages.join("node_modules/typescript/bin/tsc")).arg("--project").arg(&file))
}
