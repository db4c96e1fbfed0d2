//! One virtual machine: an emulated PC that boots a kernel, runs what is on its disk, and is removed.
//!
//! Always emulated: hardware virtualization needs permissions, support by the host, and kernels that work with it. Delays
//! follow the clock; costs measured inside mean nothing.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::kernel::Kernel;

/// Megabytes. Below 768 the kernel disables huge pages, and other tests would not fit.
const MEMORY: u32 = 1024;
/// CPUs of each machine.
pub const CPUS: u32 = 2;
/// Bytes of the second disk, which tests may use as they like.
const SPARE: u64 = 512 << 20;
const COMMAND_LINE: &str = "console=ttyS0 panic=-1 oops=panic nokaslr mitigations=off random.trust_cpu=on tsc=reliable \
    no_timer_check audit=0 selinux=0 apparmor=0 psi=1 rcupdate.rcu_expedited=1 quiet loglevel=4";

/// What a run of the machine produced.
#[derive(Debug)]
pub struct Outcome {
    /// Output of the tests.
    pub tests: String,
    /// End of the output of the kernel and of the test programs.
    pub console: String,
    /// Whether it was stopped because it took too long.
    pub late: bool,
    pub wall: Duration,
}

/// How a machine differs from the others.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Added to the kernel's command line.
    pub parameters: String,
    /// Memory nodes, of the same size.
    pub nodes: u32,
}

/// Boots the machine and waits for its end.
pub fn run(
    folder: &Path,
    kernel: &Kernel,
    shape: &Shape,
    disk: &Path,
    archive: &Path,
    limit: Duration,
) -> Result<Outcome> {
    let at = |end: &str| folder.join(format!("{}.{end}", kernel.name));
    let (tests, console, spare) = (at("tests"), at("console"), at("spare"));
    File::create(&spare).and_then(|file| file.set_len(SPARE)).context("make the second disk")?;
    let line = format!("{COMMAND_LINE} {}", shape.parameters);
    let mut qemu = emulated(&MEMORY.to_string());
    for node in (0..shape.nodes).filter(|_| shape.nodes > 1) {
        qemu.args(["-object", &format!("memory-backend-ram,id=m{node},size={}M", MEMORY / shape.nodes)]);
        qemu.args(["-numa", &format!("node,memdev=m{node}")]);
    }
    qemu.arg("-serial").arg(file("file:", &console)).arg("-serial").arg(file("file:", &tests));
    qemu.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(archive).args(["-append", &line]);
    // Each machine writes to a temporary copy of the disk.
    for (name, path) in [("system", disk), ("spare", &spare)] {
        qemu.arg("-drive").arg(file(&format!("id={name},format=raw,if=none,cache=unsafe,snapshot=on,file="), path));
        qemu.args(["-device", &format!("virtio-blk-pci,drive={name}")]);
    }
    let (late, wall) = wait(&mut qemu, &at("qemu"), limit)?;
    let _ = fs::remove_file(&spare);
    let read = |path: &PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).replace('\r', "");
    let (tests, mut console) = (read(&tests), read(&console));
    console += &read(&at("qemu"));
    Ok(Outcome { tests, console, late, wall })
}

/// A machine with so many megabytes, without a disk.
pub fn emulated(memory: &str) -> Command {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-nodefaults", "-no-user-config", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"]);
    qemu.args(["-m", memory, "-smp", &CPUS.to_string(), "-display", "none", "-no-reboot"]);
    qemu
}

/// Runs a machine until it ends, or for so long. Returns whether it was stopped then, and how long it ran; `log` gets its messages.
pub fn wait(qemu: &mut Command, log: &Path, limit: Duration) -> Result<(bool, Duration)> {
    let begun = Instant::now();
    let log = File::create(log).context("make qemu's log")?;
    let mut child = Guard(
        qemu.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().context("run qemu-system-x86_64")?,
    );
    loop {
        if child.0.try_wait().context("wait for qemu")?.is_some() {
            return Ok((false, begun.elapsed()));
        }
        if begun.elapsed() > limit {
            return Ok((true, begun.elapsed()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// An option that ends with a path. In qemu a comma is escaped by another.
pub fn file(option: &str, path: &Path) -> String {
    format!("{option}{}", path.display().to_string().replace(',', ",,"))
}

/// Kills the process when dropped.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
