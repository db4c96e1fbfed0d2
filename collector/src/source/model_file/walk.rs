//! Finds the file at a path of a process, step by step: what the process could not read itself is not found, however much the agent
//! may. Links lead where they lead for the process. Opens only regular files, and only for what the page cache has of them.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, open, openat, readlinkat};
use rustix::io::Errno;

use super::cache::{self, Cached, Kind};
use super::mount::{Mounts, plain};

/// Limit on the links of a path, and on its parts.
const LINKS: usize = 8;
const PARTS: usize = 64;

/// Who asks for a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A process of this user named it: it must be able to read it. Groups are not looked at.
    User(u32),
    /// The kernel said that the process has it: there is no link in such a path, unless somebody has put one there since.
    Kernel,
}

/// How paths of a process become paths here.
pub struct Ways<'a> {
    /// The host's root, as the agent has it.
    pub root: &'a Path,
    pub process: &'a Mounts,
    pub host: &'a Mounts,
}

/// A regular file or a directory. It is not open yet.
#[derive(Debug)]
pub struct Found {
    fd: OwnedFd,
    pub stat: Stat,
    /// In the process's eyes, without links.
    pub path: PathBuf,
    /// On the host.
    pub here: PathBuf,
}

enum Step {
    Found(Found),
    /// A link, what it says, and how many parts come after it.
    Link(PathBuf, usize),
    Nothing,
}

impl Ways<'_> {
    /// What stands at an absolute path. `None` if nothing does that `who` could read, or nothing that is a file or a directory.
    pub fn find(&self, path: &Path, who: Who) -> io::Result<Option<Found>> {
        let Some(mut path) = plain(path) else { return Ok(None) };
        for _ in 0..LINKS {
            let Some(here) = self.process.translate(&path, self.host) else { return Ok(None) };
            match self.step(&path, here, who)? {
                Step::Found(found) => return Ok(Some(found)),
                Step::Nothing => return Ok(None),
                Step::Link(..) if who == Who::Kernel => return Ok(None),
                Step::Link(target, after) => {
                    let parts: Vec<_> = path.iter().collect();
                    let Some(at) = parts.len().checked_sub(after + 1).filter(|at| *at > 0) else { return Ok(None) };
                    let before: PathBuf = parts[..at].iter().collect();
                    let rest: PathBuf = parts[at + 1..].iter().collect();
                    // An absolute one replaces all that is before it.
                    let Some(next) = plain(&before.join(target).join(rest)) else { return Ok(None) };
                    path = next;
                }
            }
        }
        Ok(None)
    }

    fn step(&self, path: &Path, here: PathBuf, who: Who) -> io::Result<Step> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let mut fd = open(self.root, flags | OFlags::DIRECTORY, Mode::empty())?;
        let parts: Vec<&OsStr> = here.iter().skip(1).collect();
        if parts.len() > PARTS {
            return Ok(Step::Nothing);
        }
        for (index, part) in parts.iter().enumerate() {
            fd = match openat(&fd, *part, flags | OFlags::NOFOLLOW, Mode::empty()) {
                Ok(fd) => fd,
                Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Step::Nothing),
                Err(error) => return Err(error.into()),
            };
            let stat = fstat(&fd)?;
            let after = parts.len() - index - 1;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => {
                    let target = readlinkat(&fd, "", Vec::new())?;
                    return Ok(Step::Link(OsStr::from_bytes(target.as_bytes()).into(), after));
                }
                FileType::Directory if may(&stat, who, 0o1) => {}
                FileType::RegularFile if after == 0 && may(&stat, who, 0o4) => {}
                _ => return Ok(Step::Nothing),
            }
        }
        let stat = fstat(&fd)?;
        Ok(Step::Found(Found { fd, stat, path: path.to_owned(), here }))
    }
}

/// Whether a user has a right of the last three bits of a mode.
fn may(stat: &Stat, who: Who, right: u32) -> bool {
    match who {
        Who::Kernel | Who::User(0) => true,
        Who::User(uid) if uid == stat.st_uid => stat.st_mode & right << 6 != 0,
        Who::User(_) => stat.st_mode & right != 0,
    }
}

impl Found {
    pub fn is_file(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode).is_file()
    }

    pub fn bytes(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or(0)
    }

    /// Device and inode.
    pub fn id(&self) -> (u64, u64) {
        (self.stat.st_dev, self.stat.st_ino)
    }

    pub fn kind(&self) -> io::Result<Kind> {
        cache::kind(&self.fd)
    }

    /// The names in a directory, at most so many.
    pub fn names(&self, most: usize) -> io::Result<Vec<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(self.again(), flags, Mode::empty())?;
        let names = rustix::fs::Dir::read_from(&directory)?.take(most);
        names.map(|entry| Ok(entry?.file_name().to_bytes().to_vec())).collect()
    }

    /// How much of a file is in the page cache; an error if that is not known. Nothing of it is read.
    pub fn cached(&self) -> io::Result<Cached> {
        if !self.is_file() || self.kind()? == Kind::Program {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        cache::of(File::from(open(self.again(), flags, Mode::empty())?))
    }

    /// The very file that was looked at, whatever its path leads to by now.
    fn again(&self) -> String {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("headroom-walk-{}-{name}", std::process::id()));
            fs::create_dir_all(path.join("models/deep")).unwrap();
            fs::create_dir_all(path.join("secret")).unwrap();
            fs::write(path.join("models/deep/a.gguf"), "abc").unwrap();
            fs::write(path.join("secret/b.gguf"), "b").unwrap();
            Folder(path)
        }

        fn find(&self, path: &str, who: Who) -> Option<u64> {
            let host = Mounts::parse(b"1 0 8:1 / / rw - ext4 d rw\n");
            let ways = Ways { root: &self.0, process: &host, host: &host };
            ways.find(Path::new(path), who).unwrap().map(|found| if found.is_file() { found.bytes() } else { 0 })
        }

        /// As a process in a container sees it, whose root is `models`.
        fn inside(&self, path: &str) -> Option<u64> {
            let host = Mounts::parse(b"1 0 8:1 / / rw - ext4 d rw\n");
            let process = Mounts::parse(b"9 0 8:1 /models / rw - ext4 d rw\n");
            let ways = Ways { root: &self.0, process: &process, host: &host };
            ways.find(Path::new(path), Who::User(0)).unwrap().map(|found| found.bytes())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn links_lead_where_they_lead_for_the_process() {
        let folder = Folder::new("link");
        let at = |path: &str| folder.0.join(path);
        symlink("deep/a.gguf", at("models/one.gguf")).unwrap();
        symlink("/models/deep", at("models/two")).unwrap();
        symlink("../secret/b.gguf", at("models/out.gguf")).unwrap();
        symlink("/secret/b.gguf", at("models/root.gguf")).unwrap();
        symlink("self", at("models/self")).unwrap();
        let root = |path| folder.find(path, Who::User(0));
        for (path, wanted) in [
            ("/models/deep/a.gguf", Some(3)),
            ("/models/one.gguf", Some(3)),
            ("/models/two/a.gguf", Some(3)),
            ("/models/../models/one.gguf", Some(3)),
            ("/models/out.gguf", Some(1)),
            ("/models/root.gguf", Some(1)),
            ("/models/deep", Some(0)),
            ("/models/self", None),
            ("/models/gone.gguf", None),
            ("/models/deep/a.gguf/x", None),
            ("models/one.gguf", None),
        ] {
            assert_eq!(root(path), wanted, "{path}");
        }
        assert_eq!(folder.find("/models/deep/a.gguf", Who::Kernel), Some(3));
        for path in ["/models/one.gguf", "/models/two/a.gguf"] {
            assert_eq!(folder.find(path, Who::Kernel), None, "the kernel names no links");
        }
        // In a container the same links lead no further than its root.
        assert_eq!(folder.inside("/one.gguf"), Some(3));
        assert_eq!([folder.inside("/out.gguf"), folder.inside("/root.gguf"), folder.inside("/two/a.gguf")], [None; 3]);
        assert_eq!(folder.inside("/../secret/b.gguf"), None);
    }

    #[test]
    fn what_a_user_could_not_read_is_not_found() {
        let folder = Folder::new("right");
        let mode =
            |path: &str, mode| fs::set_permissions(folder.0.join(path), fs::Permissions::from_mode(mode)).unwrap();
        let me = rustix::process::geteuid().as_raw();
        let other = Who::User(me.wrapping_add(4711));
        assert_eq!(folder.find("/secret/b.gguf", other), Some(1));
        mode("secret", 0o700);
        assert_eq!(folder.find("/secret/b.gguf", other), None);
        assert_eq!(folder.find("/secret/b.gguf", Who::Kernel), Some(1));
        mode("models/deep/a.gguf", 0o640);
        assert_eq!(folder.find("/models/deep/a.gguf", other), None);
        assert_eq!(folder.find("/models/deep/a.gguf", Who::User(me)), Some(3));
    }

    #[test]
    fn nothing_but_files_and_directories_is_found() {
        let folder = Folder::new("kind");
        let pipe = folder.0.join("models/pipe.gguf");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        symlink("/dev/zero", folder.0.join("models/zero.gguf")).unwrap();
        assert_eq!(folder.find("/models/pipe.gguf", Who::User(0)), None);
        assert_eq!(folder.find("/models/zero.gguf", Who::User(0)), None, "there is no /dev below this root");
        let long = format!("/{}", "a/".repeat(PARTS + 1));
        assert_eq!(folder.find(&long, Who::User(0)), None);
    }
}
