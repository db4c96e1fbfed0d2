//! Opens files that somebody without privileges may have put there: a FIFO, a terminal, a watchdog, a link to root's
//! files. What stands at a path is looked at first, which opens nothing, and opened only if it is a regular file of whoever
//! may have it there. Knows nothing about what files contain.

pub mod patience;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, StatVfs, fstat, fstatvfs, open, openat2, readlinkat,
    statat,
};

/// Limit on the length of a user's file in bytes, whatever the reader would take.
const USER_MAX: u64 = 4 << 20;

/// Who may have written what stands below a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// Only root: its links lead where root wants.
    Root,
    /// A user, by uid: no link is followed, no path leaves the directory, and only the user's own files count.
    User(u32),
    /// A process, below its own root. Paths are as the kernel tells them, so no link is among them.
    Process,
}

/// A path below a directory, and who may have written what stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    directory: PathBuf,
    below: PathBuf,
    owner: Owner,
}

impl Place {
    pub fn new(directory: impl Into<PathBuf>, owner: Owner) -> Place {
        Place { directory: directory.into(), below: PathBuf::new(), owner }
    }

    /// The same with a relative path appended.
    pub fn join(&self, path: impl AsRef<Path>) -> Place {
        Place { below: self.below.join(path), ..self.clone() }
    }

    /// The whole path, to show it.
    pub fn path(&self) -> PathBuf {
        // Appending nothing would append a slash, as for a directory.
        match self.below.as_os_str().is_empty() {
            true => self.directory.clone(),
            false => self.directory.join(&self.below),
        }
    }

    /// What stands there; `None` if nothing does. May block if a server is gone.
    pub fn look(&self) -> io::Result<Option<Seen>> {
        match self.find() {
            Ok(fd) => Ok(Some(Seen { stat: fstat(&fd)?, fd, owner: self.owner })),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn find(&self) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        // The kernel does not resolve links in the middle of a path either.
        let strict = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let resolve = match self.owner {
            Owner::Root => return open(self.path(), flags, Mode::empty()),
            Owner::User(_) => strict | ResolveFlags::BENEATH,
            Owner::Process => strict | ResolveFlags::IN_ROOT,
        };
        let directory = open(&self.directory, flags | OFlags::DIRECTORY, Mode::empty())?;
        // The directory itself.
        let below = if self.below.as_os_str().is_empty() { Path::new(".") } else { &self.below };
        openat2(&directory, below, flags | OFlags::NOFOLLOW, Mode::empty(), resolve)
    }

    /// Opens the file there for reading; `None` if there is none. A file longer than `max_bytes` is an error, and so is anything
    /// that is no file or not the owner's. No more than `max_bytes` are read, even if it grows.
    pub fn open(&self, max_bytes: u64) -> io::Result<Option<io::Take<File>>> {
        let Some(seen) = self.look()? else { return Ok(None) };
        let max_bytes = self.limit(max_bytes);
        seen.check()?;
        if seen.bytes() > max_bytes {
            return Err(too_long(max_bytes));
        }
        Ok(Some(seen.open()?.take(max_bytes)))
    }

    fn limit(&self, max_bytes: u64) -> u64 {
        match self.owner {
            Owner::User(_) => max_bytes.min(USER_MAX),
            Owner::Root | Owner::Process => max_bytes,
        }
    }

    /// What is in the directory there: at most so many entries, and of a user's directory only what is the user's. `None` if there is
    /// none.
    pub fn list(&self, most: usize) -> io::Result<Option<Listed>> {
        let Some(seen) = self.look()? else { return Ok(None) };
        if !FileType::from_raw_mode(seen.stat.st_mode).is_dir() {
            return Ok(None);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let directory = open(seen.same(), flags, Mode::empty())?;
        let mut listed = Listed { items: Vec::new(), whole: true };
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if listed.items.len() == most {
                listed.whole = false;
                break;
            }
            // It may have gone.
            let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
            let Ok(stat) = statat(&directory, name, flags) else { continue };
            if matches!(self.owner, Owner::User(uid) if uid != stat.st_uid) {
                continue;
            }
            listed.items.push(Item { name: OsString::from_vec(name.to_bytes().to_vec()), stat });
        }
        Ok(Some(listed))
    }

    /// What the link there says; `None` if there is none.
    pub fn link(&self) -> io::Result<Option<PathBuf>> {
        let Some(seen) = self.look()? else { return Ok(None) };
        if !FileType::from_raw_mode(seen.stat.st_mode).is_symlink() {
            return Ok(None);
        }
        let target = readlinkat(&seen.fd, "", Vec::new())?;
        Ok(Some(OsString::from_vec(target.into_bytes()).into()))
    }

    /// The content of the file there.
    pub fn read(&self, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
        let max_bytes = self.limit(max_bytes);
        let Some(file) = self.open(max_bytes)? else { return Ok(None) };
        let mut content = Vec::new();
        // Files of /proc have no length.
        file.into_inner().take(max_bytes + 1).read_to_end(&mut content)?;
        if content.len() as u64 > max_bytes { Err(too_long(max_bytes)) } else { Ok(Some(content)) }
    }
}

fn too_long(max_bytes: u64) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {max_bytes} bytes"))
}

/// What is in a directory.
#[derive(Debug)]
pub struct Listed {
    pub items: Vec<Item>,
    /// Whether that is all.
    pub whole: bool,
}

/// An entry of a directory.
#[derive(Debug)]
pub struct Item {
    pub name: OsString,
    /// Of a link, the link's own.
    pub stat: Stat,
}

impl Item {
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Length in bytes.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or(0)
    }

    /// Device and inode.
    pub fn id(&self) -> (u64, u64) {
        (self.stat.st_dev, self.stat.st_ino)
    }

    /// When it was written, in nanoseconds since the Unix epoch.
    pub fn written(&self) -> u64 {
        let seconds = u64::try_from(self.stat.st_mtime).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(self.stat.st_mtime_nsec)
    }
}

/// What stands at a path. It is not open yet.
#[derive(Debug)]
pub struct Seen {
    fd: OwnedFd,
    stat: Stat,
    owner: Owner,
}

impl Seen {
    /// Length in bytes.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or(0)
    }

    /// Device and inode.
    pub fn id(&self) -> (u64, u64) {
        (self.stat.st_dev, self.stat.st_ino)
    }

    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// The descriptor, which opens nothing.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// The very thing that was looked at, whatever its path leads to by now.
    fn same(&self) -> String {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd())
    }

    /// Whose file it is.
    pub fn uid(&self) -> u32 {
        self.stat.st_uid
    }

    /// The space of the filesystem that it is on.
    pub fn space(&self) -> io::Result<StatVfs> {
        Ok(fstatvfs(&self.fd)?)
    }

    /// Whether it is a regular file of its owner.
    fn check(&self) -> io::Result<()> {
        if !FileType::from_raw_mode(self.stat.st_mode).is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        match self.owner {
            Owner::User(uid) if uid != self.uid() => {
                let why = format!("it belongs to user {}, not to user {uid}", self.uid());
                Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
            }
            _ => Ok(()),
        }
    }

    /// Opens it for reading if it is a regular file of its owner.
    pub fn open(self) -> io::Result<File> {
        self.check()?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = open(self.same(), flags, Mode::empty())?;
        Ok(File::from(file))
    }
}

#[cfg(test)]
mod tests;
