//! The workspace: its folders, its test targets, and cargo commands in it.
//!
//! Knows nothing of the verbs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Style of a step's first word.
pub const STEP: &str = "\x1b[1;32m";
/// Style of a note about what was skipped.
pub const NOTE: &str = "\x1b[1;33m";
/// Style of an error.
pub const ERROR: &str = "\x1b[1;31m";

/// The packages that have tests. Cargo chooses the features of a dependency for all packages that it builds at once: were these not named
/// together each time, all that depends on such features would be compiled again and again.
const TESTED: [&str; 6] =
    ["collector-common", "collector-core", "collector", "collector-tests", "kubernetes-tests", "xtask"];

#[derive(Debug)]
pub struct Project {
    /// The workspace's root folder.
    pub root: PathBuf,
    /// Cargo's target folder.
    pub target: PathBuf,
    pub tests: Vec<String>,
}

impl Project {
    /// From `cargo metadata`.
    pub fn find() -> Result<Project> {
        // Of the checkout that this was built in, whatever the current directory.
        let mut command = cargo("metadata");
        command.args(["--no-deps", "--format-version", "1", "--manifest-path"]);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).stderr(Stdio::inherit());
        let output = command.output().context("run cargo metadata")?;
        if !output.status.success() {
            bail!("cargo metadata failed");
        }
        Project::parse(&output.stdout).context("parse the output of cargo metadata")
    }

    fn parse(metadata: &[u8]) -> Result<Project> {
        let metadata: Value = serde_json::from_slice(metadata)?;
        let folder = |key: &str| metadata[key].as_str().map(PathBuf::from).with_context(|| format!("no {key}"));
        let packages = metadata["packages"].as_array().context("no packages")?;
        let tests = packages.iter().filter(|package| package["name"] == "collector-tests");
        let targets = tests.filter_map(|package| package["targets"].as_array()).flatten();
        let tests = targets.filter(|target| target["kind"][0] == "test").filter_map(|target| target["name"].as_str());
        Ok(Project {
            root: folder("workspace_root")?,
            target: folder("target_directory")?,
            tests: tests.map(str::to_owned).collect(),
        })
    }

    /// `cargo VERB` in the workspace's root.
    pub fn cargo(&self, verb: &str) -> Command {
        let mut command = cargo(verb);
        command.current_dir(&self.root);
        command
    }

    /// The same for the packages with tests. What is built of them is for the caller to say.
    pub fn cargo_tested(&self, verb: &str) -> Command {
        let mut command = self.cargo(verb);
        TESTED.iter().for_each(|package| _ = command.args(["--package", package]));
        command
    }
}

/// Runs a command with its output on the terminal.
pub fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("run {name}"))?;
    if !status.success() {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        bail!("failed: {} {}", name.rsplit('/').next().unwrap_or(&name), words.join(" "));
    }
    Ok(())
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Prints a line for the developer. On a terminal its first word, up to a `:` or `]`, has this style.
pub fn say(style: &str, line: &str) {
    let end = line.find([':', ']']).map_or(0, |end| end + 1);
    let (head, rest) = line.split_at(end);
    anstream::eprintln!("{style}{head}\x1b[0m{rest}");
}

/// The cargo that runs this, without the variables that it set about the package xtask: build scripts that watch such
/// variables would run again for nothing.
fn cargo(verb: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(&name);
        }
    }
    command.arg(verb);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_test_targets_come_from_cargo() {
        let metadata = br#"{"workspace_root": "/w", "target_directory": "/t", "packages": [
            {"name": "collector", "targets": [{"name": "other", "kind": ["test"]}]},
            {"name": "collector-tests", "targets": [
                {"name": "collector_tests", "kind": ["lib"]}, {"name": "live", "kind": ["test"]}]}]}"#;
        let project = Project::parse(metadata).unwrap();
        assert_eq!((project.root, project.target), ("/w".into(), "/t".into()));
        assert_eq!(project.tests, ["live"]);
    }

    #[test]
    fn unexpected_metadata_is_an_error() {
        assert!(Project::parse(b"{}").is_err());
        assert!(Project::parse(b"[").is_err());
    }

    #[test]
    fn a_failed_command_is_named() {
        let error = run(Command::new("/bin/false").arg("--now")).unwrap_err();
        assert_eq!(error.to_string(), "failed: false --now");
    }
}
