//! `cargo xtask fuzz`: fuzzes the parsers of untrusted input with libFuzzer, and prints a table of the results.
//!
//! `fuzz/` has a package for each crate that is fuzzed. Its targets are the files in `fuzz_targets`, and `corpus` holds the inputs
//! that each starts with. New inputs go below cargo's target folder, and inputs that crash a target to `fuzz/artifacts`.

use std::collections::VecDeque;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::project::{self, Project};
use crate::setup::{self, Scope};
use crate::toolchain;

mod report;

use report::Outcome;

const CARGO_FUZZ: &[&str] = &["cargo-fuzz@0.13.2", "--locked"];
/// The packages. `core` links only the core of the project.
const PACKAGES: [&str; 2] = ["collector", "core"];
/// Seconds that one input may take: far more than any needs, even on a busy machine.
const TIMEOUT: u32 = 30;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which targets: the files in fuzz/*/fuzz_targets [default: all]
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// Seconds to run each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Targets to run at once [default: number of CPUs]
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<NonZeroUsize>,
    /// Write the table to docs/reliability.md
    #[arg(long, conflicts_with = "targets")]
    write: bool,
    /// Inputs to run once with one target, or options of libFuzzer
    #[arg(last = true, value_name = "INPUT", requires = "targets", conflicts_with_all = ["seconds", "jobs", "write"])]
    inputs: Vec<String>,
}

/// Folders.
struct Place {
    root: PathBuf,
    /// What is committed: packages with targets and their initial inputs.
    fuzz: PathBuf,
    /// What is generated: binaries, logs, new inputs.
    made: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    name: String,
    package: &'static str,
}

/// Installs what is missing, builds, and fuzzes; an error if a target crashed.
pub fn fuzz(project: &Project, args: &Args) -> Result<()> {
    let place =
        Place { root: project.root.clone(), fuzz: project.root.join("fuzz"), made: project.target.join("fuzz") };
    let targets = choose(targets(&place.fuzz)?, &args.targets)?;
    ensure(project)?;
    build(project, &place, &targets)?;
    if let ([target], [_, ..]) = (&*targets, &*args.inputs) {
        return project::run(place.command(target).args(&args.inputs));
    }
    if !args.inputs.is_empty() {
        bail!("inputs need one target: cargo xtask fuzz TARGET -- INPUT");
    }
    let cpus = thread::available_parallelism().ok();
    let jobs = args.jobs.or(cpus).map_or(1, NonZeroUsize::get);
    let outcomes = run_all(&place, &targets, args.seconds, jobs)?;
    anstream::println!("{}", report::table(&outcomes));
    if args.write {
        let cpus = cpus.map_or(1, NonZeroUsize::get);
        let how = format!("{} targets at once, {} s each, on {cpus} CPUs", jobs.min(targets.len()), args.seconds);
        report::write(&project.root.join("docs/reliability.md"), &how, &outcomes)?;
    }
    report::verdict(&outcomes)
}

/// All targets, sorted by name.
fn targets(fuzz: &Path) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for package in PACKAGES {
        let folder = fuzz.join(package).join("fuzz_targets");
        let entries = fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
        let names = entries.flatten().filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()));
        targets.extend(names.map(|name| Target { name, package }));
    }
    targets.sort();
    Ok(targets)
}

fn choose(there: Vec<Target>, asked: &[String]) -> Result<Vec<Target>> {
    if let Some(unknown) = asked.iter().find(|name| there.iter().all(|target| target.name != **name)) {
        let names: Vec<_> = there.iter().map(|target| &*target.name).collect();
        bail!("no target {unknown}: there are {}", names.join(", "));
    }
    Ok(there.into_iter().filter(|target| asked.is_empty() || asked.contains(&target.name)).collect())
}

/// Installs cargo-fuzz; an error if nightly Rust is missing.
fn ensure(project: &Project) -> Result<()> {
    setup::ensure(project, Scope::Build)?;
    let mut rustc = nightly(project);
    let there = rustc.args(["rustc", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        bail!("fuzzing needs nightly Rust: rustup toolchain install nightly --profile minimal");
    }
    if !setup::is_tool(project, "cargo-fuzz") {
        project::say(project::STEP, "setup: cargo-fuzz, compiled into cargo's target folder: a minute or two");
        project::run(&mut setup::install(project, CARGO_FUZZ))?;
    }
    Ok(())
}

/// `rustup run nightly`, with the project's tools on PATH.
fn nightly(project: &Project) -> Command {
    let mut command = Command::new("rustup");
    toolchain::scrub(&mut command);
    command.env("RUSTUP_AUTO_INSTALL", "0").env("PATH", setup::path(project)).current_dir(&project.root);
    // The collector's build script looks for bpf-linker in this folder.
    command.env("CARGO_TARGET_DIR", &project.target).args(["run", "nightly"]);
    command
}

fn build(project: &Project, place: &Place, targets: &[Target]) -> Result<()> {
    project::say(project::STEP, "build: the targets, with nightly and its address sanitizer");
    for package in PACKAGES {
        let wanted: Vec<_> = targets.iter().filter(|target| target.package == package).collect();
        if wanted.is_empty() {
            continue;
        }
        let mut cargo = nightly(project);
        cargo.args(["cargo", "fuzz", "build", "--fuzz-dir"]).arg(place.fuzz.join(package));
        cargo.arg("--target-dir").arg(&place.made);
        // cargo-fuzz builds one target or all.
        if let [target] = &*wanted {
            cargo.arg(&target.name);
        }
        project::run(&mut cargo)?;
    }
    Ok(())
}

/// Runs all targets, `jobs` at once. The results are sorted by target.
fn run_all(place: &Place, targets: &[Target], seconds: u64, jobs: usize) -> Result<Vec<Outcome>> {
    let waiting: Mutex<VecDeque<&Target>> = Mutex::new(targets.iter().collect());
    let work = || -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        while let Some(target) = next() {
            project::say(project::STEP, &format!("fuzz: {}, {seconds} s", target.name));
            outcomes.push(run_target(place, target, seconds).with_context(|| format!("fuzz {}", target.name))?);
        }
        Ok(outcomes)
    };
    let mut outcomes = Vec::new();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            outcomes.extend(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        anyhow::Ok(())
    })?;
    outcomes.sort_by(|one, two| one.target.cmp(&two.target));
    Ok(outcomes)
}

fn run_target(place: &Place, target: &Target, seconds: u64) -> Result<Outcome> {
    let name = &target.name;
    let found = place.made.join("corpus").join(name);
    let artifacts = place.fuzz.join("artifacts").join(name);
    for folder in [&found, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let mut command = place.command(target);
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.args([format!("-max_total_time={seconds}"), format!("-timeout={TIMEOUT}"), "-print_final_stats=1".into()]);
    // libFuzzer writes new inputs to the first folder.
    command.args([&found, &place.fuzz.join(target.package).join("corpus").join(name)]);
    let output = command.stdin(Stdio::null()).output().context("run it")?;
    let log = place.made.join(format!("{name}.log"));
    fs::write(&log, &output.stderr).with_context(|| format!("write {}", log.display()))?;
    let words = String::from_utf8_lossy(&output.stderr);
    Ok(Outcome::read(name, &words, output.status.success(), &place.root, &log))
}

impl Place {
    /// The command that runs a target.
    fn command(&self, target: &Target) -> Command {
        // cargo-fuzz names the platform that it builds for, even if it is the host.
        let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let mut command = Command::new(self.made.join(platform).join("release").join(&target.name));
        command.current_dir(&self.root).env("RUST_BACKTRACE", "1");
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_targets_are_the_files() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let targets = targets(&fuzz).unwrap();
        let record = Target { name: "record".to_owned(), package: "core" };
        assert!(targets.contains(&record), "{targets:?}");
        // Binaries and logs are named after the target alone.
        assert!(targets.windows(2).all(|two| two[0].name != two[1].name), "{targets:?}");
        for package in PACKAGES {
            let folder = fuzz.join(package);
            let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
            let names: Vec<_> = targets.iter().filter(|it| it.package == package).map(|it| &it.name).collect();
            for name in &names {
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not built");
                let seeds = fs::read_dir(folder.join("corpus").join(name)).unwrap();
                assert!(seeds.count() > 0, "{name} has no initial inputs");
            }
            assert_eq!(manifest.matches("[[bin]]").count(), names.len(), "{package}");
        }
    }

    #[test]
    fn an_unknown_target_is_named_with_those_that_exist() {
        let target = |name: &str, package| Target { name: name.to_owned(), package };
        let there = || vec![target("btf", "collector"), target("record", "core")];
        assert_eq!(choose(there(), &[]).unwrap(), there());
        assert_eq!(choose(there(), &["record".to_owned()]).unwrap(), [target("record", "core")]);
        let error = choose(there(), &["recrod".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "no target recrod: there are btf, record");
    }
}
