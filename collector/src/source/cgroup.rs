//! cgroupfs: where the hierarchies are mounted, and which cgroups there are.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::signal::cgroup::Id;

/// The hierarchies that Headroom attributes to: the memory controller's and the io controller's; with cgroup v2 both
/// are the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchies {
    /// Where tasks' memory is accounted.
    pub memory: Hierarchy,
    /// Where block IO is accounted.
    pub io: Hierarchy,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its id: 0 is v2.
    pub id: u64,
    /// Where it is mounted.
    pub root: PathBuf,
}

impl Hierarchies {
    /// Reads where they are from `/proc/self/{cgroup,mountinfo}` under `proc`.
    pub fn find(proc: &Path) -> Result<Hierarchies> {
        let read = |name: &str| {
            let path = proc.join("self").join(name);
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        let (cgroups, mounts) = (read("cgroup")?, read("mountinfo")?);
        Ok(Hierarchies { memory: locate("memory", &cgroups, &mounts)?, io: locate("blkio", &cgroups, &mounts)? })
    }

    /// Each once.
    pub fn distinct(&self) -> impl Iterator<Item = &Hierarchy> {
        let io = Some(&self.io).filter(|io| io.id != self.memory.id);
        std::iter::once(&self.memory).chain(io)
    }

    /// In words, for the doctor.
    pub fn mode(&self) -> &'static str {
        match (self.memory.id, self.io.id) {
            (0, 0) => "v2",
            (0, _) | (_, 0) => "hybrid",
            _ => "v1",
        }
    }
}

/// A v1 controller has its own line in `/proc/self/cgroup` (`4:memory:/path`) and its own mount; one that has none is
/// v2's (`0::/path`).
fn locate(controller: &str, cgroups: &str, mounts: &str) -> Result<Hierarchy> {
    let v1 = cgroups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let id: u64 = fields.next()?.parse().ok()?;
        fields.next()?.split(',').any(|name| name == controller).then_some(id)
    });
    let (kind, option) = if v1.is_some() { ("cgroup", controller) } else { ("cgroup2", "rw") };
    for line in mounts.lines() {
        // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue (proc_pid_mountinfo(5))
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let mut right = right.split(' ');
        let (Some(this), Some(options)) = (right.next(), right.nth(1)) else { continue };
        let matches = this == kind && (kind == "cgroup2" || options.split(',').any(|name| name == option));
        if let (true, Some(root)) = (matches, left.split(' ').nth(4)) {
            return Ok(Hierarchy { id: v1.unwrap_or(0), root: unescape(root).into() });
        }
    }
    bail!("no mounted cgroup hierarchy has the {controller} controller: mount cgroup2 on /sys/fs/cgroup");
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(path: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(path.to_owned(), |path, (code, plain)| path.replace(code, plain))
}

/// Every cgroup of a hierarchy, its root included: its id and its path from the root (`/` is the root itself). A
/// directory that vanishes meanwhile is left out: its death is an event of its own.
pub fn walk(hierarchy: &Hierarchy, found: &mut dyn FnMut(Id, &str)) -> Result<()> {
    let root = fs::metadata(&hierarchy.root).with_context(|| format!("walk {}", hierarchy.root.display()))?;
    let id = |inode| Id { hierarchy: hierarchy.id, id: inode };
    found(id(root.ino()), "/");
    let mut pending = vec![String::new()];
    while let Some(parent) = pending.pop() {
        let directory = hierarchy.root.join(parent.trim_start_matches('/'));
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.with_context(|| format!("walk {}", directory.display()))?,
        };
        for entry in entries {
            // ENODEV: the cgroup was removed while its directory was open.
            let Ok(entry) = entry else { continue };
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let Ok(metadata) = entry.metadata() else { continue };
            let path = format!("{parent}/{}", entry.file_name().to_string_lossy());
            found(id(metadata.ino()), &path);
            pending.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "25 24 0:20 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                      26 24 0:21 / /sys/fs/cgroup/blk\\040io rw - cgroup cgroup rw,blkio\n\
                      27 24 0:22 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn a_v1_controller_is_where_its_own_mount_is() {
        let cgroups = "4:memory:/a\n3:blkio:/b\n0::/c\n";
        assert_eq!(
            locate("memory", cgroups, V1).unwrap(),
            Hierarchy { id: 4, root: "/sys/fs/cgroup/memory".into() }
        );
        assert_eq!(
            locate("blkio", cgroups, V1).unwrap(),
            Hierarchy { id: 3, root: "/sys/fs/cgroup/blk io".into() }
        );
    }

    #[test]
    fn a_controller_without_a_line_is_v2() {
        let unified = Hierarchy { id: 0, root: "/sys/fs/cgroup/unified".into() };
        assert_eq!(locate("memory", "0::/c\n", V1).unwrap(), unified);
        let memory = Hierarchy { id: 4, root: "/m".into() };
        assert_eq!(Hierarchies { memory, io: unified.clone() }.mode(), "hybrid");
        assert_eq!(Hierarchies { memory: unified.clone(), io: unified }.distinct().count(), 1);
    }

    #[test]
    fn nothing_mounted_is_an_error_that_says_what_to_do() {
        let error = locate("memory", "0::/\n", "garbage\n1 2 - \n - \n").unwrap_err().to_string();
        assert!(error.contains("mount cgroup2"), "{error}");
    }

    #[test]
    fn a_walk_finds_every_directory_with_its_inode() {
        let root = std::env::temp_dir().join(format!("headroom-walk-{}", std::process::id()));
        fs::create_dir_all(root.join("a/b c")).unwrap();
        fs::write(root.join("a/memory.current"), "0").unwrap();
        let mut found = Vec::new();
        walk(&Hierarchy { id: 7, root: root.clone() }, &mut |id, path| found.push((id, path.to_owned()))).unwrap();
        found.sort_by(|a, b| a.1.cmp(&b.1));
        let inode = |path: &str| Id { hierarchy: 7, id: fs::metadata(root.join(path)).unwrap().ino() };
        let expected = [(inode(""), "/"), (inode("a"), "/a"), (inode("a/b c"), "/a/b c")];
        assert_eq!(found, expected.map(|(id, path)| (id, path.to_owned())));
        fs::remove_dir_all(&root).unwrap();
        assert!(walk(&Hierarchy { id: 7, root }, &mut |_, _| {}).is_err());
    }
}
