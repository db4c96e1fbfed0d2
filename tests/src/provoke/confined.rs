//! Limits itself as the agent does, or not, and then tries what the agent must not be able to do, and what it must. Prints a line for
//! each: `NAME ERRNO`, 0 if it was allowed. It does no harm if allowed: the calls have arguments that fail, or the effect ends
//! with this process.

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::Path;

use collector::config::Config;
use collector::confine::{self, Allowed, user};
use collector::privilege::{self, Needs};
use libc::{AT_FDCWD, CLONE_FS, CLONE_NEWUSER, CLONE_NEWUTS, O_CREAT, O_RDONLY, O_WRONLY, PTRACE_SEIZE, c_long};

/// `folder` has `own`, where the agent may write, `other`, where everybody may, and `secret`, which only root may read.
pub fn run(uid: &str, transfer: bool, folder: &str) {
    let folder = Path::new(folder);
    let mut config = Config { user: uid.into(), lock: folder.join("lock"), ..Config::default() };
    config.journal.dir = folder.join("own");
    config.transfer.enabled = transfer;
    if uid != "free" {
        let user = user::find(&config).unwrap().unwrap();
        user.take_over(&config).unwrap();
        privilege::drop_unneeded(Needs { transfer, inspect: false }, || user.become_it()).unwrap();
        for limit in confine::enter(&Allowed::of(&config)) {
            println!("limit {}\t{}", limit.name, i32::from(limit.set.is_err()));
        }
    }
    calls();
    for (name, path, flags) in [
        ("write own", "own/file", O_WRONLY | O_CREAT),
        ("create other", "other/new", O_WRONLY | O_CREAT),
        ("write other", "other/file", O_WRONLY),
        ("read secret", "secret", O_RDONLY),
    ] {
        let path = CString::new(folder.join(path).to_str().unwrap()).unwrap();
        tell(name, libc::SYS_openat, [AT_FDCWD as usize, path.as_ptr().addr(), flags as usize, 0o600]);
    }
    // SAFETY: calls with numbers, and with a structure that lives.
    let (dumpable, core, uid) = unsafe {
        let mut core = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
        assert_eq!(libc::getrlimit(libc::RLIMIT_CORE, &mut core), 0);
        (libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0), core.rlim_max, libc::geteuid())
    };
    println!("dumpable\t{dumpable}\ncore\t{}\nuid\t{uid}", core.min(1));
    assert_eq!(
        std::thread::spawn(|| fs::read("/proc/self/stat").is_ok()).join().ok(),
        Some(true),
        "threads still start"
    );
}

/// Each has arguments that the kernel refuses in another way if the call itself is allowed.
fn calls() {
    let bpf = |command: usize| [command, 0, 0, 0];
    let path = c"/nonexistent".as_ptr().addr();
    let attempts: [(&str, c_long, [usize; 4]); 16] = [
        ("execve", libc::SYS_execve, [path, 0, 0, 0]),
        ("execveat", libc::SYS_execveat, [AT_FDCWD as usize, path, 0, 0]),
        // No process has the number 0.
        ("ptrace", libc::SYS_ptrace, [PTRACE_SEIZE as usize, 0, 0, 0]),
        ("process_vm_readv", libc::SYS_process_vm_readv, [0, 0, 0, 0]),
        ("mount", libc::SYS_mount, [path, path, path, 0]),
        ("unshare", libc::SYS_unshare, [CLONE_NEWUTS as usize, 0, 0, 0]),
        // These flags exclude each other.
        ("clone", libc::SYS_clone, [(CLONE_NEWUSER | CLONE_FS) as usize, 0, 0, 0]),
        ("clone3", libc::SYS_clone3, [0, 0, 0, 0]),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, [usize::MAX, 0, 0, 0]),
        ("setuid", libc::SYS_setuid, [0, 0, 0, 0]),
        ("chroot", libc::SYS_chroot, [path, 0, 0, 0]),
        // From include/uapi/linux/bpf.h.
        ("BPF_PROG_LOAD", libc::SYS_bpf, bpf(5)),
        ("BPF_MAP_CREATE", libc::SYS_bpf, bpf(0)),
        ("BPF_OBJ_GET", libc::SYS_bpf, bpf(7)),
        ("BPF_LINK_CREATE", libc::SYS_bpf, bpf(28)),
        ("BPF_ITER_CREATE", libc::SYS_bpf, bpf(33)),
    ];
    for (name, number, arguments) in attempts {
        tell(name, number, arguments);
    }
}

fn tell(name: &str, number: c_long, [a, b, c, d]: [usize; 4]) {
    // SAFETY: the strings outlive the call, the rest are numbers, and null where a structure would be.
    let done = unsafe { libc::syscall(number, a, b, c, d, 0usize, 0usize) };
    let errno = if done < 0 { io::Error::last_os_error().raw_os_error().unwrap() } else { 0 };
    println!("{name}\t{errno}");
}
