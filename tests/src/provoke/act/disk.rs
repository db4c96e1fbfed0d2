//! Files: written, held in memory, read again and again.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::time::{Duration, Instant};

use super::pace::Pace;
use crate::memory::{Buffer, Memory};
use crate::thrash;

const BLOCK: usize = 64 << 10;
const LARGE: usize = 1 << 20;

pub fn append(path: &str, bytes: u64, rate: u64) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    let (block, mut pace) = (vec![7; BLOCK], Pace::new(rate));
    for _ in 0..bytes.div_ceil(BLOCK as u64) {
        file.write_all(&block).unwrap();
        pace.after(BLOCK as u64);
    }
}

/// The first bytes of a file, in locked pages.
pub fn hold(path: &str, bytes: u64) {
    let memory = Memory::file(&File::open(path).unwrap()).first(bytes as usize);
    memory.lock();
    memory.read();
}

pub fn read(path: &str, time: Duration, threads: u64) {
    let (file, end) = (File::open(path).unwrap(), Instant::now() + time);
    let again = || {
        while Instant::now() < end {
            thrash::read(&file, BLOCK);
        }
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(again))));
}

/// Each thread waits until each of its blocks is on the disk.
pub fn write(path: &str, time: Duration, threads: u64) {
    let mut open = OpenOptions::new();
    open.create(true).truncate(false).write(true).custom_flags(libc::O_DIRECT | libc::O_DSYNC);
    let (file, end) = (open.open(path).unwrap(), Instant::now() + time);
    let again = |thread: u64| {
        let mut block = Buffer::new(LARGE);
        block.fill(7);
        while Instant::now() < end {
            file.write_all_at(&block, thread * LARGE as u64).unwrap();
        }
    };
    let again = &again;
    std::thread::scope(|scope| (0..threads).for_each(|thread| drop(scope.spawn(move || again(thread)))));
}

/// Each thread reads one random block after the other.
pub fn scan(path: &str, time: Duration, threads: u64) {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).unwrap();
    let (blocks, end) = (file.metadata().unwrap().len() / LARGE as u64, Instant::now() + time);
    let again = |mut seed: u64| {
        let mut block = Buffer::new(LARGE);
        while Instant::now() < end {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            file.read_exact_at(&mut block, (seed >> 33) % blocks * LARGE as u64).unwrap();
        }
    };
    let again = &again;
    std::thread::scope(|scope| (0..threads).for_each(|thread| drop(scope.spawn(move || again(thread)))));
}

pub fn evict(path: &str, time: Duration) {
    let (file, end) = (File::open(path).unwrap(), Instant::now() + time);
    while Instant::now() < end {
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
}
