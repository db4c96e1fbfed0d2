//! `cargo xtask setup`: installs what building, checking and testing need and what is missing.
//!
//! There are two eBPF toolchains: Debian's packages, which need no second Rust and which this installs as root; and rustup's
//! nightly, which this uses where it finds it, and otherwise explains.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::peer;
use crate::project::{self, Project};
use crate::toolchain::{self, Missing, Rust, Toolchain};

const COMPILER: &[&str] = &["rustc-web", "cargo-web", "libstd-rust-web-dev-bpf"];
// bpf-linker must link the same LLVM that Debian's Rust uses, to read its bitcode.
const LLVM: &[&str] = &["llvm-22-dev", "libpolly-22-dev", "zlib1g-dev", "libzstd-dev", "g++"];
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
const LINKER: &[&str] = &["bpf-linker@0.13.0", "--no-default-features", "--features", "llvm-22", "--locked"];
const CLIPPY: &[&str] = &["rust-web-clippy"];
/// Programs that the tests compare with. Debian's packages of Prometheus and Alertmanager also start them as services; the
/// tests start their own.
const REFERENCE: &[&str] = &["fio", "openssl", "prometheus", "prometheus-alertmanager", "systemd", "dpkg-dev", "tmux"];
/// Those of their programs that the tests call.
const PROGRAMS: &[&str] =
    &["fio", "openssl", "prometheus", "prometheus-alertmanager", "systemd-analyze", "dpkg-shlibdeps", "tmux"];
/// What installs and checks the page, and checks dashboards. Debian's npm conflicts with the nodejs of others, which has its own.
const NODE: &[&str] = &["nodejs", "npm"];
/// What opens the page for the tests: one of these. Debian's headless shell is the smallest, and needs no windows.
const BROWSER: &[&str] = &["chromium-headless-shell"];
const BROWSERS: [&str; 3] = ["chromium-headless-shell", "chromium", "google-chrome"];
/// What installs the packages of PyPI that tests compare with.
const PYTHON: &[&str] = &["python3", "python3-venv"];

/// What the machine must be ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Build,
    /// Building the page.
    Page,
    /// Building and checking.
    Check,
    /// Building, and testing as root.
    Test,
    All,
}

/// What is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Gap {
    toolchain: Missing,
    clippy: bool,
    reference: bool,
    node: bool,
    browser: bool,
    python: bool,
}

/// What to install.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Plan {
    packages: Vec<&'static str>,
    linker: bool,
}

/// Installs what is missing, and prints what is there already.
pub fn setup(project: &Project) -> Result<()> {
    let before = gap(project, Scope::All);
    let report = |missing: bool, what: &str| {
        if !missing {
            project::say(project::STEP, &format!("found: {what}"));
        }
    };
    report(before.toolchain.rust, "Rust for the BPF target");
    report(before.toolchain.linker, "bpf-linker");
    report(before.clippy, "clippy for the BPF target");
    report(before.reference, "fio, openssl, Prometheus, Alertmanager, systemd-analyze, dpkg-dev, tmux");
    report(before.node, "Node.js and npm");
    report(before.browser, "Chromium");
    report(before.python, "Python with venv");
    ensure(project, Scope::All)?;
    peer::install_page(project)?;
    peer::install(project)?;
    let Toolchain { rust, linker } = find(project)?;
    let rust = match rust {
        Rust::Debian => "Debian's Rust",
        Rust::Nightly => "rustup's nightly",
    };
    project::say(project::STEP, &format!("ready: {rust}, {}", linker.display()));
    Ok(())
}

/// Installs what is missing for this scope; silent and quick if nothing is.
pub fn ensure(project: &Project, scope: Scope) -> Result<()> {
    let gap = gap(project, scope);
    if gap == Gap::default() {
        return Ok(());
    }
    let plan = plan(&gap, &installed());
    let installable = || project::is_root() && available(&plan.packages);
    if !plan.packages.is_empty() && !installable() {
        bail!("{}", advice(&gap, &plan));
    }
    let count = 2 + usize::from(plan.linker);
    if !plan.packages.is_empty() {
        project::say(project::STEP, &format!("[1/{count}] Debian packages: {}", plan.packages.join(" ")));
        project::run(apt().args(["install", "--yes", "--no-install-recommends"]).args(&plan.packages))?;
    } else {
        project::say(project::STEP, &format!("[1/{count}] Debian packages: already installed"));
    }
    if plan.linker {
        let root = tools(project);
        project::say(
            project::STEP,
            &format!("[2/{count}] bpf-linker, compiled into {}: a minute or two", root.display()),
        );
        project::run(install(project, LINKER).env("LLVM_PREFIX", LLVM_PREFIX))?;
    }
    project::say(project::STEP, &format!("[{count}/{count}] checking"));
    let left = self::gap(project, scope);
    if left != Gap::default() {
        bail!("still missing after the installation: {}", left.names().join(", "));
    }
    Ok(())
}

/// The toolchain; call [`ensure`] first.
pub fn find(project: &Project) -> Result<Toolchain> {
    toolchain::find(&targets(project)).map_err(|missing| anyhow::anyhow!("{missing}: run `cargo xtask setup`"))
}

/// `cargo install` of a program into the project's target folder.
pub fn install(project: &Project, words: &[&str]) -> Command {
    let mut command = project.cargo("install");
    // Otherwise cargo ends with advice to add the folder to PATH, which is not needed.
    command.env("PATH", path(project)).args(words).arg("--root").arg(tools(project));
    // Otherwise cargo would keep a few hundred megabytes of intermediate files in the project's target folder.
    command.env_remove("CARGO_TARGET_DIR").env_remove("CARGO_BUILD_TARGET_DIR");
    command
}

/// Whether this program is installed, in the project's folder or on PATH.
pub fn is_tool(project: &Project, program: &str) -> bool {
    tools(project).join("bin").join(program).is_file() || on_path(program)
}

/// PATH, with the folder of the project's own programs at its end.
pub fn path(project: &Project) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([tools(project).join("bin")]);
    std::env::join_paths(folders).unwrap_or(path.clone())
}

fn tools(project: &Project) -> PathBuf {
    project.target.join(toolchain::TOOLS)
}

impl Gap {
    fn names(&self) -> Vec<&'static str> {
        let parts = [
            (self.toolchain.rust, "a Rust compiler for the BPF target"),
            (self.toolchain.linker, "bpf-linker"),
            (self.clippy, "clippy for the BPF target"),
            (self.reference, "fio, openssl, Prometheus, Alertmanager, systemd-analyze, dpkg-dev or tmux"),
            (self.node, "Node.js or npm"),
            (self.browser, "Chromium"),
            (self.python, "Python with venv"),
        ];
        parts.iter().filter(|(missing, _)| *missing).map(|(_, name)| *name).collect()
    }
}

fn gap(project: &Project, scope: Scope) -> Gap {
    let found = toolchain::find(&targets(project));
    // nightly comes with clippy.
    let nightly = matches!(found, Ok(Toolchain { rust: Rust::Nightly, .. }));
    let page = scope == Scope::Page;
    let check = matches!(scope, Scope::Check | Scope::All);
    let test = matches!(scope, Scope::Test | Scope::All);
    Gap {
        toolchain: found.err().filter(|_| !page).unwrap_or_default(),
        clippy: check && !nightly && !Path::new("/usr/bin/cargo-clippy").is_file(),
        reference: test && !PROGRAMS.iter().all(|program| on_path(program)),
        node: (test || page) && !["node", "npm"].iter().all(|program| on_path(program)),
        browser: test && !BROWSERS.iter().any(|program| on_path(program)),
        python: test && !has_venv(),
    }
}

/// Whether Python can make a virtual environment: Debian ships that apart.
fn has_venv() -> bool {
    let mut python = Command::new("python3");
    python.args(["-c", "import ensurepip, venv"]).stdout(Stdio::null()).stderr(Stdio::null());
    python.status().is_ok_and(|status| status.success())
}

fn plan(gap: &Gap, installed: &[String]) -> Plan {
    let parts = [
        (gap.toolchain.rust, COMPILER),
        (gap.toolchain.linker, LLVM),
        (gap.clippy, CLIPPY),
        (gap.reference, REFERENCE),
        (gap.node, NODE),
        (gap.browser, BROWSER),
        (gap.python, PYTHON),
    ];
    let wanted = parts.iter().filter(|(missing, _)| *missing).flat_map(|(_, packages)| *packages);
    let packages = wanted.filter(|package| !installed.iter().any(|name| name == *package));
    Plan { packages: packages.copied().collect(), linker: gap.toolchain.linker }
}

/// What to type where this program cannot or may not install.
fn advice(gap: &Gap, plan: &Plan) -> String {
    let mut text = format!("missing: {}\n\nOn Debian 12:\n\n", gap.names().join(", "));
    text += "  sudo apt-get update\n";
    text += &format!("  sudo apt-get install --no-install-recommends {}\n", plan.packages.join(" "));
    if plan.linker {
        text += "  cargo xtask setup    # compiles bpf-linker, without root\n";
    }
    if gap.toolchain != Missing::default() {
        text += "\nOn any system with rustup:\n\n";
        text += "  rustup toolchain install nightly --component rust-src --component clippy\n";
        text += "  cargo install cargo-binstall && cargo binstall bpf-linker\n";
    }
    if gap.reference {
        text +=
            "\nfio and openssl have these names in every distribution. Others may differ: alertmanager, for example.\n";
    }
    text.trim_end().to_owned()
}

fn targets(project: &Project) -> [PathBuf; 2] {
    // The collector's build script looks in the same folders.
    [project.target.clone(), project.root.join("target")]
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Names of the required Debian packages that are installed; empty without dpkg.
fn installed() -> Vec<String> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"]);
    let output =
        query.args([COMPILER, LLVM, CLIPPY, REFERENCE, NODE, BROWSER, PYTHON].concat()).stderr(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let names = text.lines().filter_map(|line| line.strip_suffix(" installed"));
    names.map(str::to_owned).collect()
}

/// Whether apt can install these. Asks its servers first, since its lists may be missing or old.
fn available(packages: &[&str]) -> bool {
    if !on_path("apt-get") {
        return false;
    }
    project::say(project::STEP, "apt-get: update");
    if let Err(error) = project::run(apt().args(["update", "-qq"])) {
        project::say(project::NOTE, &format!("apt-get: {error}; continuing with the present lists"));
    }
    let policy = Command::new("apt-cache").arg("policy").args(packages).env("LC_ALL", "C").output();
    policy.is_ok_and(|output| candidates(&String::from_utf8_lossy(&output.stdout)) == packages.len())
}

/// Number of packages for which `apt-cache policy` has a version to install.
fn candidates(policy: &str) -> usize {
    let candidates = policy.lines().filter_map(|line| line.trim().strip_prefix("Candidate: "));
    candidates.filter(|version| *version != "(none)").count()
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    // It must not prompt: there may be nobody to answer.
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: Gap = Gap {
        toolchain: Missing { rust: true, linker: true },
        clippy: true,
        reference: true,
        node: true,
        browser: true,
        python: true,
    };

    #[test]
    fn a_fresh_machine_gets_everything() {
        let plan = plan(&EVERYTHING, &[]);
        assert_eq!(plan.packages, [COMPILER, LLVM, CLIPPY, REFERENCE, NODE, BROWSER, PYTHON].concat());
        assert!(plan.linker);
    }

    #[test]
    fn installed_packages_are_left_alone() {
        let installed: Vec<String> = LLVM.iter().chain(CLIPPY).map(|name| name.to_string()).collect();
        assert_eq!(plan(&EVERYTHING, &installed).packages, [COMPILER, REFERENCE, NODE, BROWSER, PYTHON].concat());
        let fio = ["fio".to_owned()];
        assert_eq!(plan(&Gap { reference: true, ..Gap::default() }, &fio).packages, REFERENCE[1..]);
        let linker = Gap { toolchain: Missing { rust: false, linker: true }, ..Gap::default() };
        assert_eq!(plan(&linker, &installed), Plan { packages: Vec::new(), linker: true });
    }

    #[test]
    fn advice_names_every_command_for_both_toolchains() {
        let advice = advice(&EVERYTHING, &plan(&EVERYTHING, &[]));
        let expected = "\
missing: a Rust compiler for the BPF target, bpf-linker, clippy for the BPF target, fio, openssl, Prometheus, Alertmanager, systemd-analyze, dpkg-dev or tmux, Node.js or npm, Chromium, Python with venv

On Debian 12:

  sudo apt-get update
  sudo apt-get install --no-install-recommends rustc-web cargo-web libstd-rust-web-dev-bpf llvm-22-dev libpolly-22-dev \
zlib1g-dev libzstd-dev g++ rust-web-clippy fio openssl prometheus prometheus-alertmanager systemd dpkg-dev tmux nodejs npm chromium-headless-shell python3 python3-venv
  cargo xtask setup    # compiles bpf-linker, without root

On any system with rustup:

  rustup toolchain install nightly --component rust-src --component clippy
  cargo install cargo-binstall && cargo binstall bpf-linker

fio and openssl have these names in every distribution. Others may differ: alertmanager, for example.";
        assert_eq!(advice, expected);
    }

    #[test]
    fn advice_for_one_package_is_short() {
        let gap = Gap { reference: true, ..Gap::default() };
        let advice = advice(&gap, &plan(&gap, &[]));
        assert!(advice.contains("sudo apt-get install --no-install-recommends fio openssl prometheus"), "{advice}");
        assert!(!advice.contains("rustup") && !advice.contains("bpf-linker"), "{advice}");
    }

    #[test]
    fn a_package_without_a_candidate_is_not_available() {
        let policy =
            "fio:\n  Installed: (none)\n  Candidate: 3.33-3\nrustc-web:\n  Installed: (none)\n  Candidate: (none)\n";
        assert_eq!(candidates(policy), 1);
        assert_eq!(candidates(""), 0);
    }
}
