//! A user's files that are named like the CUDA driver's library: one without end that takes no disk, and many.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, chown};
use std::path::Path;
use std::ptr::null_mut;

const NAME: &str = "libcuda.so.1";
const PAGE: usize = 4096;
/// Size of the endless one, and of its table of symbols, in bytes.
const SIZE: u64 = 945 << 20;
const SYMBOLS: u64 = 900 << 20;
/// `sh_type` of the table of symbols (elf.h, SHT_DYNSYM).
const DYNSYM: u32 = 11;

/// The first page of a file, mapped as code until this is dropped: so the agent finds it in /proc/PID/maps.
pub struct Mapped(*mut libc::c_void);

impl Mapped {
    fn of(file: &File) -> Mapped {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE);
        // SAFETY: a new mapping of an open file, which nobody reads or runs.
        let at = unsafe { libc::mmap(null_mut(), PAGE, protection, flags, file.as_raw_fd(), 0) };
        assert_ne!(at, libc::MAP_FAILED);
        Mapped(at)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping of `of`, of which there is no reference.
        unsafe { libc::munmap(self.0, PAGE) };
    }
}

fn copy(library: &Path, folder: &Path, uid: u32) -> File {
    fs::create_dir(folder).unwrap();
    let path = folder.join(NAME);
    fs::copy(library, &path).unwrap();
    chown(&path, Some(uid), None).unwrap();
    File::options().read(true).write(true).open(&path).unwrap()
}

/// A library that says that nearly all of it is symbols.
pub fn sparse(folder: &Path, library: &Path, uid: u32) -> Mapped {
    let file = copy(library, &folder.join("sparse"), uid);
    let own = fs::read(library).unwrap();
    let sections = u64::from_le_bytes(own[40..48].try_into().unwrap()) as usize;
    let count = u16::from_le_bytes([own[60], own[61]]) as usize;
    let is = |at: &usize| own[at + 4..at + 8] == DYNSYM.to_le_bytes();
    let symbols = (0..count).map(|index| sections + 64 * index).find(is).unwrap();
    file.write_all_at(&SYMBOLS.to_le_bytes(), symbols as u64 + 32).unwrap();
    file.set_len(SIZE).unwrap();
    Mapped::of(&file)
}

/// As many real ones.
pub fn copies(folder: &Path, library: &Path, uid: u32, count: usize) -> impl Iterator<Item = Mapped> {
    (0..count).map(move |number| Mapped::of(&copy(library, &folder.join(format!("copy{number}")), uid)))
}
