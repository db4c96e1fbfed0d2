//! A Debian with systemd, built from the archive: a disk, and the kernel and initramfs that boot it. Knows no cases.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::project;

/// A release of Debian.
#[derive(Debug, PartialEq, Eq)]
pub struct Release {
    pub number: &'static str,
    codename: &'static str,
}

pub const RELEASES: [Release; 2] =
    [Release { number: "12", codename: "bookworm" }, Release { number: "13", codename: "trixie" }];

/// Without recommended packages.
const PACKAGES: [&str; 18] = [
    "systemd",
    "systemd-sysv",
    "dbus",
    "dbus-user-session",
    "libpam-systemd",
    "udev",
    "kmod",
    "initramfs-tools",
    "linux-image-cloud-amd64",
    // Sessions are made by logins from the machine itself.
    "openssh-server",
    "sudo",
    "iproute2",
    "procps",
    "python3",
    "ca-certificates",
    "systemd-container",
    "systemd-oomd",
    "earlyoom",
];
/// Runs in the new root, with its path.
const CUSTOMIZE: &str = include_str!("customize");
/// Room for what the cases write.
const SIZE: &str = "6G";

/// A system that is ready to boot.
#[derive(Debug)]
pub struct System {
    pub folder: PathBuf,
}

/// Those with these numbers; the first if none is named.
pub fn releases(numbers: &[String]) -> Result<Vec<&'static Release>> {
    if numbers.is_empty() {
        return Ok(RELEASES.iter().take(1).collect());
    }
    let find = |number: &String| {
        RELEASES.iter().find(|release| release.number == number).with_context(|| {
            let known = RELEASES.map(|release| release.number).join(", ");
            format!("no Debian {number}: there are {known}")
        })
    };
    numbers.iter().map(find).collect()
}

impl System {
    /// Builds it below a folder, unless it is there and was built of the same.
    pub fn build(folder: &Path, release: &Release) -> Result<System> {
        let folder = folder.join("debian").join(release.number);
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let (stamp, wanted) = (folder.join("stamp"), stamp(release));
        if fs::read_to_string(&stamp).is_ok_and(|built| built == wanted) {
            return Ok(System { folder });
        }
        let _ = fs::remove_file(&stamp);
        let root = folder.join("root");
        let _ = fs::remove_dir_all(&root);
        project::say(
            project::STEP,
            &format!("debian {}: a system from Debian's archive, a few minutes", release.number),
        );
        let customize = folder.join("customize");
        fs::write(&customize, CUSTOMIZE).context("write what makes the system ready")?;
        let mut strap = Command::new("mmdebstrap");
        strap.args(["--quiet", "--mode=root", "--variant=minbase"]);
        strap.arg(format!("--include={}", PACKAGES.join(",")));
        strap.args(["--aptopt=Acquire::Languages \"none\"", "--aptopt=Apt::Install-Recommends \"false\""]);
        strap.args(["--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/man/*"]);
        strap.arg(format!("--customize-hook=sh '{}' \"$1\"", customize.display()));
        strap.arg(release.codename).arg(&root).env_remove("APT_CONFIG").stdin(Stdio::null());
        project::run(&mut strap)?;
        for (prefix, name) in [("vmlinuz-", "vmlinuz"), ("initrd.img-", "initrd")] {
            let boot = fs::read_dir(root.join("boot")).context("look for the kernel")?;
            let mut found = boot.filter_map(Result::ok).map(|entry| entry.path());
            let named =
                |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
            let Some(file) = found.find(named) else { bail!("the system has no {prefix}*") };
            fs::copy(&file, folder.join(name)).with_context(|| format!("copy {}", file.display()))?;
        }
        let disk = folder.join("disk.ext4");
        let _ = fs::remove_file(&disk);
        let mut make = Command::new("mke2fs");
        make.args(["-q", "-t", "ext4", "-E", "lazy_itable_init=1,root_owner=0:0", "-d"]);
        project::run(make.arg(&root).arg(&disk).arg(SIZE).stdout(Stdio::null()))?;
        fs::remove_dir_all(&root).context("remove the files that are now on the disk")?;
        fs::write(&stamp, wanted).context("note what it was built of")?;
        Ok(System { folder })
    }
}

/// Differs if anything does of which the system is built.
fn stamp(release: &Release) -> String {
    let mut hasher = DefaultHasher::new();
    (release.codename, PACKAGES, CUSTOMIZE, SIZE).hash(&mut hasher);
    format!("{:016x}\n", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_a_number() {
        let numbers = |asked: &[&str]| {
            let asked: Vec<String> = asked.iter().map(|number| (*number).to_owned()).collect();
            releases(&asked).map(|found| found.iter().map(|release| release.number).collect::<Vec<_>>())
        };
        assert_eq!(numbers(&[]).unwrap(), ["12"]);
        assert_eq!(numbers(&["13", "12"]).unwrap(), ["13", "12"]);
        assert_eq!(numbers(&["14"]).unwrap_err().to_string(), "no Debian 14: there are 12, 13");
    }

    #[test]
    fn another_release_is_another_system() {
        let [one, other] = RELEASES.each_ref().map(stamp);
        assert_ne!(one, other);
    }
}
