//! Packages of npm and PyPI, in fixed versions, installed into the folder of the project's own programs: what the page is made of,
//! what tests compare with, and what builds the Python package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::project::{self, Project};
use crate::toolchain;

/// The Python environment in a peer's folder.
const VENV: &str = "venv";

struct Peer {
    /// Name of its folder below the tools.
    name: &'static str,
    what: &'static str,
    /// The folder with its files.
    from: &'static str,
    /// The file that fixes the versions, and others that belong to it.
    lock: &'static str,
    others: &'static [&'static str],
    /// Installs into a folder that has these files.
    commands: fn(&Path) -> Vec<Command>,
}

const PAGE: Peer = Peer {
    name: toolchain::PAGE,
    what: "what the page is made of",
    from: "web",
    lock: "package-lock.json",
    others: &["package.json"],
    commands: |folder| vec![npm(folder)],
};

/// Only for the test that makes headers of models: few need it, and cmake alone is large.
const MODELS: Peer = Peer {
    name: "models",
    what: "what builds llama.cpp's estimator, and writes GGUF",
    from: "tests/models",
    lock: "requirements.txt",
    others: &[],
    commands: |folder| vec![venv(folder), pip(folder)],
};

/// Builds the Python package, and checks its types.
const CLIENT: Peer = Peer {
    name: "client",
    what: "what builds the Python package",
    from: "clients/python",
    lock: "requirements.txt",
    others: &[],
    commands: |folder| vec![venv(folder), pip(folder)],
};

/// Serves the made-up models of live tests, and of the test of models.
const SERVER: Peer = Peer {
    name: "xllamacpp",
    what: "llama.cpp's server",
    from: "tests/llama",
    lock: "requirements.txt",
    others: &[],
    commands: |folder| vec![venv(folder), pip(folder)],
};

const PEERS: [Peer; 5] = [
    CLIENT,
    SERVER,
    Peer {
        name: "grafana",
        what: "Grafana's types",
        from: "tests/grafana",
        lock: "package-lock.json",
        others: &["package.json"],
        commands: |folder| vec![npm(folder)],
    },
    Peer {
        name: "browser",
        what: "the driver of Chromium, and axe",
        from: "tests/browser",
        lock: "package-lock.json",
        others: &["package.json"],
        commands: |folder| vec![npm(folder)],
    },
    Peer {
        name: "python",
        what: "schemathesis, and a client of the Model Context Protocol",
        from: "tests/python",
        lock: "requirements.txt",
        others: &[],
        commands: |folder| vec![venv(folder), pip(folder)],
    },
];

/// Installs what tests compare with and is not there yet; silent and quick if nothing is missing.
pub fn install(project: &Project) -> Result<()> {
    PEERS.iter().try_for_each(|peer| peer.install(project))
}

/// The same for the page.
pub fn install_page(project: &Project) -> Result<()> {
    PAGE.install(project)
}

/// The same for the test of models: the Python environment with its programs.
pub fn install_models(project: &Project) -> Result<PathBuf> {
    MODELS.install(project)?;
    Ok(project.target.join(toolchain::TOOLS).join(MODELS.name).join(VENV))
}

/// The same for the server of made-up models.
pub fn install_server(project: &Project) -> Result<PathBuf> {
    SERVER.install(project)?;
    Ok(project.target.join(toolchain::TOOLS).join(SERVER.name).join(VENV))
}

/// The same for the Python package.
pub fn install_client(project: &Project) -> Result<PathBuf> {
    CLIENT.install(project)?;
    Ok(project.target.join(toolchain::TOOLS).join(CLIENT.name).join(VENV))
}

impl Peer {
    fn install(&self, project: &Project) -> Result<()> {
        self.update(project).with_context(|| format!("{} not installed; that needs the network", self.what))
    }

    fn update(&self, project: &Project) -> Result<()> {
        let (from, to) = (project.root.join(self.from), project.target.join(toolchain::TOOLS).join(self.name));
        let lock = fs::read(from.join(self.lock)).with_context(|| format!("read {}", self.lock))?;
        // Written last, so it says that what it names is installed.
        let done = to.join("installed");
        if fs::read(&done).is_ok_and(|done| done == lock) {
            return Ok(());
        }
        project::say(project::STEP, &format!("packages: {}, into {}", self.what, to.display()));
        fs::create_dir_all(&to).with_context(|| format!("create {}", to.display()))?;
        for file in self.others.iter().chain([&self.lock]) {
            fs::copy(from.join(file), to.join(file)).with_context(|| format!("copy {file}"))?;
        }
        for mut command in (self.commands)(&to) {
            project::run(command.current_dir(&to))?;
        }
        fs::write(&done, lock).with_context(|| format!("write {}", done.display()))
    }
}

fn npm(_: &Path) -> Command {
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    npm
}

fn venv(_: &Path) -> Command {
    let mut python = Command::new("python3");
    python.args(["-m", "venv", "--clear", VENV]);
    python
}

fn pip(folder: &Path) -> Command {
    let mut pip = Command::new(folder.join(VENV).join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement", "requirements.txt"]);
    pip
}
