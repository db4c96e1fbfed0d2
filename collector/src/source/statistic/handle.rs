//! Descriptors: kept open as long as there are enough of them, and read into one buffer.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, pread};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are left to everything else: connections, rings, maps, the record.
const OTHERS: u64 = 768;

/// The buffer at first, and at most. A cgroup on a host with a thousand disks has 100 KB of `io.stat`.
const BUFFER: usize = 16 * 1024;
const BUFFER_MAX: usize = 1024 * 1024;

/// One file of one cgroup.
#[derive(Debug)]
pub enum Handle {
    /// Opened for each reading: not opened yet, not worth a descriptor, or there was none left.
    Closed,
    /// Open.
    Open(OwnedFd),
    /// There is no such file.
    Absent,
    /// It cannot be read.
    Failed,
}

/// How many descriptors may be held, how many are, and the one buffer.
#[derive(Debug)]
pub struct Descriptors {
    /// There are enough for every file of every cgroup, those included that are not read at every tick.
    pub ample: bool,
    budget: usize,
    open: usize,
    /// A file stayed closed because the budget was used up.
    short: bool,
    buffer: Vec<u8>,
}

/// Takes all the descriptors that this process may have, and gives how many of them are for the files of cgroups.
pub fn raise() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let limit = if raised.is_ok() { limit.maximum } else { limit.current };
    let spare = limit.unwrap_or(u64::MAX).saturating_sub(OTHERS);
    usize::try_from(spare).unwrap_or(usize::MAX)
}

impl Descriptors {
    /// May hold this many.
    pub fn new(budget: usize) -> Descriptors {
        Descriptors { ample: false, budget, open: 0, short: false, buffer: vec![0; BUFFER] }
    }

    /// How many are held.
    pub fn open(&self) -> usize {
        self.open
    }

    /// How many may be.
    pub fn budget(&self) -> usize {
        self.budget
    }

    /// Whether no more can be held.
    pub fn is_full(&self) -> bool {
        self.open >= self.budget
    }

    /// Whether a file stayed closed, since the last call, because the budget was used up.
    pub fn was_short(&mut self) -> bool {
        std::mem::take(&mut self.short)
    }

    /// Reads a file from its beginning to its end; with `keep`, its descriptor stays open if there is room, otherwise it
    /// is closed.
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
                    // Others need more than was thought: what is open stays, and no more.
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

    /// The same for a file that is only ever read once.
    pub fn read_once(&mut self, directory: BorrowedFd<'_>, name: &CStr) -> Result<&[u8], Errno> {
        self.read(directory, name, &mut Handle::Closed, false)
    }

    /// Closes it, if it is open, and leaves it as `then`.
    pub fn close(&mut self, handle: &mut Handle, then: Handle) {
        if let Handle::Open(_) = std::mem::replace(handle, then) {
            self.open -= 1;
        }
    }
}

/// cgroupfs makes the text anew for each reading from the beginning, and gives as much as fits: what does not fit is read
/// again as a whole, so that it is of one moment.
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

    fn folder(name: &str) -> (std::path::PathBuf, File) {
        let path = std::env::temp_dir().join(format!("headroom-handle-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let directory = File::open(&path).unwrap();
        (path, directory)
    }

    #[test]
    fn a_file_that_stays_open_is_read_anew_each_time() {
        let (path, directory) = folder("open");
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
        assert!(matches!(other, Handle::Closed) && descriptors.open() == 0, "it need not stay");
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_long_file_is_read_as_a_whole_and_an_endless_one_not_at_all() {
        let (path, directory) = folder("long");
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
