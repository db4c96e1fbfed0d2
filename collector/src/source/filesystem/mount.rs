//! Parses `/proc/PID/mountinfo`. A line is `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root
//! rw,errors=continue` (proc_pid_mountinfo(5)).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use collector_core::pattern::Patterns;
use collector_core::statistic::filesystem::Owner;
use collector_core::text;
use rustix::fs::makedev;

use super::volume;
use crate::config::{self, Config};
use crate::source::text::{cut, lines, number, unescape};

/// One mounted filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Mount point for display, escaped.
    pub mountpoint: Arc<str>,
    /// Path to open: the mount point below the host's root.
    pub path: PathBuf,
    pub device: Arc<str>,
    pub fstype: Arc<str>,
    /// The container or pod whose volume in memory it is.
    pub owner: Option<Owner>,
}

/// Mounts that are not read.
#[derive(Clone, Debug, Default)]
pub struct Exclude {
    pub mountpoints: Patterns,
    /// The same for volumes in memory of containers and pods.
    pub volumes: Patterns,
    pub types: Patterns,
}

impl Exclude {
    /// As configured. The default patterns are for what engines mount again; they leave out no volume, others do.
    pub fn of(config: &config::Filesystem) -> Exclude {
        let default = Config::default().filesystem.exclude;
        let own: Vec<String> = config.exclude.iter().filter(|pattern| !default.contains(pattern)).cloned().collect();
        Exclude {
            mountpoints: Patterns::new(&config.exclude),
            volumes: Patterns::new(&own),
            types: Patterns::new(&config.exclude_types),
        }
    }
}

/// The mounts to read. A mount that is hidden by a later one at the same mount point is not included.
pub fn parse(text: &[u8], root: &Path, exclude: &Exclude) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for line in lines(text) {
        let Some(mount) = mount(line, root) else { continue };
        // Later lines are mounted over earlier ones.
        if let Some(hidden) = mounts.iter().position(|other| other.mountpoint == mount.mountpoint) {
            mounts.remove(hidden);
        }
        mounts.push(mount);
    }
    mounts.retain(|mount| {
        let patterns = if mount.owner.is_some() { &exclude.volumes } else { &exclude.mountpoints };
        !patterns.matches(&mount.mountpoint) && !exclude.types.matches(&mount.fstype)
    });
    mounts
}

/// The devices of all mounts, as stat(2) has them.
pub fn devices(text: &[u8]) -> impl Iterator<Item = u64> {
    lines(text).filter_map(device)
}

fn device(line: &[u8]) -> Option<u64> {
    let (major, minor) = cut(line.split(|byte| *byte == b' ').nth(2)?, b':')?;
    Some(makedev(number(major)?.try_into().ok()?, number(minor)?.try_into().ok()?))
}

/// A tmpfs at `/dev/shm`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shm {
    /// As stat(2) has it.
    pub device: u64,
    /// In bytes; `None` without a limit.
    pub size: Option<u64>,
}

/// What is mounted at `/dev/shm` last, if it is a tmpfs.
pub fn shm(text: &[u8]) -> Option<Shm> {
    let at = |line: &&[u8]| line.split(|byte| *byte == b' ').nth(4) == Some(b"/dev/shm");
    let line = lines(text).filter(at).last()?;
    let end = line.windows(3).position(|three| three == b" - ")?;
    let mut right = line[end + 3..].split(|byte| *byte == b' ');
    if right.next()? != b"tmpfs" {
        return None;
    }
    let options = right.nth(1)?;
    let size = options.split(|byte| *byte == b',').find_map(|option| option.strip_prefix(b"size="));
    // `shmem_show_options` of mm/shmem.c tells the size in KiB, 0 if there is no limit, and nothing if it is the default:
    // half of the memory.
    let size = match size {
        Some(size) => number(size.strip_suffix(b"k")?)?.checked_mul(1024).filter(|size| *size > 0),
        None => Some(half_of_memory()),
    };
    Some(Shm { device: device(line)?, size })
}

fn half_of_memory() -> u64 {
    let info = rustix::system::sysinfo();
    let page = rustix::param::page_size() as u64;
    let pages = (info.totalram as u64).saturating_mul(info.mem_unit.into()) / page;
    pages / 2 * page
}

fn mount(line: &[u8], root: &Path) -> Option<Mount> {
    let end = line.windows(3).position(|three| three == b" - ")?;
    let mountpoint = unescape(line[..end].split(|byte| *byte == b' ').nth(4)?);
    // A device name may be empty, so every single blank counts.
    let mut right = line[end + 3..].split(|byte| *byte == b' ');
    let (fstype, device) = (right.next()?, right.next()?);
    // Strip all leading slashes: with one left, `join` would replace the root.
    let relative = Path::new(OsStr::from_bytes(&mountpoint)).strip_prefix("/").ok()?;
    let shown = |bytes: &[u8]| -> Arc<str> { Arc::from(text::escape(bytes)) };
    let fstype = shown(&unescape(fstype));
    let owner = str::from_utf8(&mountpoint).ok().and_then(|path| volume::owner(path, &fstype));
    let (path, device) = (root.join(relative), shown(&unescape(device)));
    Some(Mount { mountpoint: shown(&mountpoint), path, device, fstype, owner })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mounts(text: &[u8]) -> Vec<Mount> {
        let exclude = Exclude {
            mountpoints: Patterns::new(&["/run/x/*".to_owned()]),
            types: Patterns::new(&["proc".to_owned()]),
            ..Exclude::default()
        };
        parse(text, Path::new("/host"), &exclude)
    }

    #[test]
    fn names_are_unescaped_for_display_and_for_opening() {
        let text = b"27 1 254:0 / /a\\040b\\012c rw - ext4 /dev/my\\134disk rw\n28 1 0:9 / /caf\xe9 rw a:1 b - nfs4 srv:/x rw\n";
        let found = mounts(text);
        assert_eq!(&*found[0].mountpoint, r"/a b\x0ac");
        assert_eq!(found[0].path, Path::new("/host/a b\nc"));
        assert_eq!((&*found[0].device, &*found[0].fstype), ("/dev/my\\disk", "ext4"));
        assert_eq!(&*found[1].mountpoint, r"/caf\xe9");
        assert_eq!(found[1].path.as_os_str().as_bytes(), b"/host/caf\xe9");
        assert_eq!(&*found[1].device, "srv:/x");
    }

    #[test]
    fn paths_stay_below_the_root() {
        let found = mounts(b"1 0 0:1 / //etc rw - ext4 /dev/vda rw\n2 1 0:2 / etc rw - ext4 /dev/vdb rw\n");
        assert_eq!(found.iter().map(|mount| &*mount.path).collect::<Vec<_>>(), [Path::new("/host/etc")]);
    }

    #[test]
    fn excluded_and_hidden_mounts_are_skipped() {
        let text = b"1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:2 / /proc rw - proc proc rw\n3 1 0:3 / /run/x/y rw - tmpfs t rw\n\
                     4 1 0:4 / /shm rw - tmpfs first rw\n5 4 0:5 / /shm rw - tmpfs second rw\n6 5 0:6 / /shm rw - proc p rw\n\
                     7 1 0:7 / /empty rw - tmpfs  rw\n";
        let found: Vec<_> = mounts(text).iter().map(|mount| (mount.mountpoint.clone(), mount.device.clone())).collect();
        // The visible mount at /shm is excluded, and the ones below it cannot be queried.
        assert_eq!(found, [("/".into(), "/dev/vda".into()), ("/empty".into(), "".into())]);
    }

    #[test]
    fn the_size_of_shared_memory_is_what_the_kernel_tells() {
        let read = |line: &str| shm(format!("1 0 254:0 / / rw - ext4 d rw\n{line}\n").as_bytes());
        let size = |options: &str| read(&format!("8 7 0:300 / /dev/shm rw,nosuid master:3 - tmpfs shm rw{options}"));
        let found = |size| Some(Shm { device: makedev(0, 300), size });
        assert_eq!(size(",size=65536k,nr_inodes=9"), found(Some(64 << 20)));
        assert_eq!(size(",size=0k"), found(None));
        assert_eq!(size(""), found(Some(half_of_memory())));
        for refused in [",size=5m", ",size=k", ",size=99999999999999999999k", ",size=18446744073709551615k"] {
            assert!(size(refused).is_none_or(|shm| shm.size.is_none()), "{refused}");
        }
        for line in [
            "",
            "8 7 0:3 / /dev/shm rw - ext4 d rw",
            "8 7 0:3 / /dev/shm/x rw - tmpfs t rw",
            "8 7 0:x / /dev/shm rw - tmpfs t rw",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
        let both = "8 7 0:3 / /dev/shm rw - tmpfs a rw,size=4k\n9 8 0:4 / /dev/shm rw - tmpfs b rw,size=8k";
        assert_eq!(read(both).and_then(|shm| shm.size), Some(8 << 10));
        assert_eq!(devices(both.as_bytes()).collect::<Vec<_>>(), [makedev(0, 3), makedev(0, 4)]);
    }

    #[test]
    fn volumes_of_containers_are_left_out_by_the_operators_own_patterns_only() {
        let id = "4f1c2a9be07d".repeat(6)[..64].to_owned();
        let pod = "6f0f2b3c-8c1d-4e2a-9f6b-0123456789ab";
        let text = format!(
            "1 0 0:1 / /var/lib/docker/containers/{id}/mounts/shm rw - tmpfs shm rw\n\
             2 0 0:2 / /var/lib/docker/x rw - tmpfs t rw\n\
             3 0 0:3 / /var/lib/kubelet/pods/{pod}/volumes/kubernetes.io~empty-dir/a rw - tmpfs a rw\n"
        );
        let read = |patterns: &[&str], types: &[&str]| {
            let mut config = Config::default().filesystem;
            config.exclude.extend(patterns.iter().map(|it| it.to_string()));
            config.exclude_types.extend(types.iter().map(|it| it.to_string()));
            let found = parse(text.as_bytes(), Path::new("/host"), &Exclude::of(&config));
            found.iter().map(|mount| mount.owner.as_ref().unwrap().name.to_string()).collect::<Vec<_>>()
        };
        let all = ["docker/4f1c2a9be07d".to_owned(), format!("pod{pod}")];
        assert_eq!(read(&[], &[]), all);
        assert_eq!(read(&["/var/lib/kubelet/pods/*"], &[]), all[..1]);
        assert_eq!(read(&["/var/lib/docker/containers/*/mounts/shm"], &[]), all[1..]);
        assert_eq!(read(&[], &["tmpfs"]), all[..0]);
    }

    proptest! {
        #[test]
        fn any_text_is_accepted(bytes: Vec<u8>, escapes in "([\\\\0-9 -]{0,9}/?){0,9}") {
            mounts(&bytes);
            shm(&bytes);
            shm(format!("1 2 0:1 / /dev/shm rw {escapes} - tmpfs {escapes} {escapes}\n").as_bytes());
            mounts(format!("1 2 0:1 / /{escapes} rw - {escapes} {escapes}\n").as_bytes());
        }
    }
}
