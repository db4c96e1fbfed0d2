//! An unprivileged user with exactly the capabilities that a test gives it.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use caps::{CapSet, Capability, CapsHashSet};

use crate::binary::binary;

/// Its uid and gid, which no known system uses.
pub const ID: u32 = 64_321;

/// Creates a folder for this user with a copy of the binary under test: it may not be able to reach the original.
pub fn install(folder: &Path) -> PathBuf {
    let program = folder.join("headroom");
    fs::hard_link(binary(), &program).or_else(|_| fs::copy(binary(), &program).map(drop)).unwrap();
    chown(folder, Some(ID), Some(ID)).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

/// Makes a command run as this user, with these capabilities only and no supplementary groups.
pub fn run_as(command: &mut Command, capabilities: &[Capability]) {
    let wanted: CapsHashSet = capabilities.iter().copied().collect();
    let become_user = move || {
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
    unsafe { command.pre_exec(become_user) };
}
