//! Boots the system with the cases, and waits for its end.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::system::System;
use crate::vm::machine::{emulated, file, wait};

/// Megabytes: what a small host has, so that a case can fill it.
const MEMORY: &str = "2048";
/// A machine that runs longer is stopped.
const LIMIT: Duration = Duration::from_secs(60 * 60);
const COMMAND_LINE: &str = "root=/dev/vda rw console=ttyS0 panic=-1 nokaslr mitigations=off random.trust_cpu=on tsc=reliable \
    no_timer_check audit=0 quiet loglevel=4 systemd.show_status=0";

/// What a run of the machine produced.
#[derive(Debug)]
pub struct Outcome {
    /// What the cases printed.
    pub cases: String,
    /// End of the output of the kernel and of systemd.
    pub console: String,
    /// Whether it was stopped because it took too long.
    pub late: bool,
    pub wall: Duration,
}

/// Whatever is written to the system's disk is gone afterwards.
pub fn run(system: &System, input: &Path) -> Result<Outcome> {
    let at = |name: &str| system.folder.join(name);
    let (cases, console) = (at("cases"), at("console"));
    let mut qemu = emulated(MEMORY);
    // Temporary copies of the disks are made where there is room, and have no name.
    qemu.env("TMPDIR", &system.folder);
    qemu.arg("-serial").arg(file("file:", &console)).arg("-serial").arg(file("file:", &cases));
    qemu.arg("-kernel").arg(at("vmlinuz")).arg("-initrd").arg(at("initrd")).args(["-append", COMMAND_LINE]);
    for (name, path) in [("system", &*at("disk.ext4")), ("input", input)] {
        qemu.arg("-drive").arg(file(&format!("id={name},format=raw,if=none,cache=unsafe,snapshot=on,file="), path));
        qemu.args(["-device", &format!("virtio-blk-pci,drive={name}")]);
    }
    qemu.args(["-device", "virtio-rng-pci"]);
    let (late, wall) = wait(&mut qemu, &at("qemu"), LIMIT).context("run the machine")?;
    let read = |name: &str| String::from_utf8_lossy(&fs::read(at(name)).unwrap_or_default()).replace('\r', "");
    Ok(Outcome { cases: read("cases"), console: read("console") + &read("qemu"), late, wall })
}
