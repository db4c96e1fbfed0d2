//! The kernels of the matrix: where they come from, and how they are made ready to boot.
//!
//! A kernel is a folder with `vmlinux` and `lib/modules/RELEASE`.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::apt::Apt;
use crate::project;

/// A kernel of the matrix.
#[derive(Debug)]
pub struct Wanted {
    /// Name on the command line.
    pub name: &'static str,
    /// Prefix of its version in Debian.
    version: &'static str,
    /// Its Debian packages, without the version.
    packages: &'static [&'static str],
}

/// From 6.19 on Debian splits a kernel into these packages.
const SPLIT: &[&str] = &["linux-binary", "linux-modules", "linux-base"];
const WHOLE: &[&str] = &["linux-image"];
const FLAVOUR: &str = "-cloud-amd64";

/// Oldest first.
pub const MATRIX: [Wanted; 5] = [
    // 5.10.218: oom:mark_victim passes only the process id.
    Wanted { name: "5.10", version: "5.10.0-30", packages: WHOLE },
    Wanted { name: "6.1", version: "6.1.0-", packages: WHOLE },
    Wanted { name: "6.12", version: "6.12.", packages: WHOLE },
    Wanted { name: "6.18", version: "6.18.", packages: WHOLE },
    // From 7.1 on the arguments of the reclaim tracepoints are in another order, and include the cgroup reclaimed from.
    Wanted { name: "7.2", version: "7.2.", packages: SPLIT },
];

/// A kernel that is ready to boot.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Name in the matrix, or of its folder.
    pub name: String,
    folder: PathBuf,
    /// `uname -r`.
    pub release: String,
}

impl Kernel {
    /// The kernel in a folder. Unpacks the image if there is only a compressed one.
    pub fn at(folder: &Path) -> Result<Kernel> {
        let name = folder.file_name().context("a kernel's folder has a name")?.to_string_lossy().into_owned();
        let modules = folder.join("lib/modules");
        let found = fs::read_dir(&modules).with_context(|| format!("look for modules in {}", modules.display()))?;
        let release = found.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()).next();
        let release = release.with_context(|| format!("no modules in {}", modules.display()))?;
        let kernel = Kernel { name, folder: folder.to_owned(), release };
        if !kernel.image().exists() {
            kernel.unpack()?;
        }
        Ok(kernel)
    }

    /// The uncompressed image: an emulated machine takes seconds to unpack a compressed one.
    pub fn image(&self) -> PathBuf {
        self.folder.join("vmlinux")
    }

    /// Files of these modules and of their dependencies, in the order in which to load them. A module that is built in has none.
    pub fn modules(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for name in names {
            let mut show = Command::new("modprobe");
            show.arg("--dirname").arg(&self.folder).args(["--set-version", &self.release, "--show-depends", name]);
            let output = show.stderr(Stdio::null()).output().context("run modprobe")?;
            let text = String::from_utf8_lossy(&output.stdout);
            let paths = text.lines().filter_map(|line| line.strip_prefix("insmod ")?.split(' ').next());
            for path in paths.map(PathBuf::from) {
                if !files.contains(&path) {
                    files.push(path);
                }
            }
        }
        Ok(files)
    }

    /// Index of modules that depmod wrote, relative to the folder.
    pub fn index(&self) -> PathBuf {
        self.folder.join("lib/modules").join(&self.release)
    }

    fn unpack(&self) -> Result<()> {
        let packed = self.folder.join("vmlinuz");
        let bytes = fs::read(&packed).with_context(|| format!("read {}", packed.display()))?;
        let (program, arguments, payload) = payload(&bytes).with_context(|| format!("unpack {}", packed.display()))?;
        let part = self.folder.join("vmlinux.part");
        let input = self.folder.join("payload.part");
        fs::write(&input, payload).context("write the payload")?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(fs::File::open(&input)?).stdout(fs::File::create(&part)?).stderr(Stdio::null());
        // Bytes follow the payload, and some of these programs return an error because of them.
        command.status().with_context(|| format!("run {program}"))?;
        fs::remove_file(&input)?;
        if !fs::read(&part)?.starts_with(b"\x7fELF") {
            bail!("{program} could not unpack {}", packed.display());
        }
        fs::rename(&part, self.image()).context("move the kernel")
    }
}

/// The compressed kernel in a bzImage, and the program that unpacks it (Documentation/arch/x86/boot.rst: `payload_offset`, `payload_length`).
fn payload(image: &[u8]) -> Result<(&'static str, &'static [&'static str], &[u8])> {
    const PROGRAMS: [(&[u8], &str, &[&str]); 4] = [
        (b"\x02\x21\x4c\x18", "lz4", &["-dc"]),
        (b"\x28\xb5\x2f\xfd", "zstd", &["-dcq"]),
        (b"\xfd7zXZ\x00", "xz", &["-dc", "--single-stream"]),
        (b"\x1f\x8b", "gzip", &["-dc"]),
    ];
    let word = |at: usize| {
        image.get(at..at + 4).map(|word| word.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    if image.get(0x202..0x206) != Some(b"HdrS") {
        bail!("it is not a bzImage");
    }
    let (Some(offset), Some(length), Some(sectors)) = (word(0x248), word(0x24c), image.get(0x1f1)) else {
        bail!("it is too short")
    };
    let sectors = if *sectors == 0 { 4 } else { usize::from(*sectors) };
    let begin = (sectors + 1) * 512 + offset;
    // Its last four bytes are the uncompressed size.
    let payload = image.get(begin..begin + length.saturating_sub(4)).context("its payload is truncated")?;
    let program =
        PROGRAMS.iter().find(|(magic, ..)| payload.starts_with(magic)).context("its compression is unknown")?;
    Ok((program.1, program.2, payload))
}

/// All kernels below a folder.
pub fn in_folder(folder: &Path) -> Result<Vec<Kernel>> {
    let found = fs::read_dir(folder).with_context(|| format!("look for kernels in {}", folder.display()))?;
    let mut folders: Vec<PathBuf> = found.filter_map(Result::ok).map(|entry| entry.path()).collect();
    folders.retain(|folder| folder.join("lib/modules").is_dir());
    folders.sort_by(|one, other| by_version(&one.to_string_lossy(), &other.to_string_lossy()));
    folders.iter().map(|folder| Kernel::at(folder)).collect()
}

/// Downloads the kernels that are missing.
pub fn fetch(wanted: &[&Wanted], folder: &Path) -> Result<Vec<Kernel>> {
    let mut apt = None;
    let mut kernels = Vec::new();
    for wanted in wanted {
        let place = folder.join(wanted.name);
        if !place.join("vmlinux").exists() {
            if apt.is_none() {
                super::apt::exists()?;
                project::say(project::STEP, "vm: kernels from Debian's archive");
                apt = Some(Apt::open(&folder.join("apt"))?);
            }
            let apt = apt.as_ref().context("apt is not open")?;
            download(apt, wanted, &place).with_context(|| format!("fetch kernel {}", wanted.name))?;
        }
        kernels.push(Kernel::at(&place)?);
    }
    Ok(kernels)
}

/// Downloads the newest version of which all packages can be had.
fn download(apt: &Apt, wanted: &Wanted, place: &Path) -> Result<()> {
    let [first, ..] = wanted.packages else { bail!("no packages are named") };
    let prefix = format!("{first}-{}", wanted.version);
    let versions = versions(&apt.names(&prefix)?, first, wanted.version);
    let Some(newest) = versions.first() else { bail!("the archive has no {prefix}*{FLAVOUR}") };
    let part = place.with_extension("part");
    for version in &versions {
        let _ = fs::remove_dir_all(&part);
        let fetched = wanted.packages.iter().try_for_each(|package| {
            let signed = format!("{package}-{version}{FLAVOUR}");
            apt.unpack(&format!("{signed}-unsigned"), &part).or_else(|_| apt.unpack(&signed, &part))
        });
        if fetched.is_ok() {
            settle(&part)?;
            let _ = fs::remove_dir_all(place);
            return fs::rename(&part, place).context("move the kernel");
        }
    }
    bail!("none of {} versions, from {newest} down, can be downloaded", versions.len())
}

/// Versions in the names of packages, newest first.
fn versions(names: &[String], package: &str, prefix: &str) -> Vec<String> {
    let version = |name: &String| {
        let rest = name.strip_prefix(package)?.strip_prefix('-')?;
        let rest = rest.strip_suffix("-unsigned").unwrap_or(rest).strip_suffix(FLAVOUR)?;
        // Kernels rebuilt for an older release of Debian differ.
        (rest.starts_with(prefix) && !rest.contains(".deb11")).then(|| rest.to_owned())
    };
    let mut versions: Vec<String> = names.iter().filter_map(version).collect();
    versions.sort_by(|one, other| by_version(other, one));
    versions.dedup();
    versions
}

/// Compares versions number by number.
fn by_version(one: &str, other: &str) -> Ordering {
    let numbers = |text: &str| -> Vec<u64> {
        text.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
    };
    numbers(one).cmp(&numbers(other))
}

/// Moves the packages' files to where this module expects them, and writes the index that modprobe reads.
fn settle(folder: &Path) -> Result<()> {
    if !folder.join("lib/modules").is_dir() {
        let _ = fs::remove_dir_all(folder.join("lib"));
        fs::rename(folder.join("usr/lib"), folder.join("lib")).context("find the modules")?;
    }
    let boot = [folder.join("boot"), folder.join("usr/lib"), folder.join("lib")];
    let image = boot.iter().find_map(|place| find(place, "vmlinuz", 4)).context("the packages hold no kernel")?;
    fs::rename(image, folder.join("vmlinuz")).context("move the image")?;
    let modules = folder.join("lib/modules");
    let release = fs::read_dir(&modules)?.filter_map(Result::ok).next().context("the packages hold no modules")?;
    project::run(Command::new("depmod").arg("--basedir").arg(folder).arg(release.file_name()))
}

/// A file with this prefix, at most `depth` levels below a folder.
fn find(folder: &Path, prefix: &str, depth: usize) -> Option<PathBuf> {
    let entries: Vec<PathBuf> = fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path()).collect();
    let named = |path: &&PathBuf| {
        path.is_file() && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    };
    let here = entries.iter().find(named).cloned();
    here.or_else(|| {
        entries.iter().filter(|path| depth > 0 && path.is_dir()).find_map(|path| find(path, prefix, depth - 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_first() {
        let names = [
            "linux-image-6.12.9+deb12-cloud-amd64",
            "linux-image-6.12.117+deb12-cloud-amd64-unsigned",
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-6.12.117+deb12-rt-amd64",
            "linux-image-6.12-cloud-amd64",
        ];
        let found = versions(&names.map(str::to_owned), "linux-image", "6.12.");
        assert_eq!(found, ["6.12.117+deb12", "6.12.9+deb12"]);
    }

    #[test]
    fn a_kernel_for_an_older_release_does_not_match() {
        let names = ["linux-image-6.1.0-0.deb11.52-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64"];
        assert_eq!(versions(&names.map(str::to_owned), "linux-image", "6.1.0-"), ["6.1.0-56"]);
    }

    #[test]
    fn a_file_that_is_not_a_kernel_is_an_error() {
        for bytes in [&b""[..], &[0; 0x300], b"\x7fELF"] {
            assert!(payload(bytes).is_err());
        }
        let mut image = vec![0; 4096];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x24c] = 100;
        assert_eq!(payload(&image).unwrap_err().to_string(), "its compression is unknown");
        image[2560..2564].copy_from_slice(b"\x28\xb5\x2f\xfd");
        assert_eq!(payload(&image).unwrap().0, "zstd");
        image[0x24e] = 1;
        assert_eq!(payload(&image).unwrap_err().to_string(), "its payload is truncated");
    }
}
