//! Memory that the kernel holds for a process.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Write as _};
use std::os::unix::net::UnixStream;

use super::pace::Pace;

/// What a pipe holds by default.
const PIPE: usize = 64 << 10;
/// Bytes in one message: with its buffer's head it takes a page or two.
const MESSAGE: usize = 4 << 10;

/// Pipes that nobody reads.
pub fn pipe(bytes: u64, rate: u64) {
    allow_descriptors();
    let (block, mut pace) = (vec![7; PIPE], Pace::new(rate));
    let pipes: Vec<(PipeReader, PipeWriter)> = (0..bytes.div_ceil(PIPE as u64))
        .map(|_| {
            let (reader, mut writer) = std::io::pipe().unwrap();
            writer.write_all(&block).unwrap();
            pace.after(PIPE as u64);
            (reader, writer)
        })
        .collect();
    std::mem::forget(pipes);
}

/// Sockets that nobody reads.
pub fn socket(bytes: u64, rate: u64) {
    allow_descriptors();
    let (block, mut pace) = (vec![7; MESSAGE], Pace::new(rate));
    let (mut sent, mut pairs) = (0, Vec::new());
    while sent < bytes {
        let (one, other) = UnixStream::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        while sent < bytes && (&one).write(&block).is_ok() {
            sent += MESSAGE as u64;
            pace.after(MESSAGE as u64);
        }
        pairs.push((one, other));
    }
    std::mem::forget(pairs);
}

/// Empty files in a tmpfs, where an inode and a name stay for each.
pub fn name(folder: &str, count: u64, rate: u64) {
    let mut pace = Pace::new(rate);
    for number in 0..count {
        drop(File::create(format!("{folder}/{number:0200}")).unwrap());
        pace.after(1);
    }
}

/// As many as may be.
fn allow_descriptors() {
    let mut most = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the calls write and read the struct.
    let set = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut most);
        most.rlim_cur = most.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &most)
    };
    assert_eq!(set, 0, "setrlimit: {}", std::io::Error::last_os_error());
}

/// Allows only memory of one node (`MPOL_BIND`, set_mempolicy(2)).
pub fn bind(node: u64) {
    let nodes = 1u64 << node;
    // SAFETY: the kernel reads one word of the mask.
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, libc::MPOL_BIND, &raw const nodes, u64::BITS as u64) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}
