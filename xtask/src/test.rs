//! `cargo xtask test`: every test that this machine can run.
//!
//! The test targets `live` and `gpu` of `collector-tests` load programs into this kernel: they need root, and run one test at
//! a time, since the kernel's counters and tracepoints are everybody's.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::build;
use crate::project::{self, Project};
use crate::setup::{self, Scope};
use crate::vm;

/// Which tests, and how.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which tests [default: all]
    #[arg(value_enum)]
    layer: Option<Layer>,
    /// Compare with what a real GPU does, and say what each call of its driver costs; with `gpu`
    #[arg(long)]
    hardware: bool,
    /// A test that cannot run on this machine fails
    #[arg(long)]
    require: bool,
    #[command(flatten)]
    vm: vm::Args,
    /// Names of tests, and options of the test harness
    #[arg(last = true)]
    filter: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Layer {
    /// What needs neither root nor a kernel that lets itself be traced
    Unit,
    /// What loads the programs into this machine's kernel, as root
    Live,
    /// What is about GPUs, of the live ones: against stand-ins, unless --hardware is given
    Gpu,
    /// What depends on the kernel, of the live ones and more, on other kernels in virtual machines
    Vm,
}

/// The test target that needs no kernel, the one that loads programs into this one, and the one that is about GPUs.
const STATIC: &str = "static";
const LIVE: &str = "live";
const GPU: &str = "gpu";
/// All test targets of `collector-tests`. One that no layer runs would get lost unseen.
const TARGETS: [&str; 4] = [STATIC, LIVE, GPU, "vm"];
/// What `gpu` has that is run on hardware, and against stand-ins otherwise.
const HARDWARE: &str = "hardware::";
/// Where NVIDIA's kernel module says that it is loaded.
const DRIVER: &str = "/proc/driver/nvidia/version";

/// Sets up, builds, and tests.
pub fn test(project: &Project, args: &Args) -> Result<()> {
    let root = project::is_root();
    if let Some(target) = project.tests.iter().find(|target| !TARGETS.contains(&target.as_str())) {
        bail!("no layer runs the test target {target}: make it a module of one of {}", TARGETS.join(", "));
    }
    if args.hardware {
        return hardware(project, args, root);
    }
    if args.layer == Some(Layer::Gpu) && !root {
        bail!("the tests of GPUs load programs into the kernel: run them as root");
    }
    if args.layer == Some(Layer::Vm) {
        setup::ensure(project, Scope::Build)?;
        let binary = build::compile(project, &build::Args::default())?;
        return vm::test(&vm::prepare(project, &args.vm)?, &binary, &args.filter);
    }
    if args.vm.given() {
        bail!("kernels are for virtual machines: cargo xtask test vm");
    }
    let live = args.layer != Some(Layer::Unit);
    // Without the witnesses most tests run all the same.
    let witnesses = args.require || live && root;
    setup::ensure(project, if witnesses { Scope::Test } else { Scope::Build })?;
    let binary = build::compile(project, &build::Args::default())?;
    // One that fails keeps no other from being run: whoever waited for it wants to know of all.
    let mut failed = Vec::new();
    let mut run = |cargo: &mut Command| failed.extend(project::run(environment(cargo, &binary, args.require)).err());
    let tests = || {
        let mut cargo = project.cargo("test");
        cargo.arg("--no-fail-fast");
        cargo
    };

    if !matches!(args.layer, Some(Layer::Live | Layer::Gpu)) {
        project::say(project::STEP, "test: units");
        run(tests().arg("--").args(&args.filter));
        project::say(project::STEP, "test: without the live kernel");
        let mut cargo = tests();
        cargo.args(["--package", "collector-tests", "--lib", "--bins", "--test", STATIC]);
        run(cargo.arg("--").args(&args.filter));
        project::say(project::STEP, "test: the manifest of Kubernetes");
        run(tests().args(["--package", "kubernetes-tests", "--"]).args(&args.filter));
    }
    if live && root {
        project::say(project::STEP, "test: the live kernel");
        let mut cargo = tests();
        cargo.args(["--package", "collector-tests", "--test", GPU]);
        if args.layer != Some(Layer::Gpu) {
            cargo.args(["--test", LIVE]);
        }
        run(cargo.args(["--", "--test-threads=1"]).args(&args.filter));
    } else if live {
        let how = "the live kernel's tests need root: sudo --preserve-env env \"PATH=$PATH\" \"HOME=$HOME\" cargo xtask test live";
        if args.require || args.layer == Some(Layer::Live) {
            bail!("{how}");
        }
        project::say(project::NOTE, &format!("skipped: {how}"));
    }
    // What a filter picks is looked for here alone.
    if args.layer.is_none() && args.filter.is_empty() {
        project::say(project::STEP, "test: other kernels");
        match vm::prepare(project, &vm::Args::default()) {
            Ok(machines) => failed.extend(vm::test(&machines, &binary, vm::QUICK).err()),
            Err(why) if args.require => failed.push(why.context("no other kernels were tried")),
            Err(why) => project::say(project::NOTE, &format!("skipped: other kernels: {why:#}")),
        }
    }
    failed.into_iter().next().map_or(Ok(()), Err)
}

/// Compares with a real GPU, and has the test say what it found.
fn hardware(project: &Project, args: &Args, root: bool) -> Result<()> {
    if args.layer != Some(Layer::Gpu) {
        bail!("--hardware is about GPUs: cargo xtask test gpu --hardware");
    }
    if !Path::new(DRIVER).exists() {
        bail!("there is no NVIDIA driver here: {DRIVER} does not exist. Without --hardware stand-ins play a GPU");
    }
    if !root {
        bail!("the programs are loaded into the kernel: run this as root");
    }
    // To the harness, names are alternatives: another would add tests that are about stand-ins.
    if let Some(name) = args.filter.iter().find(|word| !word.starts_with('-')) {
        bail!("--hardware runs one test, and takes no names: {name}");
    }
    setup::ensure(project, Scope::Build)?;
    let binary = build::compile(project, &build::Args::default())?;
    project::say(project::STEP, "test: a real GPU");
    let mut cargo = project.cargo("test");
    cargo.args(["--package", "collector-tests", "--test", GPU, "--", HARDWARE, "--nocapture", "--test-threads=1"]);
    project::run(environment(cargo.args(&args.filter).env("HEADROOM_HARDWARE", "1"), &binary, true))
}

/// What the tests are told: where the built binary is, and whether one that cannot run must fail.
fn environment<'a>(cargo: &'a mut Command, binary: &Path, require: bool) -> &'a mut Command {
    cargo.env("HEADROOM_BIN", binary);
    if require {
        cargo.env("HEADROOM_REQUIRE", "1");
    }
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A filter that matches nothing passes.
    #[test]
    fn what_is_run_on_hardware_is_there() {
        let gpu = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests").join(GPU).join("main.rs");
        let module = HARDWARE.trim_end_matches("::");
        assert!(std::fs::read_to_string(gpu).unwrap().contains(&format!("\nmod {module};\n")));
    }
}
