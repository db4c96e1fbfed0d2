//! `hold ANON SHMEM FILE BYTES DEVICE CPU CGROUP…`: joins the cgroups, allocates memory of each type (in bytes; writes the
//! file), reads as many bytes of the device past the page cache, unless that is `-`, and spins for CPU milliseconds.
//! Reports its CPU time from the kernel in microseconds: the total, and that before it joined.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};

use crate::join::join;
use crate::memory::{Buffer, Memory};

/// Bytes per write and per read.
const BLOCK: usize = 1 << 20;

pub fn run(anon: usize, shmem: usize, (path, bytes): (&str, usize), device: &str, cpu_ms: u64, cgroups: &[&str]) {
    let before = cpu_us();
    join(cgroups);
    let mut file = File::create(path).unwrap();
    let block = vec![7; BLOCK];
    (0..bytes / BLOCK).for_each(|_| file.write_all(&block).unwrap());
    // Otherwise writeback and its buffers are charged during the comparison.
    file.sync_all().unwrap();
    drop(block);
    if device != "-" {
        read_past_the_cache(device, bytes);
    }
    Memory::anonymous(anon).write();
    Memory::shared(shmem).write();
    while cpu_us() - before < cpu_ms * 1000 {
        std::hint::black_box(before);
    }
    println!("{} {before}", cpu_us());
    let _ = std::io::stdin().read(&mut [0]);
}

fn read_past_the_cache(path: &str, bytes: usize) {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).unwrap();
    let mut buffer = Buffer::new(BLOCK);
    for offset in (0..bytes).step_by(BLOCK) {
        file.read_exact_at(&mut buffer, offset as u64).unwrap();
    }
}

/// CPU time of this process so far, user and system, in microseconds (getrusage(2)).
fn cpu_us() -> u64 {
    // SAFETY: a C struct of numbers, for which zero is valid, and which the call fills in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &mut usage), 0);
        usage
    };
    [usage.ru_utime, usage.ru_stime].iter().map(|time| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64).sum()
}
