//! What a virtual machine boots: one disk for all kernels with everything that runs, and for each kernel an initramfs that
//! mounts the disk.
//!
//! The programs are the files built here, at the same paths, with this machine's C library.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::kernel::Kernel;
use crate::project;

const INIT: &str = include_str!("init");
const BOOT: &str = include_str!("boot");
/// Modules that the disk needs.
const DISK: &[&str] = &["virtio_pci", "virtio_blk", "ext4"];
/// Modules that the tests need, with parameters; one per line in the file `modules`. If a kernel has one built in or not at
/// all, the console shows it.
const MODULES: &[&str] = &[
    "loop",
    "zram",
    "fuse",
    // 30 ms per request.
    "null_blk queue_mode=2 irqmode=2 completion_nsec=30000000 gb=1",
    // Sectors 2048 to 2055 fail once the test enables it.
    "scsi_debug dev_size_mb=16 medium_error_start=2048 medium_error_count=8",
    "sd_mod",
    // With it, weights of IO act.
    "bfq",
];
/// zram's compressors, which it loads by name, and those of loop.
const MORE: &[&str] = &["lzo-rle", "lz4", "lz4_compress", "zstd", "crc32c_generic", "crc32c-intel"];
/// Programs that the tests call from this machine, because busybox's differ.
const PROGRAMS: &[&str] = &["losetup", "mount", "umount", "mkswap", "swapon", "swapoff", "dmesg"];
const BUSYBOX: &str = "/bin/busybox";
/// Size of the disk: room for what the tests write.
const SIZE: &str = "6G";

/// A test program to run in the machine, and its tests to run.
#[derive(Clone, Debug)]
pub struct Program {
    /// Test target: `live`.
    pub target: String,
    /// The same here and in the machine.
    pub path: PathBuf,
    /// Test names: `oom::a_kill`. At least one, since without a name the program runs all.
    pub tests: Vec<String>,
}

impl Program {
    /// Names that are unique across targets: `live::oom::a_kill`.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.tests.iter().map(|test| format!("{}::{test}", self.target))
    }
}

/// Makes the disk: the test programs, the `files` that they call (at the same paths), and the modules of all kernels.
pub fn disk(
    folder: &Path,
    tests: &[Program],
    files: &[PathBuf],
    environment: &str,
    kernels: &[Kernel],
) -> Result<PathBuf> {
    let root = folder.join("root");
    let _ = fs::remove_dir_all(&root);
    for place in
        ["usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "proc", "sys", "dev", "run", "tmp", "etc", "mnt", "root"]
    {
        fs::create_dir_all(root.join(place)).with_context(|| format!("make {place}"))?;
    }
    for place in ["bin", "sbin", "lib", "lib64"] {
        symlink(Path::new("usr").join(place), root.join(place)).with_context(|| format!("make {place}"))?;
    }
    fs::set_permissions(root.join("tmp"), PermissionsExt::from_mode(0o1777))?;
    fs::copy(BUSYBOX, root.join("usr/bin/busybox")).with_context(|| format!("copy {BUSYBOX}"))?;
    symlink("busybox", root.join("usr/bin/sh")).context("make sh")?;
    // The kernel calls modprobe.
    symlink("../bin/busybox", root.join("usr/sbin/modprobe")).context("make modprobe")?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")?;

    let mut libraries = BTreeSet::new();
    let own: Vec<PathBuf> = PROGRAMS.iter().map(|program| which(program)).collect::<Result<_>>()?;
    let programs: BTreeSet<&PathBuf> = tests.iter().map(|test| &test.path).chain(files).chain(&own).collect();
    for file in programs {
        place(&root, file, true)?;
        libraries.extend(self::libraries(file)?);
    }
    libraries.iter().try_for_each(|library| place(&root, library, false))?;

    for kernel in kernels {
        let names: Vec<&str> =
            MODULES.iter().filter_map(|line| line.split(' ').next()).chain(MORE.iter().copied()).collect();
        let folder = root.join("usr/lib/modules").join(&kernel.release);
        for module in kernel.modules(&names)? {
            install(&module, &kernel.index(), &folder)?;
        }
        for index in ["modules.builtin", "modules.order", "modules.builtin.modinfo"] {
            let _ = fs::copy(kernel.index().join(index), folder.join(index));
        }
        project::run(Command::new("depmod").arg("--basedir").arg(&root).arg(&kernel.release))?;
    }
    fs::write(root.join("modules"), MODULES.join("\n") + "\n")?;
    let line = |test: &Program| format!("{} {} {}\n", test.target, test.path.display(), test.tests.join(" "));
    let programs: String = tests.iter().map(line).collect();
    fs::write(root.join("programs"), programs)?;
    fs::write(root.join("environment"), environment)?;
    executable(&root.join("init"), INIT)?;

    let disk = folder.join("disk.ext4");
    let _ = fs::remove_file(&disk);
    let mut make = Command::new("mke2fs");
    make.args(["-q", "-t", "ext4", "-E", "lazy_itable_init=1,root_owner=0:0", "-O", "^has_journal", "-d"]);
    project::run(make.arg(&root).arg(&disk).arg(SIZE).stdout(Stdio::null()))?;
    fs::remove_dir_all(&root).context("remove the files that are now on the disk")?;
    Ok(disk)
}

/// Makes the initramfs of this kernel.
pub fn archive(folder: &Path, kernel: &Kernel) -> Result<PathBuf> {
    let root = folder.join(format!("{}.root", kernel.name));
    let _ = fs::remove_dir_all(&root);
    for place in ["bin", "dev", "root", "lib"] {
        fs::create_dir_all(root.join(place)).with_context(|| format!("make {place}"))?;
    }
    fs::copy(BUSYBOX, root.join("bin/busybox")).with_context(|| format!("copy {BUSYBOX}"))?;
    let mut order = String::new();
    for module in kernel.modules(DISK)? {
        let installed = install(&module, &kernel.index(), &root.join("lib"))?;
        order += &format!("/lib/{}\n", installed.display());
    }
    fs::write(root.join("modules"), order)?;
    executable(&root.join("init"), BOOT)?;
    let path = folder.join(format!("{}.cpio", kernel.name));
    let mut pack = Command::new("sh");
    pack.args(["-c", "find . -print0 | cpio --null --create --format=newc --quiet --owner=0:0"]);
    project::run(pack.current_dir(&root).stdout(fs::File::create(&path)?))?;
    fs::remove_dir_all(&root).context("remove the files that are now in the archive")?;
    Ok(path)
}

/// Copies a file to the same path below a root. Programs lose their debug information.
fn place(root: &Path, file: &Path, program: bool) -> Result<()> {
    let target = root.join(file.strip_prefix("/").with_context(|| format!("{} is not absolute", file.display()))?);
    let folder = target.parent().context("a file lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    if program {
        return project::run(Command::new("strip").args(["--strip-debug", "-o"]).arg(&target).arg(file));
    }
    fs::copy(file, &target).with_context(|| format!("copy {}", file.display()))?;
    Ok(())
}

/// Shared libraries of a program, and the loader.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).stderr(Stdio::null()).output().context("run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    Ok(text.lines().filter_map(path).collect())
}

/// Installs a module, unpacked, below a folder; returns its path in that folder.
fn install(module: &Path, index: &Path, folder: &Path) -> Result<PathBuf> {
    let inner =
        module.strip_prefix(index).with_context(|| format!("{} is not in {}", module.display(), index.display()))?;
    let packed = inner.extension().is_some_and(|extension| extension == "xz");
    let inner = if packed { inner.with_extension("") } else { inner.to_owned() };
    let target = folder.join(&inner);
    fs::create_dir_all(target.parent().context("a module lies in a folder")?).context("make a folder for modules")?;
    if packed {
        project::run(Command::new("xz").args(["-dc"]).arg(module).stdout(fs::File::create(&target)?))?;
    } else {
        fs::copy(module, &target).with_context(|| format!("copy {}", module.display()))?;
    }
    Ok(inner)
}

fn executable(path: &Path, text: &str) -> Result<()> {
    let mut file = fs::File::create(path).with_context(|| format!("write {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).context("make it executable")
}

fn which(program: &str) -> Result<PathBuf> {
    let places = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(|folder| Path::new(folder).join(program));
    match places.into_iter().find(|place| place.exists()) {
        Some(place) => Ok(place),
        None => bail!("the tests call {program}, which is not installed here"),
    }
}
