//! [`Mounts`]: where a path of a process is on the host, by the mounts of both, without entering its namespace. Opens nothing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::makedev;

use crate::source::text::{cut, lines, number, unescape};

/// Limit on the mounts of a process.
const MOST: usize = 20_000;

/// The mounts that a process sees below its root, later ones over earlier ones (`mountinfo` of proc(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts(Vec<Mount>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Of the mount: no two namespaces share one.
    id: u64,
    /// As stat(2) has it.
    pub device: u64,
    /// What of the filesystem is mounted.
    root: PathBuf,
    point: PathBuf,
    pub fstype: String,
    pub source: PathBuf,
    /// Of an overlay: the directory that takes what is written, or the uppermost one that does not.
    pub layer: Option<PathBuf>,
}

impl Mounts {
    pub fn parse(text: &[u8]) -> Mounts {
        Mounts(lines(text).take(MOST).filter_map(mount).collect())
    }

    /// The mount that a path is on. The path has no links and no `..`.
    pub fn of(&self, path: &Path) -> Option<&Mount> {
        let above = self.0.iter().enumerate().filter(|(_, mount)| path.starts_with(&mount.point));
        above.max_by_key(|(order, mount)| (mount.point.components().count(), *order)).map(|(_, mount)| mount)
    }

    /// The mount of a device.
    pub fn on(&self, device: u64) -> Option<&Mount> {
        self.0.iter().find(|mount| mount.device == device)
    }

    /// Where a path of these is in `host`; `None` if it is nowhere there.
    pub fn translate(&self, path: &Path, host: &Mounts) -> Option<PathBuf> {
        let mount = self.of(path)?;
        // A process of the same namespace, with the same root.
        if host.of(path) == Some(mount) {
            return Some(path.to_owned());
        }
        let within = mount.root.join(path.strip_prefix(&mount.point).ok()?);
        let same = host.0.iter().filter(|there| there.device == mount.device);
        let places = same.filter_map(|there| Some((there, there.point.join(within.strip_prefix(&there.root).ok()?))));
        // `join` with nothing appends a slash.
        let mut places = places.map(|(there, place)| (there, place.components().collect::<PathBuf>()));
        places.find(|(there, place)| host.of(place) == Some(there)).map(|(_, place)| place)
    }
}

/// A path without `.` and `..`; `None` if it is not absolute.
pub fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::RootDir => plain = "/".into(),
            Component::ParentDir => drop(plain.pop()),
            Component::Normal(name) => plain.push(name),
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    plain.is_absolute().then_some(plain)
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn mount(line: &[u8]) -> Option<Mount> {
    let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(&unescape(bytes)));
    let end = line.windows(3).position(|three| three == b" - ")?;
    let mut left = line[..end].split(|byte| *byte == b' ');
    let id = number(left.next()?)?;
    let (major, minor) = cut(left.nth(1)?, b':')?;
    let (root, point) = (path(left.next()?), path(left.next()?));
    // A source may be empty, so every single blank counts.
    let mut right = line[end + 3..].split(|byte| *byte == b' ');
    let (fstype, source) = (right.next()?, right.next()?);
    let options = right.next().unwrap_or_default();
    let option = |name: &[u8]| options.split(|byte| *byte == b',').find_map(|option| option.strip_prefix(name));
    let lowest = || option(b"lowerdir=").and_then(|all| all.split(|byte| *byte == b':').next());
    let layer = (fstype == b"overlay").then(|| option(b"upperdir=").or_else(lowest)).flatten().map(path);
    Some(Mount {
        id,
        device: makedev(number(major)?.try_into().ok()?, number(minor)?.try_into().ok()?),
        root,
        point,
        fstype: collector_core::text::escape(&unescape(fstype)).into_owned(),
        source: path(source),
        layer: layer.filter(|layer| layer.is_absolute()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOST: &str = "\
1 0 8:1 / / rw - ext4 /dev/sda1 rw
2 1 8:2 / /srv rw - xfs /dev/sdb1 rw
3 1 0:50 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw,lowerdir=/l1:/l2,upperdir=/var/up,workdir=/w
4 1 0:60 /sub /data rw - btrfs /dev/sdc rw
5 2 0:7 / /srv/hidden rw - tmpfs t rw
";

    fn there(process: &str, path: &str) -> Option<String> {
        let (process, host) = (Mounts::parse(process.as_bytes()), Mounts::parse(HOST.as_bytes()));
        process.translate(Path::new(path), &host).map(|path| path.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_path_of_a_process_is_found_on_the_host() {
        assert_eq!(there(HOST, "/srv/a.gguf").as_deref(), Some("/srv/a.gguf"));
        let container = "\
11 0 0:50 / / rw - overlay overlay rw
12 11 8:2 /models /models rw - xfs /dev/sdb1 rw
13 11 0:60 /sub/deep /deep rw - btrfs /dev/sdc rw
14 11 0:99 / /dev/shm rw - tmpfs shm rw
15 11 8:2 /hidden/x /shadow rw - xfs /dev/sdb1 rw
16 11 8:2 /one.gguf /one.gguf ro - xfs /dev/sdb1 rw
";
        for (path, wanted) in [
            ("/models/a.gguf", Some("/srv/models/a.gguf")),
            ("/opt/a.gguf", Some("/var/lib/docker/overlay2/x/merged/opt/a.gguf")),
            ("/deep/a", Some("/data/deep/a")),
            ("/one.gguf", Some("/srv/one.gguf")),
            // The host does not mount it, or mounts something over it.
            ("/dev/shm/a", None),
            ("/shadow/a", None),
        ] {
            assert_eq!(there(container, path).as_deref(), wanted, "{path}");
        }
        // A service of systemd with a namespace of its own: other mounts of the same.
        assert_eq!(there("91 0 8:1 / / ro - ext4 /dev/sda1 rw\n", "/usr/a").as_deref(), Some("/usr/a"));
        assert_eq!(
            there("91 0 8:1 /opt / ro - ext4 /dev/sda1 rw\n", "/a").as_deref(),
            Some("/opt/a"),
            "its root is below"
        );
        assert_eq!(there("", "/a"), None);
    }

    #[test]
    fn mounts_say_what_they_are_on() {
        let host = Mounts::parse(HOST.as_bytes());
        let of = |path: &str| host.of(Path::new(path)).unwrap();
        let overlay = of("/var/lib/docker/overlay2/x/merged/a");
        assert_eq!((&*overlay.fstype, overlay.layer.as_deref()), ("overlay", Some(Path::new("/var/up"))));
        assert_eq!(host.on(makedev(0, 60)).unwrap().source, Path::new("/dev/sdc"));
        let later = Mounts::parse(b"1 0 8:1 / /a rw - ext4 d rw\n2 0 8:2 / /a rw - xfs d rw\n");
        assert_eq!(later.of(Path::new("/a/b")).unwrap().fstype, "xfs");
    }

    #[test]
    fn dots_are_resolved_as_in_paths_without_links() {
        let plain = |path: &str| plain(Path::new(path)).map(|path| path.to_str().unwrap().to_owned());
        assert_eq!(plain("/a/./b//../c").as_deref(), Some("/a/c"));
        assert_eq!(plain("/../../a").as_deref(), Some("/a"));
        assert_eq!((plain("a/b"), plain("")), (None, None));
    }

    proptest! {
        #[test]
        fn any_text_is_accepted(bytes: Vec<u8>, more in "([0-9:/ -]{0,9}/?){0,19}", path in "(/[a-c.]{0,3}){1,5}") {
            let any = Mounts::parse(&[&bytes[..], b"\n1 0 0:1 ", more.as_bytes(), b" - a b c\n"].concat());
            if let Some(found) = any.translate(Path::new(&path), &Mounts::parse(HOST.as_bytes())) {
                prop_assert!(found.is_absolute());
            }
        }
    }
}
