//! Debian packages from suites that this machine does not use, with an apt state separate from the system's.
//!
//! The servers are those in the machine's own apt sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Suites that have kernels: of the archive, and of its security updates.
const SUITES: [&str; 2] =
    ["bullseye bookworm bookworm-backports trixie-backports", "bullseye-security bookworm-security"];

/// The separate apt state.
pub struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Opens or creates it below a folder, and updates its lists from the servers.
    pub fn open(folder: &Path) -> Result<Apt> {
        for part in ["lists/partial", "cache/archives/partial", "parts", "debs"] {
            fs::create_dir_all(folder.join(part)).with_context(|| format!("make {}", folder.display()))?;
        }
        let sources: String = archives()?.iter().zip(SUITES).map(|(uri, suites)| source(uri, suites)).collect();
        let configuration = format!(
            "Dir::State::lists {lists:?};\nDir::Cache {cache:?};\nDir::Etc::sourcelist \"/dev/null\";\n\
             Dir::Etc::sourceparts {parts:?};\nAcquire::Languages \"none\";\nAcquire::Retries \"3\";\n\
             Acquire::Check-Valid-Until \"false\";\nAPT::Sandbox::User \"root\";\n",
            lists = folder.join("lists"),
            cache = folder.join("cache"),
            parts = folder.join("parts"),
        );
        fs::write(folder.join("parts/debian.sources"), sources).context("write apt's sources")?;
        fs::write(folder.join("apt.conf"), configuration).context("write apt's configuration")?;
        let apt = Apt { folder: folder.to_owned() };
        apt.run(apt.command("apt-get").args(["-qq", "update"]))?;
        Ok(apt)
    }

    /// Installs the newest packages for this release of Debian, and removes none.
    pub fn install(&self, packages: &[&str]) -> Result<()> {
        let release = fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
        let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap_or("bookworm");
        let mut install = self.command("apt-get");
        install.args(["-qq", "--yes", "--no-install-recommends", "--no-remove", "install"]);
        install.args(["--target-release", &format!("{codename}-backports")]).args(packages);
        self.run(&mut install)
    }

    /// Names of all packages with this prefix.
    pub fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let output = self.command("apt-cache").args(["pkgnames", prefix]).output().context("run apt-cache")?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }

    /// Downloads a package and unpacks it into a folder. An error if it can no longer be downloaded: superseded packages are
    /// still listed, but gone.
    pub fn unpack(&self, package: &str, into: &Path) -> Result<()> {
        let debs = self.folder.join("debs");
        let mut download = self.command("apt-get");
        self.run(download.args(["-qq", "download", package]).current_dir(&debs).stderr(Stdio::null()))?;
        let found = fs::read_dir(&debs).context("find the package")?.filter_map(Result::ok).map(|entry| entry.path());
        let named = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{package}_")))
        };
        let deb = found.filter(|path| named(path)).max().with_context(|| format!("no {package} was fetched"))?;
        self.run(Command::new("dpkg-deb").arg("--extract").arg(&deb).arg(into))?;
        fs::remove_file(&deb).with_context(|| format!("remove {}", deb.display()))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf")).env("DEBIAN_FRONTEND", "noninteractive");
        command.env("LC_ALL", "C").stdin(Stdio::null());
        command
    }

    fn run(&self, command: &mut Command) -> Result<()> {
        crate::project::run(command)
    }
}

/// Addresses of the archive and of its security updates.
fn archives() -> Result<[String; 2]> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"]);
    let output = targets.output().context("run apt-get")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = pick(&text);
    found.context("apt's sources name no Debian archive with security updates: give a folder with --kernels")
}

fn pick(text: &str) -> Option<[String; 2]> {
    let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let of = |wanted: fn(&str) -> bool| lines.iter().find(|(_, suite)| wanted(suite)).map(|(uri, _)| (*uri).to_owned());
    let plain = |suite: &str| !suite.contains('-');
    let security = |suite: &str| suite.ends_with("-security");
    Some([of(plain)?, of(security)?])
}

fn source(uri: &str, suites: &str) -> String {
    format!("Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nSigned-By: {KEYRING}\n\n")
}

/// An error if this system has no apt.
pub fn exists() -> Result<()> {
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("kernels come from Debian's archive, and there is no apt here: give a folder with --kernels");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_and_its_security_updates_are_distinguished() {
        let text =
            "http://a/security/ bookworm-security\nhttp://a/debian/ bookworm-updates\nhttp://a/debian/ bookworm\n";
        assert_eq!(pick(text), Some(["http://a/debian/".to_owned(), "http://a/security/".to_owned()]));
        assert_eq!(pick("http://a/debian/ bookworm\n"), None);
        assert_eq!(pick(""), None);
    }
}
