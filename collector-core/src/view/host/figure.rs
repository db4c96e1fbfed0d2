//! Figures from the kernel's files: disks, filesystems, and the PSI triggers that the kernel watches.

use std::sync::Arc;

use super::Host;
use crate::pressure::Trigger;
use crate::stage::Stage;
use crate::statistic::{disk, filesystem};
use crate::view::coverage::Coverage;

/// At most this many disks are kept. More are counted as lost, stage `disk`.
const DISKS: usize = 256;
/// At most this many filesystems are kept. More are counted as lost, stage `filesystem`.
const FILESYSTEMS: usize = 256;

#[derive(Clone, Debug)]
pub struct Filesystem {
    /// The mounted device.
    pub device: Arc<str>,
    pub fstype: Arc<str>,
    /// `None` if it did not answer.
    pub values: Option<filesystem::Values>,
}

/// A PSI trigger that the kernel watches.
#[derive(Clone, Debug)]
pub struct Watch {
    pub trigger: Trigger,
    /// When it was armed, in nanoseconds since the Unix epoch.
    pub created: u64,
    /// Number of stalls reported.
    pub events: u64,
    /// When it last reported a stall, or was armed.
    pub(crate) reported: u64,
    /// When our own current window began, and the total wait then.
    pub(crate) from: Option<(u64, u64)>,
    /// The same for the window before.
    pub(crate) before: Option<(u64, u64)>,
}

/// The used share of a filesystem, as df computes it: what only root may use counts neither as used nor as available.
pub(crate) fn used_ratio(values: &filesystem::Values) -> Option<f64> {
    use filesystem::Statistic::{Available, Free, Size};
    let used = values.get(Size)?.saturating_sub(values.get(Free)?);
    let usable = used.saturating_add(values.get(Available)?);
    (usable > 0).then(|| used as f64 / usable as f64)
}

impl Host {
    pub(crate) fn disk(&mut self, time: u64, reading: &disk::Reading, coverage: &mut Coverage) {
        let disk::Reading { device, values } = reading;
        let room = self.disks.len() < DISKS;
        match (self.disks.get_mut(device), values) {
            (Some(known), Some(values)) => known.advance(values),
            (Some(_), None) => {
                self.disks.remove(device);
                self.disks_past.remove(device);
            }
            (None, Some(values)) if room => drop(self.disks.insert(device.clone(), values.clone())),
            (None, Some(_)) => coverage.lose(Stage::Disk, 1),
            (None, None) => {}
        }
        let Some(values) = self.disks.get(device) else { return };
        match self.disks_past.get_mut(device) {
            Some(past) => past.keep(time, values.clone()),
            None => self.disks_past.entry(device.clone()).or_default().keep(time, values.clone()),
        }
    }

    pub(crate) fn filesystem(&mut self, reading: &filesystem::Reading, coverage: &mut Coverage) {
        let filesystem::Reading { mountpoint, device, fstype, state, .. } = reading;
        let values = match state {
            filesystem::State::Read(values) => Some(values.clone()),
            filesystem::State::Refused | filesystem::State::Hung => None,
            filesystem::State::Gone => return drop(self.filesystems.remove(mountpoint)),
        };
        let (device, fstype) = (device.clone(), fstype.clone());
        let filesystem = Filesystem { device, fstype, values };
        let room = self.filesystems.len() < FILESYSTEMS;
        match self.filesystems.get_mut(mountpoint) {
            Some(known) => *known = filesystem,
            None if room => drop(self.filesystems.insert(mountpoint.clone(), filesystem)),
            None => coverage.lose(Stage::Filesystem, 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use filesystem::State;

    #[test]
    fn disks_advance_disappear_and_are_bounded() {
        let (mut host, mut coverage) = (Host::default(), Coverage::default());
        let mut say = |device: String, reads: Option<u64>| {
            let values = reads.map(|reads| disk::Values::from_iter([(disk::Statistic::Reads, reads)]));
            host.disk(1, &disk::Reading { device: device.into(), values }, &mut coverage);
            host.disks.get("a").and_then(|values| values.get(disk::Statistic::Reads))
        };
        assert_eq!(say("a".into(), Some(7)), Some(7));
        assert_eq!(say("a".into(), Some(6)), Some(7));
        assert_eq!(say("a".into(), None), None);
        assert_eq!(say("a".into(), Some(1)), Some(1), "another disk with the same name");
        for number in 0..DISKS {
            say(number.to_string(), Some(1));
        }
        assert_eq!((host.disks.len(), coverage.lost(Stage::Disk)), (DISKS, 1));
        assert_eq!(host.disks_past.len(), DISKS);
    }

    #[test]
    fn a_filesystem_that_does_not_answer_has_no_figures() {
        let (mut host, mut coverage) = (Host::default(), Coverage::default());
        let mut say = |mountpoint: String, state| {
            let (device, fstype) = ("d".into(), "t".into());
            let reading = filesystem::Reading { mountpoint: mountpoint.into(), device, fstype, owner: None, state };
            host.filesystem(&reading, &mut coverage);
            host.filesystems.get("/").map(|filesystem| filesystem.values.is_some())
        };
        assert_eq!(say("/".into(), State::Read(filesystem::Values::new())), Some(true));
        assert_eq!(say("/".into(), State::Hung), Some(false));
        assert_eq!(say("/".into(), State::Refused), Some(false));
        assert_eq!(say("/".into(), State::Gone), None);
        for number in 0..FILESYSTEMS + 2 {
            say(format!("/{number}"), State::Hung);
        }
        assert_eq!((host.filesystems.len(), coverage.lost(Stage::Filesystem)), (FILESYSTEMS, 2));
    }
}
