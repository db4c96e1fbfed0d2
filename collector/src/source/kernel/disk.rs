//! Names of block devices. The kernel reuses numbers, so names are looked up again now and then.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStringExt;

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::{HashMap, MapData};
use collector_common::block::{DISK_NAMES, DiskName};
use collector_core::sample::Reading;
use collector_core::signal::block::{self, Device};
use rustix::fs::{CWD, readlinkat_raw};

use crate::source::root::Root;

/// All names are looked up again once in this many rounds.
const REFRESH_ROUNDS: u64 = 10;
/// Bytes of what a link shows, at most: a path of the device in /sys.
const NAME: usize = 512;

pub(super) struct Disks {
    root: Root,
    /// Names that the programs found.
    seen: HashMap<MapData, u32, DiskName>,
    known: BTreeMap<Device, Disk>,
    rounds: u64,
}

struct Disk {
    /// Its link in /sys/dev/block.
    link: CString,
    name: String,
}

impl Disks {
    pub fn new(ebpf: &mut Ebpf, root: &Root) -> Result<Disks> {
        let map = ebpf.take_map(DISK_NAMES).with_context(|| format!("the object has no map {DISK_NAMES}"))?;
        let seen = HashMap::try_from(map).with_context(|| format!("map {DISK_NAMES}"))?;
        Ok(Disks { root: root.clone(), seen, known: BTreeMap::new(), rounds: 0 })
    }

    /// Emits the name of a device that has none yet.
    pub fn name(&mut self, device: Device, emit: &mut dyn FnMut(Reading)) {
        if self.known.contains_key(&device) {
            return;
        }
        let link = link(&self.root, device);
        let listed = listed(&link, &mut [0; NAME]).map(str::to_owned);
        // A path of a multipath NVMe is hidden: only its requests tell its name.
        let name = listed.or_else(|| self.hidden(device)).unwrap_or_else(|| device.to_string()).replace('!', "/");
        emit(Reading::Block(block::Reading::Name { device, name: name.clone() }));
        self.known.insert(device, Disk { link, name });
    }

    /// Emits names that have changed, if it is time to look. Call it before the round's counts: they are the new device's.
    pub fn refresh(&mut self, emit: &mut dyn FnMut(Reading)) {
        self.rounds += 1;
        if !self.rounds.is_multiple_of(REFRESH_ROUNDS) {
            return;
        }
        let mut buffer = [0; NAME];
        for (device, disk) in &mut self.known {
            let same = |name: &str| name.split('!').eq(disk.name.split('/'));
            if let Some(name) = listed(&disk.link, &mut buffer).filter(|name| !same(name)) {
                disk.name = name.replace('!', "/");
                emit(Reading::Block(block::Reading::Name { device: *device, name: disk.name.clone() }));
            }
        }
    }

    fn hidden(&self, device: Device) -> Option<String> {
        let name = self.seen.get(&(device.major << 20 | device.minor), 0).ok()?;
        let name = CStr::from_bytes_until_nul(&name).ok()?.to_str().ok()?;
        (!name.is_empty()).then(|| name.to_owned())
    }
}

fn link(root: &Root, device: Device) -> CString {
    let path = root.at("/sys/dev/block").join(device.to_string());
    CString::new(path.into_os_string().into_vec()).unwrap_or_default()
}

/// The name of a device that user space sees: the last part of what its link shows. There a slash in a name is `!`.
fn listed<'a>(link: &CStr, buffer: &'a mut [u8; NAME]) -> Option<&'a str> {
    let length = readlinkat_raw(CWD, link, &mut buffer[..]).ok()?;
    let name = std::str::from_utf8(buffer.get(..length)?).ok()?.rsplit('/').next()?;
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_device_has_the_hosts_name_for_it() {
        let folder = std::env::temp_dir().join(format!("headroom-device-{}", std::process::id()));
        let directory = folder.join("sys/dev/block");
        fs::create_dir_all(&directory).unwrap();
        symlink("../../devices/pci0/block/hosts-own", directory.join("8:1")).unwrap();
        symlink("../../devices/pci0/block/cciss!c0d0", directory.join("104:0")).unwrap();
        let names = [(8, 1), (104, 0), (8, 2)].map(|(major, minor)| {
            let link = link(&Root::new(&folder), Device { major, minor });
            listed(&link, &mut [0; NAME]).unwrap_or_default().to_owned()
        });
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(names, ["hosts-own", "cciss!c0d0", ""]);
    }
}
