//! Disks and filesystems that are made up.

use collector_core::sample::Reading;
use collector_core::signal::block;
use collector_core::statistic::{disk, filesystem};

use super::{GIB, Host};

impl Host {
    /// A filesystem of so many GiB, of which so many are free.
    pub fn mounts(&mut self, mountpoint: &str, size: u64, free: u64) -> &mut Host {
        use filesystem::Statistic::{Available, Free, Size};
        let values = [(Size, size * GIB), (Free, free * GIB), (Available, free * GIB)].into_iter().collect();
        let [mountpoint, device, fstype] = [mountpoint, "/dev/vda", "ext4"].map(Into::into);
        let state = filesystem::State::Read(values);
        self.apply(Reading::Filesystem(filesystem::Reading { mountpoint, device, fstype, owner: None, state }));
        self
    }

    /// A disk, and whether weights of IO act on it.
    pub fn disk(&mut self, name: &str, weighs: bool) -> &mut Host {
        let device = block::Device { major: 254, minor: 0 };
        self.apply(Reading::Block(block::Reading::Name { device, name: name.to_owned() }));
        let values = [(disk::Statistic::Busy, 1), (disk::Statistic::Weighs, u64::from(weighs))];
        let values = Some(values.into_iter().collect());
        self.apply(Reading::Disk(disk::Reading { device: name.into(), values }));
        self
    }
}
