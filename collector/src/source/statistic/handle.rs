//! File descriptors of cgroup files: kept open up to a limit, and read into one shared buffer.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::source::cgroup::own_limit;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, pread};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors reserved for everything else: connections, rings, maps, recordings.
const RESERVED: u64 = 768;

/// Initial and maximum size of the buffer in bytes. On a host with a thousand disks `io.stat` of a cgroup has 100 KB.
const BUFFER: usize = 16 * 1024;
const BUFFER_MAX: usize = 1024 * 1024;

#[derive(Debug)]
pub enum Handle {
    /// Opened for each reading: new, not worth keeping open, or no descriptor was free.
    Closed,
    Open(OwnedFd),
    /// Read elsewhere: it exists, and the pass over all cgroups has its numbers.
    Given,
    /// The file does not exist.
    Absent,
    /// The file could not be read.
    Failed,
}

/// The descriptor budget, its use, and the shared buffer.
#[derive(Debug)]
pub struct Descriptors {
    /// The budget covers every file of every cgroup, including those that are not read every tick.
    pub enough_for_all: bool,
    budget: usize,
    open: usize,
    /// A file stayed closed because the budget was used up.
    short: bool,
    buffer: Vec<u8>,
}

/// What the kernel charges to whoever keeps a cgroup file open, in bytes, with its inode and directory entry (measured on Linux 6.18).
const FILE_BYTES: u64 = 6500;
/// The share of this process's memory limit that open cgroup files may take: they are charged to it, and how many there are is
/// up to whoever may create cgroups.
const SHARE: u64 = 4;

/// How many cgroup files may be kept open: as many as the limits on descriptors, which it raises, and on memory allow.
pub fn budget() -> usize {
    let memory = own_limit().map_or(u64::MAX, |limit| limit / SHARE / FILE_BYTES);
    raise().min(usize::try_from(memory).unwrap_or(usize::MAX))
}

/// Raises the soft limit on descriptors to the hard limit, and returns how many may be used for cgroup files.
pub fn raise() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let limit = if raised.is_ok() { limit.maximum } else { limit.current };
    let spare = limit.unwrap_or(u64::MAX).saturating_sub(RESERVED);
    usize::try_from(spare).unwrap_or(usize::MAX)
}

impl Descriptors {
    pub fn new(budget: usize) -> Descriptors {
        Descriptors { enough_for_all: false, budget, open: 0, short: false, buffer: vec![0; BUFFER] }
    }

    /// Number of descriptors in use.
    pub fn open(&self) -> usize {
        self.open
    }

    pub fn budget(&self) -> usize {
        self.budget
    }

    pub fn is_full(&self) -> bool {
        self.open >= self.budget
    }

    /// Whether a file stayed closed, since the last call, because the budget was used up.
    pub fn was_short(&mut self) -> bool {
        std::mem::take(&mut self.short)
    }

    /// Reads a whole file. With `keep`, its descriptor stays open if there is room; otherwise it is closed.
    pub fn read(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        handle: &mut Handle,
        keep: bool,
    ) -> Result<&[u8], Errno> {
        let length = match handle {
            Handle::Open(fd) => {
                let length = fill(fd.as_fd(), &mut self.buffer)?;
                if !keep {
                    self.close(handle, Handle::Closed);
                }
                length
            }
            _ => {
                let opened = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty());
                if matches!(opened, Err(Errno::MFILE | Errno::NFILE)) {
                    // The process needs more descriptors than reserved: keep what is open, but open no more.
                    self.budget = self.open;
                    self.short = true;
                }
                let fd = opened?;
                let length = fill(fd.as_fd(), &mut self.buffer)?;
                *handle = Handle::Closed;
                if keep && !self.is_full() {
                    self.open += 1;
                    *handle = Handle::Open(fd);
                } else if keep {
                    self.short = true;
                }
                length
            }
        };
        Ok(&self.buffer[..length])
    }

    /// Reads a whole file without keeping it open.
    pub fn read_once(&mut self, directory: BorrowedFd<'_>, name: &CStr) -> Result<&[u8], Errno> {
        self.read(directory, name, &mut Handle::Closed, false)
    }

    /// Closes the handle if it is open, and sets it to `then`.
    pub fn close(&mut self, handle: &mut Handle, then: Handle) {
        if let Handle::Open(_) = std::mem::replace(handle, then) {
            self.open -= 1;
        }
    }
}

/// cgroupfs generates the text on each read from offset 0 and returns what fits. If it does not fit, it is read again
/// as a whole, so that the content is consistent.
fn fill(fd: BorrowedFd<'_>, buffer: &mut Vec<u8>) -> Result<usize, Errno> {
    loop {
        match pread(fd, &mut buffer[..], 0) {
            Ok(length) if length == buffer.len() && length < BUFFER_MAX => buffer.resize(2 * length, 0),
            Ok(length) if length == buffer.len() => return Err(Errno::FBIG),
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};

    fn test_directory(name: &str) -> (std::path::PathBuf, File) {
        let path = std::env::temp_dir().join(format!("headroom-handle-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let directory = File::open(&path).unwrap();
        (path, directory)
    }

    #[test]
    fn an_open_file_is_read_again_each_time() {
        let (path, directory) = test_directory("open");
        let (mut descriptors, mut handle) = (Descriptors::new(1), Handle::Closed);
        for text in ["1\n", "22222\n", ""] {
            fs::write(path.join("a"), text).unwrap();
            assert_eq!(descriptors.read(directory.as_fd(), c"a", &mut handle, true), Ok(text.as_bytes()));
            assert!(matches!(handle, Handle::Open(_)));
            assert_eq!(descriptors.open(), 1);
        }
        let mut other = Handle::Closed;
        assert_eq!(descriptors.read(directory.as_fd(), c"a", &mut other, true), Ok(&b""[..]));
        assert!(matches!(other, Handle::Closed) && descriptors.was_short() && !descriptors.was_short());
        descriptors.close(&mut handle, Handle::Absent);
        descriptors.close(&mut handle, Handle::Absent);
        assert_eq!(descriptors.open(), 0);
        assert!(descriptors.read(directory.as_fd(), c"a", &mut other, true).is_ok());
        assert!(matches!(other, Handle::Open(_)), "there is room again");
        assert_eq!(descriptors.read(directory.as_fd(), c"a", &mut other, false), Ok(&b""[..]));
        assert!(matches!(other, Handle::Closed) && descriptors.open() == 0, "closed without `keep`");
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn long_files_are_read_whole_and_endless_ones_fail() {
        let (path, directory) = test_directory("long");
        let mut descriptors = Descriptors::new(0);
        for length in [BUFFER - 1, BUFFER, BUFFER + 1, 5 * BUFFER] {
            let text = vec![b'x'; length];
            fs::write(path.join("a"), &text).unwrap();
            assert_eq!(descriptors.read_once(directory.as_fd(), c"a"), Ok(text.as_slice()));
        }
        assert_eq!(descriptors.read_once(directory.as_fd(), c"/dev/zero"), Err(Errno::FBIG));
        assert_eq!(descriptors.read_once(directory.as_fd(), c"b"), Err(Errno::NOENT));
        assert_eq!(descriptors.read_once(directory.as_fd(), c"."), Err(Errno::ISDIR));
        fs::remove_dir_all(path).unwrap();
    }
}
