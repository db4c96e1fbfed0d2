//! Walks a hierarchy. Users nest cgroups deeper than any path can name, with any bytes as names, and take away the permission
//! to read them: each directory is opened from its parent, and one that cannot be read ends nothing but itself.

use std::ffi::CString;
use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context as _, Result};
use collector_core::cgroup::{self, Id, LONGEST_PATH};
use collector_core::text;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, fstat, open, openat, statat};
use rustix::io::Errno;

use super::Hierarchy;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Levels whose directories stay open. From below these the way back leads through `..`.
const OPEN: usize = 32;

/// Buffer for reading a directory, in bytes.
const BUFFER: usize = 16 * 1024;

/// Directories that could not be read: which cgroups are in them is not known.
#[derive(Debug, Default)]
pub struct Unread {
    pub count: u64,
    /// The path and the error of the first.
    first: Option<(String, Errno)>,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the cgroups in {} directories could not be read", self.count)?;
        let Some((path, why)) = &self.first else { return Ok(()) };
        write!(f, ", first {path}: {why}")
    }
}

/// A directory on the way down.
struct Level {
    /// Closed if it is deep, and there is a deeper one.
    directory: Option<OwnedFd>,
    inode: u64,
    /// Directories in it that were not visited yet.
    names: Vec<CString>,
    /// Bytes of the path that are its own.
    path: usize,
}

struct Walk<'a> {
    hierarchy: u64,
    found: &'a mut dyn FnMut(Id, &str),
    levels: Vec<Level>,
    /// The path of the deepest level; once too long to be told, no more is added.
    path: Vec<u8>,
    buffer: Vec<MaybeUninit<u8>>,
    unread: Unread,
}

/// Calls `found` with the id and path of every cgroup of a hierarchy, including the root (`/`), each after the one above it. A
/// directory that vanishes during the walk is skipped: its death is a separate event.
///
/// # Errors
/// The mount point cannot be read, or this process or the host is short of descriptors or memory.
pub fn walk(hierarchy: &Hierarchy, found: &mut dyn FnMut(Id, &str)) -> Result<Unread> {
    let context = || format!("walk {}", hierarchy.root.display());
    let root = open(&hierarchy.root, DIRECTORY, Mode::empty()).with_context(context)?;
    let mut walk = Walk {
        hierarchy: hierarchy.id,
        found,
        levels: Vec::new(),
        path: text::unescape(&hierarchy.prefix).into_owned(),
        buffer: vec![MaybeUninit::uninit(); BUFFER],
        unread: Unread::default(),
    };
    walk.enter(root, walk.path.len()).with_context(context)?;
    while let Some(level) = walk.levels.last_mut() {
        match level.names.pop() {
            Some(name) => walk.visit(&name).with_context(context)?,
            None => walk.leave(),
        }
    }
    Ok(walk.unread)
}

impl Walk<'_> {
    /// Tells the cgroup of an open directory whose path was just added, and reads what is in it.
    fn enter(&mut self, directory: OwnedFd, above: usize) -> Result<(), Errno> {
        let inode = fstat(&directory)?.st_ino;
        self.tell(inode);
        let names = match names(&directory, &mut self.buffer) {
            Ok(names) => names,
            // It was removed while it was open.
            Err(Errno::NOENT | Errno::NODEV) => Vec::new(),
            Err(why) => {
                self.fail(why)?;
                Vec::new()
            }
        };
        let deepest = self.levels.len();
        if let Some(parent) = deepest.checked_sub(1).filter(|parent| *parent >= OPEN) {
            self.levels[parent].directory = None;
        }
        self.levels.push(Level { directory: Some(directory), inode, names, path: self.path.len() - above });
        Ok(())
    }

    /// A cgroup in the deepest level.
    fn visit(&mut self, name: &CString) -> Result<(), Errno> {
        let above = self.path.len();
        let Some(parent) = self.levels.last().and_then(|level| level.directory.as_ref()) else { return Ok(()) };
        let opened = openat(parent, name, DIRECTORY, Mode::empty());
        let inode = match opened {
            Err(Errno::NOENT | Errno::NODEV | Errno::NOTDIR) => return Ok(()),
            Err(_) => statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).ok().map(|stat| stat.st_ino),
            Ok(_) => None,
        };
        if above <= LONGEST_PATH {
            self.path.push(b'/');
            self.path.extend(name.as_bytes());
        }
        let why = match opened {
            Ok(directory) => return self.enter(directory, above),
            Err(why) => why,
        };
        inode.into_iter().for_each(|inode| self.tell(inode));
        self.fail(why)?;
        self.path.truncate(above);
        Ok(())
    }

    /// Back to the level above the deepest.
    fn leave(&mut self) {
        let Some(left) = self.levels.pop() else { return };
        self.path.truncate(self.path.len() - left.path);
        let Some(level) = self.levels.last_mut() else { return };
        if level.directory.is_some() {
            return;
        }
        let back = left.directory.ok_or(Errno::BADF).and_then(|it| openat(it, c"..", DIRECTORY, Mode::empty()));
        match back {
            Ok(directory) if fstat(&directory).is_ok_and(|stat| stat.st_ino == level.inode) => {
                level.directory = Some(directory);
            }
            back => {
                let rest = std::mem::take(&mut level.names);
                if !rest.is_empty() {
                    self.unread.add(&self.path, back.err().unwrap_or(Errno::STALE));
                }
            }
        }
    }

    fn tell(&mut self, inode: u64) {
        let path = if self.path.is_empty() { "/".into() } else { cgroup::path(&self.path) };
        (self.found)(Id { hierarchy: self.hierarchy, id: inode }, &path);
    }

    /// The last directory cannot be read. An error if none could be read for the same reason.
    fn fail(&mut self, why: Errno) -> Result<(), Errno> {
        if matches!(why, Errno::MFILE | Errno::NFILE | Errno::NOMEM) {
            return Err(why);
        }
        self.unread.add(&self.path, why);
        Ok(())
    }
}

impl Unread {
    fn add(&mut self, path: &[u8], why: Errno) {
        self.count += 1;
        self.first.get_or_insert_with(|| (cgroup::path(path).into_owned(), why));
    }

    /// Those of several walks.
    pub fn extend(&mut self, more: Unread) {
        self.count += more.count;
        self.first = self.first.take().or(more.first);
    }
}

/// The directories in a directory.
fn names(directory: &OwnedFd, buffer: &mut [MaybeUninit<u8>]) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    let mut entries = RawDir::new(directory.as_fd(), buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(entry.file_type(), FileType::Directory | FileType::Unknown) && name != c"." && name != c".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
