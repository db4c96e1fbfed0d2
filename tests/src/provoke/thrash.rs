//! `thrash file=PATH [rounds=N] [threads=N]`: reads a file larger than the cgroup's limit again and again.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::option::{number, text};

const BLOCK: usize = 1 << 20;

pub fn run(arguments: &[String]) {
    let file = File::open(text(arguments, "file").expect("which file")).unwrap();
    let rounds = number(arguments, "rounds").unwrap_or(1);
    std::thread::scope(|scope| {
        for _ in 0..number(arguments, "threads").unwrap_or(1) {
            scope.spawn(|| (0..rounds).for_each(|_| read(&file, BLOCK)));
        }
    });
}

/// Reads a file from start to end, in blocks of this size.
pub fn read(file: &File, block: usize) {
    let (mut buffer, mut offset) = (vec![0; block], 0);
    loop {
        match file.read_at(&mut buffer, offset).unwrap() {
            0 => return,
            bytes => offset += bytes as u64,
        }
    }
}
