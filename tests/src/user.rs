//! A user who is neither root nor anybody else, and who has exactly the capabilities that a test gives him.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use caps::{CapSet, Capability, CapsHashSet};

use crate::binary::binary;

/// The number of the user and of his group: nobody's on any system that was looked at.
pub const ID: u32 = 64_321;

/// Gives him a folder, and in it the binary that is tested: where that was built, he may not be let in.
pub fn install(folder: &Path) -> PathBuf {
    let program = folder.join("headroom");
    fs::hard_link(binary(), &program).or_else(|_| fs::copy(binary(), &program).map(drop)).unwrap();
    chown(folder, Some(ID), Some(ID)).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

/// Has a command run as him. As at a login, everything else is given up on the way.
pub fn turn(command: &mut Command, capabilities: &[Capability]) {
    let wanted: CapsHashSet = capabilities.iter().copied().collect();
    let turn = move || {
        // SAFETY: system calls with numbers, and with a list of none.
        let done = unsafe {
            [
                libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0),
                libc::setgroups(0, std::ptr::null()),
                libc::setgid(ID),
                libc::setuid(ID),
            ]
        };
        if done.iter().any(|done| *done < 0) {
            return Err(io::Error::last_os_error());
        }
        let kept = caps::set(None, CapSet::Permitted, &wanted)
            .and_then(|()| caps::set(None, CapSet::Inheritable, &wanted))
            .and_then(|()| caps::set(None, CapSet::Ambient, &wanted));
        kept.map_err(io::Error::other)
    };
    // SAFETY: between fork and exec there are system calls; what memory is taken, one thread alone takes.
    unsafe { command.pre_exec(turn) };
}
