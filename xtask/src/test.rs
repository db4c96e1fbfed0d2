//! `cargo xtask test`: runs every test that this machine can run.
//!
//! The test targets `live` and `gpu` of `collector-tests` load programs into this kernel. They need root, and run one test at
//! a time, since they share the kernel's counters and tracepoints.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::build;
use crate::debian;
use crate::incidents;
use crate::models;
use crate::peer;
use crate::project::{self, Project};
use crate::setup::{self, Scope};
use crate::vm;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which tests [default: all]
    #[arg(value_enum)]
    layer: Option<Layer>,
    /// Compare with a real GPU, and print what each call of its driver costs; with `gpu`
    #[arg(long)]
    hardware: bool,
    /// Fail tests that cannot run on this machine
    #[arg(long)]
    require: bool,
    #[command(flatten)]
    vm: vm::Args,
    #[command(flatten)]
    incidents: incidents::Args,
    #[command(flatten)]
    debian: debian::Args,
    /// Names of tests, and options of the test harness
    #[arg(last = true)]
    filter: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Layer {
    /// Tests that need neither root nor a kernel that can be traced
    Unit,
    /// Tests that load the programs into this machine's kernel, as root
    Live,
    /// The live tests of GPUs: with stand-ins, or a real GPU with --hardware
    Gpu,
    /// Tests that depend on the kernel, on other kernels in virtual machines
    Vm,
    /// Staged incidents: what the agent tells of each, as a table
    Incidents,
    /// The package in a whole Debian with systemd, in a virtual machine, as a table
    Debian,
    /// What made-up models need, compared with llama.cpp's own estimator, which is built first
    Models,
}

const STATIC: &str = "static";
const LIVE: &str = "live";
const GPU: &str = "gpu";
const VM: &str = "vm";
/// All test targets of `collector-tests`. A target that no layer runs would go unnoticed.
const TARGETS: [&str; 4] = [STATIC, LIVE, GPU, VM];
/// Those of other packages, which need no binary.
const REPLAY: &str = "replay";
const MANIFEST: &str = "manifest";
/// The module of `gpu` that runs on a real GPU with `--hardware`, and with stand-ins otherwise.
const HARDWARE: &str = "hardware::";
/// Exists while NVIDIA's kernel module is loaded.
const DRIVER: &str = "/proc/driver/nvidia/version";

/// Installs what is missing, builds, and tests.
pub fn test(project: &Project, args: &Args) -> Result<()> {
    let root = project::is_root();
    if let Some(target) = project.tests.iter().find(|target| !TARGETS.contains(&target.as_str())) {
        bail!("no layer runs the test target {target}: make it a module of one of {}", TARGETS.join(", "));
    }
    if args.hardware {
        return hardware(project, args, root);
    }
    if args.layer == Some(Layer::Gpu) && !root {
        bail!("GPU tests load programs into the kernel: run them as root");
    }
    if args.layer == Some(Layer::Debian) {
        return debian::test(project, &args.debian, args.vm.names(), args.incidents.write, &args.filter);
    }
    if args.layer == Some(Layer::Incidents) {
        return incidents::test(project, &args.incidents, args.debian.release, &args.vm, &args.filter);
    }
    if args.debian.given() {
        bail!("--release is for cargo xtask test debian, or incidents");
    }
    if args.incidents.given() {
        bail!("--seed and --write are for tables: cargo xtask test incidents, or --write with debian");
    }
    if args.layer == Some(Layer::Models) {
        return models::test(project);
    }
    if args.layer == Some(Layer::Vm) {
        setup::ensure(project, Scope::Build)?;
        let binary = build::compile_with(project, &[LIVE, GPU, VM])?;
        return vm::test(&vm::prepare(project, &args.vm)?, &binary, &args.filter);
    }
    if args.vm.given() {
        bail!("kernels are for virtual machines: cargo xtask test vm, or incidents");
    }
    let live = args.layer != Some(Layer::Unit);
    // Most tests also run without the reference programs.
    let reference = args.require || live && root;
    setup::ensure(project, if reference { Scope::Test } else { Scope::Build })?;
    if reference {
        match peer::install(project) {
            Err(why) if args.require => return Err(why),
            Err(why) => project::say(project::NOTE, &format!("{why:#}")),
            Ok(()) => {}
        }
    }
    // All at once: then nothing waits for the slowest of each.
    let binary = build::compile_with(project, targets(args.layer, root))?;
    // Run all of them even if one fails, to report every failure.
    let mut failed = Vec::new();
    let mut run = |cargo: &mut Command| {
        let begun = Instant::now();
        failed.extend(project::run(environment(cargo, &binary, args.require)).err());
        project::say(project::STEP, &format!("test: took {} s", begun.elapsed().as_secs()));
    };
    let tests = |targets: &[&str]| {
        let mut cargo = project.cargo_tested("test");
        cargo.arg("--no-fail-fast");
        targets.iter().for_each(|target| _ = cargo.args(["--test", target]));
        cargo
    };

    if !matches!(args.layer, Some(Layer::Live | Layer::Gpu)) {
        project::say(project::STEP, "test: units");
        run(tests(&[REPLAY, MANIFEST]).args(["--lib", "--bins", "--"]).args(&args.filter));
        project::say(project::STEP, "test: without the live kernel");
        run(tests(&[STATIC]).args(["--", "--test-threads"]).arg(threads().to_string()).args(&args.filter));
    }
    if live && root {
        project::say(project::STEP, "test: the live kernel");
        let targets = if args.layer == Some(Layer::Gpu) { &[GPU][..] } else { &[GPU, LIVE] };
        run(tests(targets).args(["--", "--test-threads=1"]).args(&args.filter));
    } else if live {
        let how = "tests of the live kernel need root: sudo --preserve-env env \"PATH=$PATH\" \"HOME=$HOME\" cargo xtask test live";
        if args.require || args.layer == Some(Layer::Live) {
            bail!("{how}");
        }
        project::say(project::NOTE, &format!("skipped: {how}"));
    }
    // A filter applies to this kernel's tests only.
    if args.layer.is_none() && args.filter.is_empty() {
        project::say(project::STEP, "test: other kernels");
        match vm::prepare(project, &vm::Args::default()) {
            Ok(machines) => failed.extend(vm::test_quick(&machines, &binary)),
            Err(why) if args.require => failed.push(why.context("other kernels were not tested")),
            Err(why) => project::say(project::NOTE, &format!("skipped: other kernels: {why:#}")),
        }
    }
    failed.into_iter().next().map_or(Ok(()), Err)
}

/// The targets that a layer needs beside the binary.
fn targets(layer: Option<Layer>, root: bool) -> &'static [&'static str] {
    match layer {
        Some(Layer::Gpu) => &[GPU],
        Some(Layer::Live) => &[GPU, LIVE],
        Some(_) => &[REPLAY, MANIFEST, STATIC],
        None if root => &[REPLAY, MANIFEST, STATIC, GPU, LIVE, VM],
        None => &[REPLAY, MANIFEST, STATIC],
    }
}

/// How many tests run at once that need no kernel of their own: more than there are CPUs, because many wait for a clock or a client.
fn threads() -> usize {
    2 * std::thread::available_parallelism().map_or(1, usize::from)
}

/// Compares with a real GPU, and has the test print what it found.
fn hardware(project: &Project, args: &Args, root: bool) -> Result<()> {
    if args.layer != Some(Layer::Gpu) {
        bail!("--hardware is for GPUs: cargo xtask test gpu --hardware");
    }
    if !Path::new(DRIVER).exists() {
        bail!("no NVIDIA driver: {DRIVER} does not exist. Run without --hardware to test with stand-ins");
    }
    if !root {
        bail!("the programs are loaded into the kernel: run this as root");
    }
    // The harness takes several names as alternatives: another name would add tests of stand-ins.
    if let Some(name) = args.filter.iter().find(|word| !word.starts_with('-')) {
        bail!("--hardware runs one test and takes no names: {name}");
    }
    setup::ensure(project, Scope::Build)?;
    let binary = build::compile_with(project, &[GPU])?;
    project::say(project::STEP, "test: a real GPU");
    let mut cargo = project.cargo_tested("test");
    cargo.args(["--test", GPU, "--", HARDWARE, "--nocapture", "--test-threads=1"]);
    project::run(environment(cargo.args(&args.filter).env("HEADROOM_HARDWARE", "1"), &binary, true))
}

/// Environment of the tests: where the built binary is, and whether a test that cannot run must fail.
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

    /// A filter that matches nothing would pass.
    #[test]
    fn the_module_for_hardware_exists() {
        let gpu = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests").join(GPU).join("main.rs");
        let module = HARDWARE.trim_end_matches("::");
        assert!(std::fs::read_to_string(gpu).unwrap().contains(&format!("\nmod {module};\n")));
    }
}
