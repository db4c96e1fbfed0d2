//! `cargo xtask test debian`: installs the package in a whole Debian with systemd, in an emulated machine, and tries there what only
//! such a host has: the unit, sessions, scopes, a user's own manager, upgrade and removal.
//!
//! The system is built once from Debian's archive and kept in the target folder. Each run boots a temporary copy of its disk.

mod case;
mod machine;
mod report;
mod system;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::dist;
use crate::project::{self, Project};
use crate::vm;
use case::Case;
use system::System;

/// Programs that make and run the machine, and the Debian packages that have them.
const PROGRAMS: [(&str, &str); 3] =
    [("qemu-system-x86_64", "qemu-system-x86"), ("mke2fs", "e2fsprogs"), ("mmdebstrap", "mmdebstrap")];

#[derive(Debug, Default, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Take a release build of the agent, not a debug one; with `debian` or `incidents`
    #[arg(long)]
    pub release: bool,
}

impl Args {
    /// Whether any option was given.
    pub fn given(&self) -> bool {
        self.release
    }
}

/// Tries all cases, or those whose names have one of the `names` in them, on these releases (`12`, `13`), and prints the table. With
/// `write` it also goes into the documentation.
pub fn test(project: &Project, args: &Args, releases: &[String], write: bool, names: &[String]) -> Result<()> {
    if write && !names.is_empty() {
        bail!("--write is for all cases: the tables have a row for each");
    }
    if !project::is_root() {
        bail!("the system is built as root: run this as root");
    }
    let cases = case::chosen(names)?;
    let releases = system::releases(releases)?;
    let (folder, _lock) = vm::lock(project)?;
    vm::ensure(&folder, &PROGRAMS)?;
    let systems = releases.iter().map(|release| Ok((*release, System::build(&folder, release)?)));
    let systems: Vec<_> = systems.collect::<Result<_>>()?;
    let package = dist::package(project, dist::Build { release: args.release, strip: true })?;
    let mut failed = 0;
    for (release, system) in systems {
        project::say(project::STEP, &format!("debian {}: {} cases", release.number, cases.len()));
        let input = input(&system, &package, &cases).context("make the disk with the cases")?;
        let outcome = machine::run(&system, &input)?;
        fs::remove_file(&input).context("remove the disk with the cases")?;
        let report = report::Report::read(release.number, &outcome, &cases);
        anstream::println!("{}", report.table());
        if write {
            report.write(&project.root.join(report::PAGE))?;
        }
        failed += report.failed();
    }
    match failed {
        0 => Ok(()),
        _ => bail!("{failed} cases failed; the console of the machine is in the target folder, in `vm/debian`"),
    }
}

/// A disk with the package, the cases and what runs them.
fn input(system: &System, package: &Path, cases: &[&Case]) -> Result<std::path::PathBuf> {
    let folder = system.folder.join("input");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("case")).context("make a folder")?;
    fs::copy(package, folder.join("headroom.deb")).with_context(|| format!("copy {}", package.display()))?;
    for (name, text) in case::COMMON {
        fs::write(folder.join(name), text).with_context(|| format!("write {name}"))?;
    }
    let order: String = cases.iter().map(|case| format!("{}\n", case.name)).collect();
    fs::write(folder.join("order"), order).context("write the order of the cases")?;
    for case in cases {
        fs::write(folder.join("case").join(case.name), case.script).with_context(|| format!("write {}", case.name))?;
    }
    let disk = system.folder.join("input.ext4");
    let _ = fs::remove_file(&disk);
    let mut make = Command::new("mke2fs");
    make.args(["-q", "-t", "ext4", "-O", "^has_journal", "-E", "root_owner=0:0", "-d"]);
    project::run(make.arg(&folder).arg(&disk).arg("512M").stdout(Stdio::null()))?;
    fs::remove_dir_all(&folder).context("remove the files that are now on the disk")?;
    Ok(disk)
}
