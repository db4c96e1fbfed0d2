//! Tries operations that an agent must not be able to do. Prints a line for each: `NAME CAPABILITY ERRNO`, 0 if it was allowed;
//! the first line lists the capabilities. It does no harm if allowed: the targets do not exist, or the effect ends with this
//! process.

use std::ffi::CString;
use std::fs;
use std::io;

use libc::{AF_INET, AT_FDCWD, CLONE_NEWUTS, IPPROTO_ICMP, O_RDONLY, O_WRONLY, PTRACE_SEIZE, S_IFCHR, SOCK_RAW};

/// Uid and gid of `nobody`.
const NOBODY: usize = 65534;

/// Tries all of them: on a file and a process of another user, and with a new name in a folder.
pub fn run(file: &str, pid: i32, name: &str) {
    let [file, name] = [file, name].map(|text| CString::new(text).unwrap());
    let [file, name, root] = [&*file, &*name, c"/"].map(|text| text.as_ptr().addr());
    let (at, pid) = (AT_FDCWD as usize, pid as usize);
    let attempts: [(&str, &str, libc::c_long, [usize; 4]); 14] = [
        ("read", "CAP_DAC_READ_SEARCH", libc::SYS_openat, [at, file, O_RDONLY as usize, 0]),
        ("write", "CAP_DAC_OVERRIDE", libc::SYS_openat, [at, file, O_WRONLY as usize, 0]),
        ("chmod", "CAP_FOWNER", libc::SYS_fchmodat, [at, file, 0o600, 0]),
        ("chown", "CAP_CHOWN", libc::SYS_fchownat, [at, file, NOBODY, NOBODY]),
        ("kill", "CAP_KILL", libc::SYS_kill, [pid, 0, 0, 0]),
        ("ptrace", "CAP_SYS_PTRACE", libc::SYS_ptrace, [PTRACE_SEIZE as usize, pid, 0, 0]),
        // Another null device.
        ("mknod", "CAP_MKNOD", libc::SYS_mknodat, [at, name, S_IFCHR as usize | 0o600, 0x103]),
        // A file system of type "/".
        ("mount", "CAP_SYS_ADMIN", libc::SYS_mount, [root, root, root, 0]),
        ("unshare", "CAP_SYS_ADMIN", libc::SYS_unshare, [CLONE_NEWUTS as usize, 0, 0, 0]),
        ("module", "CAP_SYS_MODULE", libc::SYS_init_module, [0; 4]),
        ("reboot", "CAP_SYS_BOOT", libc::SYS_reboot, [0; 4]),
        (
            "raw socket",
            "CAP_NET_RAW",
            libc::SYS_socket,
            [AF_INET as usize, SOCK_RAW as usize, IPPROTO_ICMP as usize, 0],
        ),
        ("setgid", "CAP_SETGID", libc::SYS_setgid, [NOBODY, 0, 0, 0]),
        ("setuid", "CAP_SETUID", libc::SYS_setuid, [NOBODY, 0, 0, 0]),
    ];
    let status = fs::read_to_string("/proc/self/status").unwrap();
    println!("has\t{}\t0", status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap());
    for (name, capability, number, [a, b, c, d]) in attempts {
        // SAFETY: the strings outlive the call, the rest are numbers; there is one thread, which exits soon after.
        let done = unsafe { libc::syscall(number, a, b, c, d, 0) };
        let errno = if done < 0 { io::Error::last_os_error().raw_os_error().unwrap() } else { 0 };
        println!("{name}\t{capability}\t{errno}");
    }
}
