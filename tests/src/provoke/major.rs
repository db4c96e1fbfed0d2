//! `major FILE PAGES CGROUP…`: joins the cgroups, then touches this many pages of a file that are not in the page cache.

use std::fs::File;
use std::ptr::null_mut;

use rustix::fs::{Advice as FileAdvice, fadvise};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap};

use crate::join::{faults, join, report};

const PAGE: usize = 4096;
/// Distance between touched pages, so that their neighbours stay out of the cache.
const STRIDE: usize = 16 * PAGE;

pub fn run(file: &str, pages: usize, cgroups: &[&str]) {
    let file = File::open(file).unwrap();
    let length = file.metadata().unwrap().len() as usize;
    assert!(length >= pages * STRIDE, "the file is too small");
    // Pages that are not yet written back cannot be dropped.
    file.sync_all().unwrap();
    fadvise(&file, 0, None, FileAdvice::DontNeed).unwrap();
    // SAFETY: a new mapping of a file that nobody changes.
    let memory = unsafe {
        let memory = mmap(null_mut(), length, ProtFlags::READ, MapFlags::SHARED, &file, 0).unwrap();
        // No read-ahead.
        madvise(memory, length, Advice::Random).unwrap();
        memory.cast::<u8>()
    };
    join(cgroups);
    let before = faults();
    for index in 0..pages {
        // SAFETY: within the mapping, see above.
        unsafe { memory.add(index * STRIDE).read_volatile() };
    }
    report(before);
}
