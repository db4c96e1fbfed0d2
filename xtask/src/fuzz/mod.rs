//! `cargo xtask fuzz`: what reads others' input is fed by libFuzzer, and what it did is put in a table.
//!
//! `fuzz/` has a package for each crate that is fed: the targets are the files of its `fuzz_targets`, and its `corpus` has what
//! each begins with. What is found on the way goes below cargo's target folder, and what makes a target crash to
//! `fuzz/artifacts`.

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

use report::Hunt;

const CARGO_FUZZ: &[&str] = &["cargo-fuzz@0.13.2", "--locked"];
/// The packages. Those in `core` link nothing else of ours.
const PACKAGES: [&str; 2] = ["collector", "core"];
/// Seconds that one input may take: far more than any does, on a machine that is busy with others too.
const TIMEOUT: u32 = 30;

/// What to fuzz, and for how long.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which targets: the files in fuzz/*/fuzz_targets [default: all]
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// For how long each is fed
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many at once [default: as many as there are CPUs]
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<NonZeroUsize>,
    /// Put the table into docs/reliability.md
    #[arg(long, conflicts_with = "targets")]
    write: bool,
    /// Inputs that one target is to be fed once, or options of libFuzzer
    #[arg(last = true, value_name = "INPUT", requires = "targets", conflicts_with_all = ["seconds", "jobs", "write"])]
    inputs: Vec<String>,
}

/// Where things are.
struct Place {
    root: PathBuf,
    /// What is committed: packages with targets and what these begin with.
    fuzz: PathBuf,
    /// What is made: binaries, logs, what was found.
    made: PathBuf,
}

/// Something to feed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    name: String,
    package: &'static str,
}

/// Sets up, builds, and feeds; an error if something crashed.
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
        bail!("inputs are for one target: cargo xtask fuzz TARGET -- INPUT");
    }
    let cpus = thread::available_parallelism().ok();
    let jobs = args.jobs.or(cpus).map_or(1, NonZeroUsize::get);
    let hunts = hunt_all(&place, &targets, args.seconds, jobs)?;
    anstream::println!("{}", report::table(&hunts));
    if args.write {
        let cpus = cpus.map_or(1, NonZeroUsize::get);
        let how = format!("{} targets at once, {} s each, on {cpus} CPUs", jobs.min(targets.len()), args.seconds);
        report::write(&project.root.join("docs/reliability.md"), &how, &hunts)?;
    }
    report::verdict(&hunts)
}

/// The targets that there are, by name.
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
        bail!("there is no target {unknown}: there are {}", names.join(", "));
    }
    Ok(there.into_iter().filter(|target| asked.is_empty() || asked.contains(&target.name)).collect())
}

/// Installs what can be installed, and says what else is missing.
fn ensure(project: &Project) -> Result<()> {
    setup::ensure(project, Scope::Build)?;
    let mut rustc = nightly(project);
    let there = rustc.args(["rustc", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        bail!("fuzzing takes Rust's nightly: rustup toolchain install nightly --profile minimal");
    }
    if !setup::is_tool(project, "cargo-fuzz") {
        project::say(project::STEP, "setup: cargo-fuzz, compiled into cargo's target folder: a minute or two");
        project::run(&mut setup::install(project, CARGO_FUZZ))?;
    }
    Ok(())
}

/// Something of the nightly's, with our tools on its PATH.
fn nightly(project: &Project) -> Command {
    let mut command = Command::new("rustup");
    toolchain::scrub(&mut command);
    command.env("RUSTUP_AUTO_INSTALL", "0").env("PATH", setup::path(project)).current_dir(&project.root);
    // The collector's build script looks for bpf-linker there.
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
        // One or all is what it can build.
        if let [target] = &*wanted {
            cargo.arg(&target.name);
        }
        project::run(&mut cargo)?;
    }
    Ok(())
}

/// Feeds all of them, so many at once. In the order of the targets, whichever ends first.
fn hunt_all(place: &Place, targets: &[Target], seconds: u64, jobs: usize) -> Result<Vec<Hunt>> {
    let waiting: Mutex<VecDeque<&Target>> = Mutex::new(targets.iter().collect());
    let work = || -> Result<Vec<Hunt>> {
        let mut hunts = Vec::new();
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        while let Some(target) = next() {
            project::say(project::STEP, &format!("fuzz: {}, {seconds} s", target.name));
            hunts.push(hunt(place, target, seconds).with_context(|| format!("fuzz {}", target.name))?);
        }
        Ok(hunts)
    };
    let mut hunts = Vec::new();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            hunts.extend(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        anyhow::Ok(())
    })?;
    hunts.sort_by(|one, two| one.target.cmp(&two.target));
    Ok(hunts)
}

fn hunt(place: &Place, target: &Target, seconds: u64) -> Result<Hunt> {
    let name = &target.name;
    let found = place.made.join("corpus").join(name);
    let artifacts = place.fuzz.join("artifacts").join(name);
    for folder in [&found, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let mut command = place.command(target);
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.args([format!("-max_total_time={seconds}"), format!("-timeout={TIMEOUT}"), "-print_final_stats=1".into()]);
    // What is new goes to the first.
    command.args([&found, &place.fuzz.join(target.package).join("corpus").join(name)]);
    let output = command.stdin(Stdio::null()).output().context("run it")?;
    let log = place.made.join(format!("{name}.log"));
    fs::write(&log, &output.stderr).with_context(|| format!("write {}", log.display()))?;
    let words = String::from_utf8_lossy(&output.stderr);
    Ok(Hunt::read(name, &words, output.status.success(), &place.root, &log))
}

impl Place {
    /// A target, to be told what to do.
    fn command(&self, target: &Target) -> Command {
        // cargo-fuzz names the platform that it builds for, also where it is this one.
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
        // What is made of them has the name alone.
        assert!(targets.windows(2).all(|two| two[0].name != two[1].name), "{targets:?}");
        for package in PACKAGES {
            let folder = fuzz.join(package);
            let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
            let names: Vec<_> = targets.iter().filter(|it| it.package == package).map(|it| &it.name).collect();
            for name in &names {
                assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not built");
                let seeds = fs::read_dir(folder.join("corpus").join(name)).unwrap();
                assert!(seeds.count() > 0, "{name} has nothing to begin with");
            }
            assert_eq!(manifest.matches("[[bin]]").count(), names.len(), "{package}");
        }
    }

    #[test]
    fn a_target_that_is_not_there_is_named_with_those_that_are() {
        let target = |name: &str, package| Target { name: name.to_owned(), package };
        let there = || vec![target("btf", "collector"), target("record", "core")];
        assert_eq!(choose(there(), &[]).unwrap(), there());
        assert_eq!(choose(there(), &["record".to_owned()]).unwrap(), [target("record", "core")]);
        let error = choose(there(), &["recrod".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "there is no target recrod: there are btf, record");
    }
}
