//! `cargo xtask dist`: builds the release in `target/dist`: the binary, its manual page, completions and third-party
//! notices, a Debian package of all these with the systemd unit and the configuration, and the Python package as a wheel.
//!
//! `collector/Cargo.toml` declares the content of the package; cargo-deb makes it.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::build;
use crate::licence;
use crate::page;
use crate::peer;
use crate::project::{self, Project};
use crate::setup::{self, Scope};
use crate::toolchain;

const PACKAGER: &[&str] = &["cargo-deb@3.8.0", "--no-default-features", "--locked"];

/// Shells that get completions, and the names under which they look for the files.
const COMPLETIONS: [(&str, &str); 3] = [("bash", "headroom.bash"), ("fish", "headroom.fish"), ("zsh", "_headroom")];

/// The licences of others, under the name that the package expects.
const NOTICES: &str = "THIRD-PARTY-NOTICES";

#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Args {
    /// Package a debug build, which is quick, to inspect the package
    #[arg(long)]
    dev: bool,
}

/// Which binary is packaged.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    pub release: bool,
    /// Drop all debug information, so that the package of a debug build is small.
    pub strip: bool,
}

pub fn dist(project: &Project, args: &Args) -> Result<()> {
    let package = package(project, Build { release: !args.dev, strip: false })?;
    if !args.dev {
        check(&package)?;
    }
    let dist = project.target.join("dist");
    wheel(project, &dist)?;
    let binary = project.target.join(if args.dev { "debug" } else { "release" }).join("headroom");
    let shipped = dist.join("headroom");
    fs::copy(&binary, &shipped).with_context(|| format!("copy the binary to {}", shipped.display()))?;
    project::say(project::STEP, &format!("dist: built in {}", dist.display()));
    Ok(())
}

/// Builds the Debian package in `target/dist`; its path.
pub fn package(project: &Project, build: Build) -> Result<PathBuf> {
    setup::ensure(project, Scope::Build)?;
    page::prepare(project)?;
    let packager = packager(project)?;
    let binary = match build.release {
        true => build::compile(project, &build::Args { release: true })?,
        // The binary that the tests have.
        false => build::compile_with(project, &[build::ANY_TEST])?,
    };
    project::say(project::STEP, "dist: manual page, completions, notices");
    document(project, &binary)?;
    licence::notices(project, &binary.with_file_name("dist").join(NOTICES))?;
    let dist = project.target.join("dist");
    fs::create_dir_all(&dist).with_context(|| format!("make {}", dist.display()))?;
    project::say(project::STEP, "dist: Debian package");
    let mut deb = Command::new(packager);
    deb.current_dir(&project.root).args(["--package", "collector", "--no-build", "--output"]).arg(&dist);
    match build.release {
        false => deb.args(["--profile", "dev", "--fast"]),
        // Debug information, for line numbers in backtraces, goes into a package of its own.
        true if !build.strip => deb.args(["--profile", "release", "--dbgsym"]),
        true => deb.args(["--profile", "release"]),
    };
    if build.strip {
        deb.arg("--strip");
    }
    let output = deb.env("CARGO_TARGET_DIR", &project.target).stderr(Stdio::inherit()).output();
    let output = output.context("run cargo-deb")?;
    if !output.status.success() {
        bail!("cargo-deb failed");
    }
    // It prints the path of each package that it made.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let path = text.lines().map(str::trim).find(|line| line.ends_with(".deb"));
    Ok(path.context("cargo-deb named no package")?.into())
}

/// Has Debian's own checker look at the package, where there is one: an error or a warning ends it.
fn check(package: &Path) -> Result<()> {
    let mut lintian = Command::new("lintian");
    lintian.args(["--fail-on", "error,warning", "--tag-display-limit", "0", "--allow-root"]).arg(package);
    match lintian.status() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            project::say(project::NOTE, "dist: lintian is not installed: the package is not checked");
            Ok(())
        }
        Ok(status) if status.success() => Ok(()),
        Ok(_) => bail!("lintian found what is wrong with the package"),
        Err(error) => Err(error).context("run lintian"),
    }
}

/// Builds the Python package, which is the same for all machines.
fn wheel(project: &Project, dist: &Path) -> Result<()> {
    let tools = peer::install_client(project)?;
    project::say(project::STEP, "dist: wheel of the Python package");
    let mut python = Command::new(tools.join("bin/python"));
    python.current_dir(project.root.join("clients/python")).args(["-m", "hatchling", "build", "--target", "wheel"]);
    // Nothing is written beside the sources.
    project::run(python.arg("--directory").arg(dist).env("PYTHONDONTWRITEBYTECODE", "1"))
}

/// Has the binary write its manual page and completions beside itself, where the package expects them, and compresses what Debian has
/// compressed.
fn document(project: &Project, binary: &Path) -> Result<()> {
    let folder = binary.with_file_name("dist");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let page = Command::new(binary).arg("man").output().context("ask for the manual page")?;
    if !page.status.success() {
        bail!("{} man failed", binary.display());
    }
    compress(&page.stdout, &folder.join("headroom.8.gz"))?;
    compress(
        &fs::read(project.root.join("CHANGELOG.md")).context("read the changelog")?,
        &folder.join("changelog.gz"),
    )?;
    COMPLETIONS.iter().try_for_each(|(shell, file)| write(binary, &["completions", shell], &folder.join(file)))
}

/// Without a name or a time: the same content is the same file.
fn compress(content: &[u8], to: &Path) -> Result<()> {
    let file = fs::File::create(to).with_context(|| format!("write {}", to.display()))?;
    let mut encoder = GzEncoder::new(file, Compression::best());
    encoder.write_all(content).and_then(|()| encoder.finish()).with_context(|| format!("write {}", to.display()))?;
    Ok(())
}

fn write(binary: &Path, verb: &[&str], to: &Path) -> Result<()> {
    let file = fs::File::create(to).with_context(|| format!("write {}", to.display()))?;
    project::run(Command::new(binary).args(verb).stdout(file))
}

/// Path of cargo-deb, compiled into the project's target folder if it is missing.
fn packager(project: &Project) -> Result<PathBuf> {
    let root = project.target.join(toolchain::TOOLS);
    let program = root.join("bin/cargo-deb");
    if !program.is_file() {
        project::say(project::STEP, &format!("cargo-deb: compiled into {}, a minute or two", root.display()));
        // A debug build: it compiles faster, and packing is quick enough.
        project::run(project.cargo("install").args(PACKAGER).arg("--debug").arg("--root").arg(&root))?;
    }
    Ok(program)
}
