//! `cargo xtask test vm`: the live tests on other kernels, in small virtual machines with cgroup v2.
//!
//! Everything that depends on the kernel is run on each, by the programs that were built here. Debian's kernels are fetched
//! once and kept in the target folder.

mod apt;
mod image;
mod kernel;
mod machine;
mod report;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::project::{self, Project};
use image::Program;
use kernel::Kernel;
use report::{Verdict, Verdicts};

/// The test targets that depend on the kernel. The others would show the same in every machine, or want one that is quick.
const TESTS: &[&str] = &[
    "live_oom",
    "live_reclaim",
    "live_fault",
    "live_block",
    "live_cgroup",
    "live_ring",
    "live_maps",
    "live_statistic",
    "live_host",
    "live_transfer",
    "vm_memory",
    "vm_block",
    "vm_probe",
];
/// Of each signal those that are quick in an emulated machine: what `cargo xtask test` alone has each kernel show.
pub const QUICK: &[&str] = &[
    "every_probe_is_attached_or_another_sees_the_same",
    "a_kill_is_told_as_the_kernel_log_tells_it",
    "a_group_is_killed_together_and_each_of_it_once",
    "memory_that_is_asked_back_costs_only_who_asks",
    "a_dropped_file_mapping_gives_one_major_fault_a_page",
    "a_slow_disk_takes_as_long_as_it_takes",
    "a_disk_with_a_bad_sector_fails_there_and_nowhere_else",
    "writeback_is_charged_to_whoever_wrote",
    "what_a_full_ring_drops_is_counted_to_the_last_and_the_kill_arrives",
    "pressure_is_told_before_the_next_tick",
];
/// What making and running a machine takes, and the packages of Debian that have it.
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
/// What a machine may take before it is ended.
const LIMIT: Duration = Duration::from_secs(60 * 60);
/// How many run at once.
const AT_ONCE: usize = 2;

/// Which kernels.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
pub struct Args {
    /// The kernels to boot, with `vm` [default: 5.10 6.1 6.12 6.18 7.2]
    #[arg(value_name = "KERNEL")]
    kernels: Vec<String>,
    /// Where kernels are, a folder each with `vmlinuz` and `lib/modules`, in place of Debian's; with `vm`
    #[arg(long = "kernels", value_name = "DIR")]
    folder: Option<PathBuf>,
}

impl Args {
    /// Whether any was given.
    pub fn given(&self) -> bool {
        !self.kernels.is_empty() || self.folder.is_some()
    }
}

/// What the machines are made of.
pub struct Machines<'a> {
    project: &'a Project,
    folder: PathBuf,
    kernels: Vec<Kernel>,
    /// Two of these would write the same files.
    _lock: std::fs::File,
}

/// Installs what is missing, and fetches the kernels.
pub fn prepare<'a>(project: &'a Project, args: &Args) -> Result<Machines<'a>> {
    let folder = project.target.join("vm");
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let lock = std::fs::File::create(folder.join("lock")).context("make a lock")?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).context("wait for another run")?;
    ensure(&folder)?;
    let kernels = kernels(args, &folder)?;
    Ok(Machines { project, folder, kernels, _lock: lock })
}

/// Boots each kernel, and prints what passed where. `binary` is the built `headroom`, `filter` goes to every test program.
pub fn test<T: AsRef<str>>(machines: &Machines<'_>, binary: &Path, filter: &[T]) -> Result<()> {
    let Machines { project, folder, kernels, .. } = machines;
    let filter: Vec<&str> = filter.iter().map(AsRef::as_ref).collect();
    let (programs, mut files) = build(project)?;
    files.push(binary.to_owned());
    let mut expected = Vec::new();
    for program in &programs {
        expected.extend(tests(program, &filter)?);
    }
    if expected.is_empty() {
        bail!("no test has such a name");
    }
    let words: String = filter.iter().map(|word| format!(" {word}")).collect();
    let environment = format!("export HEADROOM_BIN={}\nfilter={words:?}\n", binary.display());
    project::say(project::STEP, &format!("vm: {} tests on {} kernels", expected.len(), kernels.len()));
    let disk = image::disk(folder, &programs, &files, &environment, kernels).context("make the disk")?;

    let queue = Mutex::new(kernels.iter().enumerate());
    let done: Mutex<Vec<(usize, Verdicts)>> = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        loop {
            let next = queue.lock().map_err(|_| anyhow::anyhow!("another machine's thread is dead"))?.next();
            let Some((index, kernel)) = next else { return Ok(()) };
            let verdicts = boot(folder, kernel, &disk, &expected).with_context(|| format!("boot {}", kernel.name))?;
            done.lock().map_err(|_| anyhow::anyhow!("another machine's thread is dead"))?.push((index, verdicts));
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?)
    })?;
    let mut done = done.into_inner().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
    done.sort_by_key(|(index, _)| *index);
    let columns: Vec<(String, Verdicts)> =
        done.into_iter().map(|(index, verdicts)| (kernels[index].name.clone(), verdicts)).collect();
    conclude(&columns)
}

/// Boots one and reads what its tests say.
fn boot(folder: &Path, kernel: &Kernel, disk: &Path, expected: &[String]) -> Result<Verdicts> {
    let archive = image::archive(folder, kernel)?;
    let outcome = machine::run(folder, kernel, disk, &archive, LIMIT)?;
    let verdicts = report::read(&outcome.tests, expected);
    let (passed, elsewhere, failed) = report::count(&verdicts);
    let seconds = outcome.wall.as_secs();
    let line =
        format!("vm {}: {passed} passed, {failed} failed, {elsewhere} about other hosts ({seconds} s)", kernel.release);
    project::say(if failed == 0 { project::STEP } else { project::ERROR }, &line);
    if outcome.late || verdicts.values().any(|verdict| *verdict == Verdict::Missing) {
        let why = if outcome.late { "took too long" } else { "died" };
        let lines: Vec<&str> = outcome.console.lines().collect();
        let end = lines[lines.len().saturating_sub(60)..].join("\n");
        anstream::eprintln!("the machine with {} {why}; the end of its console:\n{end}", kernel.release);
    }
    Ok(verdicts)
}

/// Prints the table and what failed; fails if anything did.
fn conclude(columns: &[(String, Verdicts)]) -> Result<()> {
    let mut bad = 0;
    for (kernel, verdicts) in columns {
        for (name, verdict) in verdicts {
            if let Verdict::Failed(said) = verdict {
                anstream::eprintln!("---- {name}, kernel {kernel} ----\n{said}");
            }
        }
        bad += report::count(verdicts).2;
    }
    anstream::println!("{}", report::table(columns));
    if bad > 0 {
        bail!("{bad} tests failed; all that they said is in the target folder, in `vm`");
    }
    Ok(())
}

fn kernels(args: &Args, folder: &Path) -> Result<Vec<Kernel>> {
    let asked = |name: &str| args.kernels.is_empty() || args.kernels.iter().any(|asked| asked == name);
    let Some(own) = &args.folder else {
        let names: Vec<&str> = kernel::MATRIX.iter().map(|wanted| wanted.name).collect();
        if let Some(unknown) = args.kernels.iter().find(|asked| !names.contains(&asked.as_str())) {
            bail!(
                "no kernel {unknown}: there are {}, and any others in a folder given with --kernels",
                names.join(", ")
            );
        }
        let wanted: Vec<_> = kernel::MATRIX.iter().filter(|wanted| asked(wanted.name)).collect();
        return kernel::fetch(&wanted, &folder.join("kernels"));
    };
    let mut kernels = kernel::in_folder(own)?;
    kernels.retain(|kernel| asked(&kernel.name));
    if kernels.is_empty() {
        bail!("no such kernels in {}: it has a folder for each, with `vmlinuz` and `lib/modules`", own.display());
    }
    Ok(kernels)
}

/// Installs what is missing of the programs, or says what to install.
fn ensure(folder: &Path) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).collect();
    let missing = || -> Vec<&str> {
        let there = |program: &str| places.iter().any(|place| place.join(program).is_file());
        PROGRAMS.iter().filter(|(program, _)| !there(program)).map(|(_, package)| *package).collect()
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
        left => bail!("still not there after the installation: {}", left.join(" ")),
    }
}

/// Builds the test programs, and what they call.
fn build(project: &Project) -> Result<(Vec<Program>, Vec<PathBuf>)> {
    let mut cargo = project.cargo("test");
    cargo.args(["--package", "collector-tests", "--no-run", "--message-format=json-render-diagnostics"]);
    for target in TESTS {
        cargo.args(["--test", target]);
    }
    let output = cargo.stderr(Stdio::inherit()).output().context("run cargo test")?;
    if !output.status.success() {
        bail!("the tests do not build");
    }
    let (mut programs, mut files) = (Vec::new(), Vec::new());
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: Value = serde_json::from_str(line).context("cargo says something unexpected")?;
        let (name, kind) = (message["target"]["name"].as_str().unwrap_or_default(), &message["target"]["kind"][0]);
        match (message["executable"].as_str(), kind.as_str()) {
            (Some(path), Some("test")) => programs.push(Program { name: name.to_owned(), path: path.into() }),
            // A benchmark is none of theirs.
            (Some(path), Some("bin")) if name == "provoke" => files.push(path.into()),
            (None, Some("cdylib")) => {
                let paths = message["filenames"].as_array().into_iter().flatten().filter_map(Value::as_str);
                files.extend(paths.filter(|path| path.ends_with(".so")).map(PathBuf::from));
            }
            _ => {}
        }
    }
    let place = |program: &Program| TESTS.iter().position(|name| *name == program.name);
    programs.sort_by_key(place);
    if programs.len() != TESTS.len() || files.is_empty() {
        bail!("cargo built {} of {} test programs", programs.len(), TESTS.len());
    }
    Ok((programs, files))
}

/// The tests of a program that the filter leaves.
fn tests(program: &Program, filter: &[&str]) -> Result<Vec<String>> {
    let mut list = Command::new(&program.path);
    let output = list.args(["--list", "--format", "terse"]).args(filter).output();
    let output = output.with_context(|| format!("run {}", program.path.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(names.map(|name| format!("{}::{name}", program.name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that is called otherwise now would be left out unseen.
    #[test]
    fn the_quick_ones_are_tests() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests");
        let source = |target: &&str| std::fs::read_to_string(folder.join(format!("{target}.rs"))).unwrap();
        let sources: String = TESTS.iter().map(source).collect();
        for name in QUICK {
            assert!(sources.contains(&format!("fn {name}()")), "{name}");
        }
    }
}
