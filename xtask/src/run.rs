//! `cargo xtask run`: builds and starts the collector.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build;
use crate::project::{self, Project};
use crate::setup::{self, Scope};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub build: build::Args,
    /// Show GPUs that do not exist: the agent uses a stand-in for NVIDIA's library
    #[arg(long)]
    pub gpu_demo: bool,
    /// Arguments of `headroom run`
    #[arg(last = true)]
    pub args: Vec<String>,
}

/// Installs what is missing, builds, and becomes the collector with exec, so that its signals and exit code pass through.
pub fn run(project: &Project, args: &Args) -> Result<()> {
    setup::ensure(project, Scope::Build)?;
    let binary = build::compile(project, &args.build)?;
    if args.gpu_demo && !project::is_root() {
        bail!("eBPF programs are loaded as root: run `cargo xtask run --gpu-demo` as root");
    }
    let demo = args.gpu_demo.then(|| demo(project)).transpose()?;
    if !project::is_root() {
        bail!("eBPF programs are loaded as root. Run: {}", as_root(&binary, &args.args));
    }
    project::say(project::STEP, &format!("running: {} run {}", binary.display(), args.args.join(" ")));
    let environment = demo.into_iter().flatten();
    Err(Command::new(&binary).arg("run").args(&args.args).envs(environment).exec())
        .with_context(|| format!("run {}", binary.display()))
}

/// Builds the stand-in, and returns the environment variables that make the agent use it.
fn demo(project: &Project) -> Result<[(&'static str, PathBuf); 2]> {
    project::run(project.cargo("build").args(["--package", "nvml-stand-in"]))?;
    project::say(project::NOTE, "GPU DEMO: there is no GPU here. Every GPU number comes from a stand-in for NVML.");
    let scenario = project.root.join("tests/fixtures/nvml/demo.json");
    project::say(project::NOTE, &format!("GPU DEMO: the numbers come from {}", scenario.display()));
    let library = project.target.join("debug/libnvidia_ml.so");
    Ok([("HEADROOM_GPU_LIBRARY", library), ("NVML_STAND_IN", scenario)])
}

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
