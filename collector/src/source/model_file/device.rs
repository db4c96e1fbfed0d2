//! [`tier`]: what a file lies on, by what its filesystem and its device say of themselves. Devices are found by number, below /sys.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use collector_core::statistic::model_file::Tier;
use rustix::fs::{major, minor};

use super::cache::Kind;
use super::mount::Mounts;
use crate::source::root::Root;

/// How often an overlay may lie on an overlay.
const LAYERS: usize = 4;

/// Of a file at this path of the host, on this device.
pub fn tier(root: &Root, mounts: &Mounts, path: &Path, device: u64, kind: Kind) -> Tier {
    match kind {
        Kind::Memory => Tier::Memory,
        Kind::Network => Tier::Network,
        Kind::Program => Tier::Unknown,
        Kind::Disk => disk(root, mounts, path, device).unwrap_or(Tier::Unknown),
    }
}

fn disk(root: &Root, mounts: &Mounts, path: &Path, device: u64) -> Option<Tier> {
    if let Some(tier) = rotates(root, device) {
        return Some(tier);
    }
    let mut mount = mounts.of(path).filter(|mount| mount.device == device).or_else(|| mounts.on(device))?;
    for _ in 0..LAYERS {
        let Some(layer) = &mount.layer else { break };
        mount = mounts.of(layer)?;
    }
    // btrfs and overlays have numbers of no device.
    let source = || {
        let path = mount.source.strip_prefix("/dev/").ok()?;
        Some(fs::metadata(root.at("/dev").join(path)).ok()?.rdev())
    };
    match &*mount.fstype {
        "tmpfs" | "ramfs" => Some(Tier::Memory),
        _ => rotates(root, mount.device).or_else(|| rotates(root, source()?)),
    }
}

/// A partition has the queue of its disk.
fn rotates(root: &Root, device: u64) -> Option<Tier> {
    let at = root.at("/sys/dev/block").join(format!("{}:{}", major(device), minor(device)));
    let read = |queue: &str| fs::read(at.join(queue).join("rotational")).ok();
    match read("queue").or_else(|| read("../queue"))?.first()? {
        b'0' => Some(Tier::Ssd),
        b'1' => Some(Tier::Hdd),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::makedev;

    use super::*;
    use crate::source::test::Tree;

    #[test]
    fn disks_say_what_they_are_also_below_partitions_overlays_and_filesystems_of_several() {
        let tree = Tree::new();
        // As /sys has it: what a link leads to is a folder in that of the disk.
        tree.write("sys/devices/a/queue/rotational", "1\n");
        tree.write("sys/devices/a/a1/partition", "1\n");
        tree.write("sys/devices/b/queue/rotational", "0\n");
        fs::create_dir_all(tree.0.join("sys/dev/block")).unwrap();
        for (number, to) in [("8:0", "a"), ("8:1", "a/a1"), ("8:16", "b")] {
            std::os::unix::fs::symlink(format!("../../devices/{to}"), tree.0.join("sys/dev/block").join(number))
                .unwrap();
        }
        let root = Root::new(&tree.0);
        let mounts = Mounts::parse(
            b"1 0 8:1 / / rw - ext4 /dev/a1 rw\n2 1 8:16 / /fast rw - xfs /dev/b rw\n\
              3 1 0:50 / /merged rw - overlay overlay rw,lowerdir=/l,upperdir=/fast/up,workdir=/w\n\
              4 1 0:60 / /pool rw - zfs tank rw\n5 1 0:70 / /run rw - tmpfs t rw\n\
              6 1 0:80 / /low rw - overlay overlay ro,lowerdir=/run/x:/l\n",
        );
        let tier =
            |path: &str, (major, minor), kind| tier(&root, &mounts, Path::new(path), makedev(major, minor), kind);
        let disk = |path: &str, number| tier(path, number, Kind::Disk);
        assert_eq!(
            [disk("/a", (8, 0)), disk("/a", (8, 1)), disk("/fast/a", (8, 16))],
            [Tier::Hdd, Tier::Hdd, Tier::Ssd]
        );
        assert_eq!([disk("/merged/a", (0, 50)), disk("/low/a", (0, 80))], [Tier::Ssd, Tier::Memory]);
        assert_eq!([disk("/pool/a", (0, 60)), disk("/gone", (9, 9))], [Tier::Unknown; 2]);
        assert_eq!(tier("/x", (0, 1), Kind::Network), Tier::Network);
        assert_eq!(tier("/x", (0, 1), Kind::Memory), Tier::Memory);
    }
}
