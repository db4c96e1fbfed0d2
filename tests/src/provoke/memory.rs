//! Memory that is touched page by page, in pages of the base size.

use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::ptr;

/// A mapping or a part of one. Unless it is given back, it stays until the process exits.
#[derive(Clone, Copy)]
pub struct Memory {
    start: *mut u8,
    bytes: usize,
}

// SAFETY: plain memory, accessed byte by byte with volatile reads and writes.
unsafe impl Send for Memory {}

impl Memory {
    /// Private anonymous memory.
    pub fn anonymous(bytes: usize) -> Memory {
        Memory::map(bytes, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, None)
    }

    /// Shared anonymous memory, which the kernel counts as shmem.
    pub fn shared(bytes: usize) -> Memory {
        Memory::map(bytes, libc::MAP_SHARED | libc::MAP_ANONYMOUS, None)
    }

    /// A whole file. The mapping allows writes, but nothing writes.
    pub fn file(file: &File) -> Memory {
        Memory::map(file.metadata().unwrap().len() as usize, libc::MAP_PRIVATE, Some(file))
    }

    fn map(bytes: usize, flags: i32, file: Option<&File>) -> Memory {
        if bytes == 0 {
            return Memory { start: ptr::dangling_mut(), bytes };
        }
        let protection = if file.is_some() { libc::PROT_READ } else { libc::PROT_READ | libc::PROT_WRITE };
        let fd = file.map_or(-1, AsRawFd::as_raw_fd);
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, fd, 0) };
        assert_ne!(start, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        // One fault per page, whatever the host's policy for huge pages. A kernel without huge pages returns an error.
        // SAFETY: advice on the mapping that was just made.
        unsafe { libc::madvise(start, bytes, libc::MADV_NOHUGEPAGE) };
        Memory { start: start.cast(), bytes }
    }

    /// The part that thread `index` of `count` touches.
    pub fn part(self, index: usize, count: usize) -> Memory {
        let bytes = self.bytes / count;
        // SAFETY: within the mapping.
        Memory { start: unsafe { self.start.add(index * bytes) }, bytes }
    }

    /// Writes a byte to every page.
    pub fn write(self) {
        for offset in (0..self.bytes).step_by(4096) {
            // SAFETY: within the mapping, which is writable.
            unsafe { self.start.add(offset).write_volatile(1) };
        }
    }

    /// Reads a byte of every page.
    pub fn read(self) {
        for offset in (0..self.bytes).step_by(4096) {
            // SAFETY: within the mapping.
            unsafe { self.start.add(offset).read_volatile() };
        }
    }

    /// Its first bytes.
    pub fn first(self, bytes: usize) -> Memory {
        assert!(bytes <= self.bytes);
        Memory { start: self.start, bytes }
    }

    /// Its pages, one by one.
    pub fn pages(self) -> impl Iterator<Item = Memory> {
        let page = move |offset| {
            // SAFETY: within the mapping.
            let start = unsafe { self.start.add(offset) };
            Memory { start, bytes: 4096.min(self.bytes - offset) }
        };
        (0..self.bytes).step_by(4096).map(page)
    }

    /// For system calls. Nobody may change what is there while it is a [`Buffer`].
    pub fn start(self) -> *mut u8 {
        self.start
    }

    pub fn bytes(self) -> usize {
        self.bytes
    }

    /// Gives it back.
    pub fn free(self) {
        if self.bytes == 0 {
            return;
        }
        // SAFETY: a whole mapping, which nobody uses any more.
        let result = unsafe { libc::munmap(self.start.cast(), self.bytes) };
        assert_eq!(result, 0, "munmap: {}", std::io::Error::last_os_error());
    }

    /// Locks it in memory.
    pub fn lock(self) {
        // SAFETY: within the mapping.
        let result = unsafe { libc::mlock(self.start.cast(), self.bytes) };
        assert_eq!(result, 0, "mlock: {}", std::io::Error::last_os_error());
    }
}

/// Fresh anonymous memory from the start of a page, as direct IO requires. Given back when dropped.
pub struct Buffer(Memory);

impl Buffer {
    pub fn new(bytes: usize) -> Buffer {
        Buffer(Memory::anonymous(bytes))
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: a mapping of this size, to which nothing else refers.
        unsafe { std::slice::from_raw_parts(self.0.start, self.0.bytes) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: a mapping of this size, to which nothing else refers.
        unsafe { std::slice::from_raw_parts_mut(self.0.start, self.0.bytes) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.0.free();
    }
}
