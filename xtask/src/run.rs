//! `cargo xtask run`: the collector, built and started.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build;
use crate::project::{self, Project};
use crate::setup::{self, Scope};

/// What to run.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub build: build::Args,
    /// Arguments of `headroom run`
    #[arg(last = true)]
    pub args: Vec<String>,
}

/// Sets up, builds, and becomes the collector, so that signals and the exit code are its own.
pub fn run(project: &Project, args: &Args) -> Result<()> {
    setup::ensure(project, Scope::Build)?;
    let binary = build::compile(project, &args.build)?;
    if !project::is_root() {
        bail!("eBPF programs are loaded as root. Run: {}", as_root(&binary, &args.args));
    }
    project::say(project::STEP, &format!("running: {} run {}", binary.display(), args.args.join(" ")));
    Err(Command::new(&binary).arg("run").args(&args.args).exec()).with_context(|| format!("run {}", binary.display()))
}

/// The command for a shell.
fn as_root(binary: &Path, args: &[String]) -> String {
    let words = [binary.to_string_lossy().into_owned(), "run".to_owned()];
    let words: Vec<String> = words.iter().chain(args).map(|word| quote(word)).collect();
    format!("sudo {}", words.join(" "))
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sudo_command_can_be_pasted() {
        let args = ["--config".to_owned(), "it's here.toml".to_owned(), String::new()];
        let expected = r"sudo /t/debug/headroom run --config 'it'\''s here.toml' ''";
        assert_eq!(as_root(Path::new("/t/debug/headroom"), &args), expected);
    }
}
