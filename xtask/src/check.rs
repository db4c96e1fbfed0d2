//! `cargo xtask check`: what a change must pass before its tests run.

use std::process::Stdio;

use anyhow::{Context, Result, bail};

use crate::licence;
use crate::page;
use crate::project::{self, Project};
use crate::setup::{self, Scope};

/// fmt, the page's types, clippy for the host, clippy for the BPF target, licences, generated docs.
pub fn check(project: &Project) -> Result<()> {
    setup::ensure(project, Scope::Check)?;

    project::say(project::STEP, "[1/6] rustfmt");
    project::run(project.cargo("fmt").args(["--all", "--check"])).context("`cargo fmt --all` puts this right")?;

    // Before anything is built, so that the page is in it from the beginning.
    project::say(project::STEP, "[2/6] types of the page");
    page::check(project)?;

    project::say(project::STEP, "[3/6] clippy, host");
    let mut clippy = project.cargo("clippy");
    clippy.args(["--workspace", "--exclude", "collector-ebpf", "--all-targets", "--", "--deny", "warnings"]);
    project::run(&mut clippy)?;

    project::say(project::STEP, "[4/6] clippy, eBPF");
    let toolchain = setup::find(project)?;
    let target = project.target.join("ebpf");
    for features in [&[][..], &["--features", "typed"]] {
        let mut clippy = toolchain.cargo("clippy", &project.root, std::env::consts::ARCH, &target);
        project::run(clippy.args(features).args(["--locked", "--", "--deny", "warnings"]))?;
    }

    project::say(project::STEP, "[5/6] licences");
    licence::check(project)?;

    project::say(project::STEP, "[6/6] generated docs");
    let docs = || {
        let mut cargo = project.cargo_tested("test");
        cargo.args(["--quiet", "--lib", "docs"]);
        cargo
    };
    // A filter that matches no test would pass.
    let list = docs().args(["--", "--list"]).stderr(Stdio::inherit()).output().context("run cargo test")?;
    if list.status.success() && !String::from_utf8_lossy(&list.stdout).contains(": test") {
        bail!("the collector has no test named `docs`");
    }
    project::run(&mut docs())
}
