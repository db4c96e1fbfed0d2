//! What a virtual machine boots: one disk for all kernels with everything that is run, and for each kernel an archive that
//! finds the disk.
//!
//! The programs are the very files that were built here, at their places, with this machine's C library beside them.

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
/// What the disk is reached with.
const DISK: &[&str] = &["virtio_pci", "virtio_blk", "ext4"];
/// What the tests need of a kernel, with parameters; a line each in the file `modules`. A kernel that has one built in, or
/// not at all, says so on its console.
const MODULES: &[&str] = &[
    "loop",
    "zram",
    "fuse",
    // 30 ms a request.
    "null_blk queue_mode=2 irqmode=2 completion_nsec=30000000 gb=1",
    // Sectors 2048 to 2055 fail, once the test says so.
    "scsi_debug dev_size_mb=16 medium_error_start=2048 medium_error_count=8",
    "sd_mod",
];
/// zram's compressors, which it loads by name, and loop's.
const MORE: &[&str] = &["lzo-rle", "lz4", "lz4_compress", "zstd", "crc32c_generic", "crc32c-intel"];
/// This machine's own programs that the tests call, where busybox's are others.
const PROGRAMS: &[&str] = &["losetup", "mount", "umount", "mkswap", "swapon", "swapoff", "dmesg"];
const BUSYBOX: &str = "/bin/busybox";
/// Bytes of the disk: room for what the tests write.
const SIZE: &str = "6G";

/// A program that is run in the machine, with the tests that it is to run.
#[derive(Clone, Debug)]
pub struct Program {
    /// `live`.
    pub target: String,
    /// Where it lies, here and there.
    pub path: PathBuf,
    /// `oom::a_kill`: at least one, for without a name it runs all.
    pub tests: Vec<String>,
}

impl Program {
    /// Its tests, as they are told from those of other targets.
    pub fn names(&self) -> impl Iterator<Item = String> {
        self.tests.iter().map(|test| format!("{}::{test}", self.target))
    }
}

/// Makes the disk: the tests, what they call (`files`, at the same places), and the modules of all kernels.
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
    // What the kernel itself calls.
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
    fs::remove_dir_all(&root).context("remove what is on the disk now")?;
    Ok(disk)
}

/// Makes the archive that finds the disk with this kernel.
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
    fs::remove_dir_all(&root).context("remove what is in the archive now")?;
    Ok(path)
}

/// Copies a file to its place below a root; programs without what only a debugger reads.
fn place(root: &Path, file: &Path, program: bool) -> Result<()> {
    let target = root.join(file.strip_prefix("/").with_context(|| format!("{} is no whole path", file.display()))?);
    let folder = target.parent().context("a file lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    if program {
        return project::run(Command::new("strip").args(["--strip-debug", "-o"]).arg(&target).arg(file));
    }
    fs::copy(file, &target).with_context(|| format!("copy {}", file.display()))?;
    Ok(())
}

/// The shared libraries of a program, and what loads them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).stderr(Stdio::null()).output().context("run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    Ok(text.lines().filter_map(path).collect())
}

/// Installs a module, unpacked, below a folder; gives its path in there.
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
        None => bail!("the tests call {program}, and it is not here"),
    }
}
