//! How much of a file is in the page cache, as mincore(2) says to the file's owner: another call than the agent's.

use std::fs::File;
use std::io::{self, Write as _};
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
    drop_pages(&File::open(path).unwrap()).unwrap();
}

/// Makes a file of at least so many bytes, in whole MiB, on the disk: none of it is in the page cache.
pub fn make(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    let block = vec![0xa5; 1 << 20];
    (0..bytes.div_ceil(1 << 20)).try_for_each(|_| file.write_all(&block))?;
    drop_pages(&file)
}

fn drop_pages(file: &File) -> io::Result<()> {
    file.sync_all()?;
    Ok(fadvise(file, 0, None, Advice::DontNeed)?)
}
