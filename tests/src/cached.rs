//! How much of a file is in the page cache, as mincore(2) says to the file's owner: another call than the agent's.

use std::fs::File;
use std::path::Path;

use rustix::fs::{Advice, fadvise};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::param::page_size;

/// Bytes, in whole pages.
pub fn cached(path: &Path) -> u64 {
    let file = File::open(path).unwrap();
    let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
    let mut pages = vec![0_u8; length.div_ceil(page_size())];
    // SAFETY: a new mapping, which nobody reads; the vector has a byte for each of its pages.
    let result = unsafe {
        let map = mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, &file, 0).unwrap();
        let result = libc::mincore(map, length, pages.as_mut_ptr());
        munmap(map, length).unwrap();
        result
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    (pages.iter().filter(|page| *page & 1 != 0).count() * page_size()) as u64
}

/// Writes the file back and drops what nobody has mapped.
pub fn forget(path: &Path) {
    let file = File::open(path).unwrap();
    file.sync_all().unwrap();
    fadvise(&file, 0, None, Advice::DontNeed).unwrap();
}
