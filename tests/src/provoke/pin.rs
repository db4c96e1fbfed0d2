//! `pin BYTES CGROUP…`: joins the cgroups and has the kernel pin anonymous memory, as drivers do for devices: it registers it as a buffer
//! of an io_uring (FOLL_PIN and FOLL_LONGTERM). Reports the bytes, and those that the kernel says this process has pinned (VmPin).

use std::io::Read as _;

use crate::join::join;
use crate::memory::Memory;

/// IORING_REGISTER_BUFFERS (include/uapi/linux/io_uring.h).
const REGISTER_BUFFERS: libc::c_uint = 0;
/// The size of `struct io_uring_params`.
const PARAMETERS: usize = 120;

pub fn run(bytes: usize, cgroups: &[&str]) {
    join(cgroups);
    let memory = Memory::anonymous(bytes);
    memory.write();
    let mut parameters = [0u8; PARAMETERS];
    // SAFETY: the kernel reads and writes a structure of that size. The ring stays open until this process ends.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
    assert!(ring >= 0, "io_uring_setup: {}", std::io::Error::last_os_error());
    let buffer = libc::iovec { iov_base: memory.start().cast(), iov_len: bytes };
    // SAFETY: one buffer, which is a mapping of this process that stays.
    let result = unsafe { libc::syscall(libc::SYS_io_uring_register, ring, REGISTER_BUFFERS, &raw const buffer, 1) };
    assert_eq!(result, 0, "io_uring_register: {}", std::io::Error::last_os_error());
    println!("{bytes} {}", pinned());
    let _ = std::io::stdin().read(&mut [0]);
}

fn pinned() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPin:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
