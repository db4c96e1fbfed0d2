//! `cargo xtask test vm`: the live tests on other kernels, in small virtual machines with cgroup v2.
//!
//! Every test that depends on the kernel runs on each kernel, in the programs built here. Debian's kernels are downloaded
//! once and kept in the target folder.

mod apt;
mod image;
mod kernel;
pub mod machine;
mod report;
mod suite;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::project::{self, Project};
use image::Program;
use kernel::Kernel;
use machine::Shape;
use report::{Verdict, Verdicts};
use suite::{QUICK, SPECIAL, Special, TESTS, within};

/// Programs that make and run a machine, and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 10] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("mke2fs", "e2fsprogs"),
    ("cpio", "cpio"),
    ("depmod", "kmod"),
    ("lz4", "lz4"),
    ("zstd", "zstd"),
    ("xz", "xz-utils"),
    ("strip", "binutils"),
    ("losetup", "mount"),
];
/// A machine that runs longer is stopped.
const LIMIT: Duration = Duration::from_secs(60 * 60);
/// Places for machines that run at once, whoever boots them.
static PLACES: Places = Places { free: Mutex::new(2), given_back: Condvar::new() };

struct Places {
    free: Mutex<usize>,
    given_back: Condvar,
}

/// Gives its place back when dropped.
struct Place<'a>(&'a Places);

impl Places {
    fn take(&self) -> Place<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.given_back.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Place(self)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.given_back.notify_one();
    }
}

#[derive(Debug, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Kernels to boot, with `vm` [default: 5.10 6.1 6.12 6.18 7.2] or `incidents` [default: this machine's]; releases of
    /// Debian, with `debian` [default: 12]
    #[arg(value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Folder of kernels, each in a folder with `vmlinuz` and `lib/modules`, instead of Debian's; with `vm` or `incidents`
    #[arg(long = "kernels", value_name = "DIR")]
    folder: Option<PathBuf>,
    /// A parameter for the kernels' command line, such as `lockdown=confidentiality`; with `vm` or `incidents`
    #[arg(long = "boot", value_name = "PARAMETER")]
    parameters: Vec<String>,
    /// Memory nodes of the machines; with `vm` or `incidents`
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4))]
    nodes: u32,
}

impl Default for Args {
    fn default() -> Args {
        Args { kernels: Vec::new(), folder: None, parameters: Vec::new(), nodes: 1 }
    }
}

impl Args {
    /// For one kernel.
    pub fn of(kernel: &str) -> Args {
        Args { kernels: vec![kernel.to_owned()], ..Args::default() }
    }

    /// What was named without an option.
    pub fn names(&self) -> &[String] {
        &self.kernels
    }

    /// Whether any option was given.
    pub fn given(&self) -> bool {
        !self.kernels.is_empty() || self.folder.is_some() || !self.parameters.is_empty() || self.nodes > 1
    }
}

/// What the machines need.
pub struct Machines<'a> {
    project: &'a Project,
    folder: PathBuf,
    kernels: Vec<Kernel>,
    shape: Shape,
    // Two runs at once would write the same files.
    _lock: Arc<std::fs::File>,
}

impl Machines<'_> {
    /// Only the kernels of this kind, booted so, with a folder of their own.
    fn of_kind(&self, kind: &Special) -> Result<Self> {
        let Machines { project, folder, kernels, _lock, .. } = self;
        let kernels = kernels.iter().filter(|kernel| kind.kernels.contains(&&*kernel.name)).cloned().collect();
        let folder = folder.join(kind.name);
        std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let shape = Shape { parameters: kind.parameter.to_owned(), nodes: kind.nodes };
        Ok(Machines { project, folder, kernels, shape, _lock: _lock.clone() })
    }
}

/// The folder of all that machines need, kept from other runs while the file lives.
pub fn lock(project: &Project) -> Result<(PathBuf, std::fs::File)> {
    let folder = project.target.join("vm");
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let lock = std::fs::File::create(folder.join("lock")).context("make a lock")?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).context("wait for another run")?;
    Ok((folder, lock))
}

/// Installs what is missing, and downloads the kernels.
pub fn prepare<'a>(project: &'a Project, args: &Args) -> Result<Machines<'a>> {
    let (folder, lock) = lock(project)?;
    ensure(&folder, &PROGRAMS)?;
    let kernels = kernels(args, &folder)?;
    let shape = Shape { parameters: args.parameters.join(" "), nodes: args.nodes };
    Ok(Machines { project, folder, kernels, shape, _lock: Arc::new(lock) })
}

/// Boots each kernel with the quick tests, and machines of each special kind with theirs. Returns what failed.
pub fn test_quick(machines: &Machines<'_>, binary: &Path) -> Vec<anyhow::Error> {
    std::thread::scope(|scope| {
        let quick = scope.spawn(|| test(machines, binary, QUICK));
        let special = |kind| scope.spawn(move || test(&machines.of_kind(kind)?, binary, kind.tests));
        let all: Vec<_> = std::iter::once(quick).chain(SPECIAL.iter().map(special)).collect();
        let joined =
            all.into_iter().map(|one| one.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked"))));
        joined.filter_map(Result::err).collect()
    })
}

/// Boots each kernel, and prints which tests passed where. `binary` is the built `headroom`; `filter` selects tests as in
/// every test program.
pub fn test<T: AsRef<str>>(machines: &Machines<'_>, binary: &Path, filter: &[T]) -> Result<()> {
    let kernels = &machines.kernels;
    let filter: Vec<&str> = filter.iter().map(AsRef::as_ref).collect();
    let (targets, files) = build(machines.project)?;
    let programs = programs(&targets, &filter)?;
    let expected: Vec<String> = programs.iter().flat_map(Program::names).collect();
    if expected.is_empty() {
        bail!("no test matches the filter");
    }
    project::say(project::STEP, &format!("vm: {} tests on {} kernels", expected.len(), kernels.len()));
    let columns = on_each(machines, binary, &programs, files, "", |kernel, outcome| judge(kernel, outcome, &expected))?;
    conclude(&columns)
}

/// Runs one test that is otherwise ignored, with these variables; the output for each kernel.
pub fn run_one(
    machines: &Machines<'_>,
    binary: &Path,
    (target, test): (&str, &str),
    variables: &[(&str, String)],
) -> Result<Vec<(String, String)>> {
    let (targets, files) = build(machines.project)?;
    let path = targets.get(target).with_context(|| format!("cargo built no {target}"))?.clone();
    let program = Program { target: target.to_owned(), path, tests: vec![test.to_owned()] };
    let variables: String = variables.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
    // What a machine printed before it was stopped is not lost.
    let environment = format!("{variables}export OPTIONS='--ignored --nocapture'\n");
    project::say(project::STEP, &format!("vm: {test} on {} kernels", machines.kernels.len()));
    on_each(machines, binary, &[program], files, &environment, |kernel, outcome| {
        judge(kernel, outcome, &[]);
        outcome.tests.clone()
    })
}

/// Boots every kernel with the programs, and reads each outcome.
fn on_each<T: Send>(
    machines: &Machines<'_>,
    binary: &Path,
    programs: &[Program],
    mut files: Vec<PathBuf>,
    environment: &str,
    read: impl Fn(&Kernel, &machine::Outcome) -> T + Sync,
) -> Result<Vec<(String, T)>> {
    let Machines { folder, kernels, .. } = machines;
    files.push(binary.to_owned());
    let environment = format!("export HEADROOM_BIN={}\n{environment}", binary.display());
    let disk = image::disk(folder, programs, &files, &environment, kernels).context("make the disk")?;
    let queue = Mutex::new(kernels.iter().enumerate());
    let done: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        loop {
            let next = queue.lock().map_err(|_| anyhow::anyhow!("the thread of another machine panicked"))?.next();
            let Some((index, kernel)) = next else { return Ok(()) };
            let place = PLACES.take();
            let booted = image::archive(folder, kernel)
                .and_then(|it| machine::run(folder, kernel, &machines.shape, &disk, &it, LIMIT));
            drop(place);
            let result = read(kernel, &booted.with_context(|| format!("boot {}", kernel.name))?);
            done.lock().map_err(|_| anyhow::anyhow!("the thread of another machine panicked"))?.push((index, result));
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = kernels.iter().map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?)
    })?;
    let mut done = done.into_inner().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(index, result)| (kernels[index].name.clone(), result)).collect())
}

/// Reads the results of the tests on one kernel.
fn judge(kernel: &Kernel, outcome: &machine::Outcome, expected: &[String]) -> Verdicts {
    let verdicts = report::read(&outcome.tests, expected);
    let (passed, skipped, failed) = report::count(&verdicts);
    let seconds = outcome.wall.as_secs();
    let line =
        format!("vm {}: {passed} passed, {failed} failed, {skipped} not applicable ({seconds} s)", kernel.release);
    project::say(if failed == 0 { project::STEP } else { project::ERROR }, &line);
    if outcome.late || verdicts.values().any(|verdict| *verdict == Verdict::Missing) {
        let why = if outcome.late { "took too long" } else { "died" };
        let lines: Vec<&str> = outcome.console.lines().collect();
        let end = lines[lines.len().saturating_sub(60)..].join("\n");
        anstream::eprintln!("the machine with {} {why}; end of its console:\n{end}", kernel.release);
    }
    verdicts
}

/// Prints the table and the output of failed tests; an error if there are any.
fn conclude(columns: &[(String, Verdicts)]) -> Result<()> {
    let mut bad = 0;
    for (kernel, verdicts) in columns {
        for (name, verdict) in verdicts {
            if let Verdict::Failed(output) = verdict {
                anstream::eprintln!("---- {name}, kernel {kernel} ----\n{output}");
            }
        }
        bad += report::count(verdicts).2;
    }
    anstream::println!("{}", report::table(columns));
    if bad > 0 {
        bail!("{bad} tests failed; their whole output is in the target folder, in `vm`");
    }
    Ok(())
}

fn kernels(args: &Args, folder: &Path) -> Result<Vec<Kernel>> {
    let asked = |name: &str| args.kernels.is_empty() || args.kernels.iter().any(|asked| asked == name);
    let Some(own) = &args.folder else {
        let names: Vec<&str> = kernel::MATRIX.iter().map(|wanted| wanted.name).collect();
        if let Some(unknown) = args.kernels.iter().find(|asked| !names.contains(&asked.as_str())) {
            bail!(
                "no kernel {unknown}: there are {}, and others can be given in a folder with --kernels",
                names.join(", ")
            );
        }
        let wanted: Vec<_> = kernel::MATRIX.iter().filter(|wanted| asked(wanted.name)).collect();
        return kernel::fetch(&wanted, &folder.join("kernels"));
    };
    let mut kernels = kernel::in_folder(own)?;
    kernels.retain(|kernel| asked(&kernel.name));
    if kernels.is_empty() {
        bail!("no such kernels in {}: it needs a folder for each, with `vmlinuz` and `lib/modules`", own.display());
    }
    Ok(kernels)
}

/// Installs the programs that are missing, each with the name of its package, or lists what to install.
pub fn ensure(folder: &Path, programs: &[(&str, &'static str)]) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).collect();
    let missing = || -> Vec<&'static str> {
        let there = |program: &str| places.iter().any(|place| place.join(program).is_file());
        programs.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect()
    };
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    let advice = format!(
        "virtual machines need: {names}\n\nOn Debian:\n\n  sudo apt-get install --no-install-recommends {names}"
    );
    if !project::is_root() || apt::exists().is_err() {
        bail!(advice);
    }
    project::say(project::STEP, &format!("vm: Debian packages: {names}"));
    apt::Apt::open(&folder.join("kernels/apt"))?.install(&packages).context(advice)?;
    match missing().as_slice() {
        [] => Ok(()),
        left => bail!("still missing after the installation: {}", left.join(" ")),
    }
}

/// Builds the test targets, and the programs that they call.
fn build(project: &Project) -> Result<(BTreeMap<String, PathBuf>, Vec<PathBuf>)> {
    let mut cargo = project.cargo_tested("test");
    cargo.args(["--no-run", "--message-format=json-render-diagnostics"]);
    for (target, _) in TESTS {
        cargo.args(["--test", target]);
    }
    let output = cargo.stderr(Stdio::inherit()).output().context("run cargo test")?;
    if !output.status.success() {
        bail!("the tests did not build");
    }
    let (mut targets, mut files) = (BTreeMap::new(), Vec::new());
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: Value = serde_json::from_str(line).context("parse the output of cargo")?;
        let (name, kind) = (message["target"]["name"].as_str().unwrap_or_default(), &message["target"]["kind"][0]);
        match (message["executable"].as_str(), kind.as_str()) {
            (Some(path), Some("test")) => drop(targets.insert(name.to_owned(), path.into())),
            // The tests do not call the benchmarks.
            (Some(path), Some("bin")) if ["provoke", "serve"].contains(&name) => files.push(path.into()),
            (None, Some("cdylib")) => {
                let paths = message["filenames"].as_array().into_iter().flatten().filter_map(Value::as_str);
                files.extend(paths.filter(|path| path.ends_with(".so")).map(PathBuf::from));
            }
            _ => {}
        }
    }
    if targets.len() != TESTS.len() || files.is_empty() {
        bail!("cargo built {} of {} test targets", targets.len(), TESTS.len());
    }
    Ok((targets, files))
}

/// The programs to run, one per module: if one ends the machine's test process, the other modules' tests still run.
fn programs(targets: &BTreeMap<String, PathBuf>, filter: &[&str]) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for (target, modules) in TESTS {
        let path = targets.get(*target).with_context(|| format!("cargo built no {target}"))?;
        // Only the program knows how it matches a filter.
        let list = Command::new(path).args(["--list", "--format", "terse"]).args(filter).output();
        let list = list.with_context(|| format!("run {}", path.display()))?;
        let list = String::from_utf8_lossy(&list.stdout).into_owned();
        for module in *modules {
            let tests = within(&list, module);
            if !tests.is_empty() {
                programs.push(Program { target: (*target).to_owned(), path: path.clone(), tests });
            }
        }
    }
    Ok(programs)
}
