//! Opens cgroups below the roots of their hierarchies, and files below a cgroup that is open. No link, no other mount and no `..` is ever
//! followed, and what is written goes through the descriptor that was checked. Knows no change.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use collector_core::text::escape;
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;

use crate::source::cgroup::{Hierarchies, Hierarchy};
use crate::source::root::Root;

/// As cgroup v1 calls them.
const CONTROLLERS: [&str; 5] = ["memory", "cpu", "cpuset", "blkio", "freezer"];
/// What is read of a file, in bytes: no file of a cgroup is near that.
const LONGEST: u64 = 4 << 20;

/// The hierarchies that are mounted.
pub struct Tree {
    controllers: Vec<(&'static str, Option<Hierarchy>)>,
}

/// A cgroup's directory, open.
pub struct Directory {
    fd: OwnedFd,
    /// Its inode number: no other cgroup of the hierarchy ever had it, or will have it.
    pub id: u64,
    pub uid: u32,
}

impl Tree {
    pub fn find() -> anyhow::Result<Tree> {
        let root = Root::default();
        // Where the memory controller is off, another names workloads.
        let memory = Hierarchies::find(&root)?.memory;
        let find = |name: &'static str| match name {
            "memory" => (name, Some(memory.clone())),
            name => (name, Hierarchy::of(name, &root).ok()),
        };
        Ok(Tree { controllers: CONTROLLERS.map(find).to_vec() })
    }

    pub fn hierarchy(&self, controller: &str) -> Result<&Hierarchy, String> {
        let found = self.controllers.iter().find(|(name, _)| *name == controller);
        found.and_then(|(_, it)| it.as_ref()).ok_or_else(|| format!("the {controller} controller is mounted nowhere"))
    }

    /// Opens the cgroup at a path.
    ///
    /// # Errors
    /// Says why there is none, or why it cannot be opened.
    pub fn open(&self, controller: &str, path: &str) -> Result<Directory, String> {
        let hierarchy = self.hierarchy(controller)?;
        let relative = hierarchy.relative(path.trim_end_matches('/'));
        let relative = relative.ok_or_else(|| format!("{path} is not below the mounted {controller} hierarchy"))?;
        below(&hierarchy.root, &relative).map_err(|error| match error {
            Errno::NOENT => format!("there is no cgroup {path} in the {controller} hierarchy"),
            Errno::LOOP | Errno::XDEV => format!("{path} leads elsewhere: there is a link or another mount on the way"),
            error => format!("{path} in the {controller} hierarchy cannot be opened: {error}"),
        })
    }

    /// Whether every directory on the way is root's, so that nobody else chose a name on the path.
    pub fn is_rooted(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
        ends.map(|end| &path[..end]).all(|above| self.open("memory", above).is_ok_and(|it| it.uid == 0))
    }
}

const STRICT: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

fn below(root: &Path, relative: &[u8]) -> rustix::io::Result<Directory> {
    let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(root, directory, Mode::empty())?;
    let relative = if relative.is_empty() { OsStr::new(".") } else { OsStr::from_bytes(relative) };
    Directory::new(openat2(&root, relative, directory, Mode::empty(), STRICT)?)
}

impl Directory {
    fn new(fd: OwnedFd) -> rustix::io::Result<Directory> {
        let stat = fstat(&fd)?;
        Ok(Directory { fd, id: stat.st_ino, uid: stat.st_uid })
    }

    fn file(&self, name: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        // openat2 takes no other flags with O_PATH.
        let waits = if flags.contains(OFlags::PATH) { OFlags::empty() } else { OFlags::NONBLOCK };
        let fd = openat2(&self.fd, name, flags | OFlags::CLOEXEC | waits, Mode::empty(), STRICT)?;
        match FileType::from_raw_mode(fstat(&fd)?.st_mode).is_file() {
            true => Ok(fd),
            false => Err(Errno::INVAL),
        }
    }

    /// The content of one of its files.
    pub fn read(&self, name: &str) -> io::Result<String> {
        let mut text = Vec::new();
        File::from(self.file(name, OFlags::RDONLY)?).take(LONGEST).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    pub fn has(&self, name: &str) -> bool {
        // Without opening it for reading: some can only be written.
        self.file(name, OFlags::PATH).is_ok()
    }

    /// Writes a value, at once: the kernel takes each write as a whole.
    pub fn write(&self, name: &str, value: &str) -> rustix::io::Result<()> {
        let file = self.file(name, OFlags::WRONLY)?;
        // Without the line's end an empty list would not be written at all.
        let line = format!("{value}\n");
        match rustix::io::write(&file, line.as_bytes())? {
            all if all == line.len() => Ok(()),
            _ => Err(Errno::IO),
        }
    }

    /// The cgroups below, with their names.
    pub fn children(&self) -> io::Result<Vec<(String, Directory)>> {
        let mut found = Vec::new();
        for entry in Dir::read_from(self.fd.as_fd())? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !entry.file_type().is_dir() || matches!(name, b"." | b"..") {
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            match openat2(&self.fd, OsStr::from_bytes(name), flags, Mode::empty(), STRICT) {
                Ok(fd) => found.push((escape(name).into_owned(), Directory::new(fd)?)),
                // It was removed meanwhile.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("headroom-act-tree-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(path.join("root/a/b")).unwrap();
            fs::create_dir(path.join("out")).unwrap();
            Folder(path)
        }

        fn open(&self, relative: &str) -> rustix::io::Result<Directory> {
            below(&self.0.join("root"), relative.as_bytes())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn nothing_leads_out_of_the_hierarchy() {
        let folder = Folder::new("out");
        symlink("../../out", folder.0.join("root/a/link")).unwrap();
        symlink("b", folder.0.join("root/a/inside")).unwrap();
        assert!(folder.open("a/b").is_ok() && folder.open("").is_ok());
        for path in ["..", "../out", "a/../../out", "a/link", "a/inside", "a/link/x"] {
            let error = folder.open(path).err();
            assert!(matches!(error, Some(Errno::XDEV | Errno::LOOP)), "{path}: {error:?}");
        }
        assert_eq!(folder.open("a/none").err(), Some(Errno::NOENT));
        assert_eq!(folder.open("/tmp").err(), Some(Errno::XDEV), "an absolute path");
    }

    #[test]
    fn a_link_or_a_pipe_in_place_of_a_file_is_not_written() {
        let folder = Folder::new("file");
        let theirs = folder.0.join("out/theirs");
        fs::write(&theirs, "before").unwrap();
        symlink(&theirs, folder.0.join("root/a/memory.max")).unwrap();
        let pipe = folder.0.join("root/a/cpu.max");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        fs::write(folder.0.join("root/a/plain"), "old\n").unwrap();
        let open = folder.open("a").unwrap();
        assert_eq!(open.write("memory.max", "1"), Err(Errno::LOOP));
        assert!(
            open.read("memory.max").is_err()
                && open.write("cpu.max", "1").is_err()
                && open.write("../a/plain", "1").is_err()
        );
        assert_eq!(fs::read_to_string(&theirs).unwrap(), "before");
        open.write("plain", "new").unwrap();
        assert_eq!(open.read("plain").unwrap(), "new\n");
        assert_eq!(["plain", "none", "memory.max", "b"].map(|name| open.has(name)), [true, false, false, false]);
        assert_eq!(open.children().unwrap().len(), 1);
    }

    #[test]
    fn a_directory_made_again_under_the_same_name_is_another() {
        let folder = Folder::new("again");
        let first = folder.open("a/b").unwrap();
        fs::rename(folder.0.join("root/a/b"), folder.0.join("root/a/c")).unwrap();
        fs::create_dir(folder.0.join("root/a/b")).unwrap();
        assert_ne!(first.id, folder.open("a/b").unwrap().id);
    }
}
