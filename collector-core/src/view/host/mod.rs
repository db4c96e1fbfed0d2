//! State of the host as a whole: histograms of stalls, memory nodes, block devices.

use std::collections::BTreeMap;
use std::sync::Arc;

use collector_common::block::OPERATIONS;
use collector_common::{kswapd, reclaim, transfer};

use crate::count::Histogram;
use crate::pressure::{self, Resource};
use crate::signal::block::{Device, Operation};
use crate::statistic;
use crate::statistic::host::Statistic;
use crate::view::workload::Swap;
pub(crate) use figure::used_ratio;
pub use figure::{Filesystem, Watch};
pub use memory::Memory;
pub use network::Network;
pub use past::Past;
pub use volume::Volume;

mod figure;
mod memory;
pub mod network;
mod past;
mod point;
mod room;
mod volume;

/// At most this many devices are kept. More are counted as lost, stage `device`.
const DEVICES: usize = 256;

#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Durations of reclaim stalls, by [`crate::signal::reclaim::Kind`].
    pub reclaim: [Histogram; reclaim::KINDS],
    /// Durations of compaction stalls.
    pub compaction: Histogram,
    /// Durations of page faults that needed IO.
    pub major_fault: Histogram,
    /// Durations of copies between host and GPU, by [`crate::signal::transfer::Direction`].
    pub transfer: [Histogram; transfer::DIRECTIONS],
    /// Memory nodes whose kswapd was ever awake.
    pub nodes: BTreeMap<u32, Node>,
    /// Block devices that did any IO or have a name.
    pub devices: BTreeMap<Device, BlockDevice>,
    /// Waits for memory while the host itself was short of it.
    pub shortage: memory::Shortage,
    /// Figures of the host as a whole, from the kernel's files.
    pub statistics: statistic::host::Values,
    /// The same of the last seconds.
    pub past: Past<statistic::host::Values>,
    /// The same for each disk, by name.
    pub disks: BTreeMap<Arc<str>, statistic::disk::Values>,
    /// The same of the last seconds.
    pub disks_past: BTreeMap<Arc<str>, Past<statistic::disk::Values>>,
    /// Filesystems by mount point.
    pub filesystems: BTreeMap<Arc<str>, Filesystem>,
    /// Volumes in memory of containers and pods, by the name of the workload and of the volume.
    pub volumes: BTreeMap<(Arc<str>, Arc<str>), Volume>,
    /// Interfaces, and network namespaces of workloads.
    pub network: Network,
    /// PSI triggers that the kernel watches.
    pub triggers: BTreeMap<(Resource, pressure::Kind), Watch>,
    /// Controllers of cgroups that the kernel offers; `None`: not known.
    pub controllers: Option<Vec<String>>,
    /// PSI triggers that could not be armed, each with the reason.
    pub refused: BTreeMap<(Resource, pressure::Kind), String>,
}

#[derive(Clone, Debug, Default)]
pub struct Node {
    /// When it was first seen, in nanoseconds since the Unix epoch.
    pub created: u64,
    /// Nanoseconds that kswapd was awake.
    pub awake_ns: u64,
    /// Number of times it was woken.
    pub wakes: u64,
}

#[derive(Clone, Debug)]
pub struct BlockDevice {
    /// Its name, or its number until the name is known.
    pub name: Arc<str>,
    /// IO by [`Operation`]; `None` for operations that it never did.
    pub operations: [Option<Box<DeviceIo>>; OPERATIONS],
}

/// IO of one operation on a device.
#[derive(Clone, Debug, Default)]
pub struct DeviceIo {
    /// When the first IO was seen, in nanoseconds since the Unix epoch.
    pub created: u64,
    /// Times from the creation of a request to its issue.
    pub queue: Histogram,
    /// Times from issue to completion.
    pub service: Histogram,
    /// Bytes completed.
    pub bytes: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Requests that are in neither histogram.
    pub untimed: u64,
}

impl Host {
    pub(crate) fn swap(&self) -> Swap {
        let get = |statistic| self.statistics.get(statistic);
        Swap { free: get(Statistic::SwapFree), swappiness: get(Statistic::Swappiness) }
    }

    /// The node with this number; `None` beyond [`kswapd::NODES`].
    pub(crate) fn node(&mut self, node: u32, time: u64) -> Option<&mut Node> {
        let new = || Node { created: time, ..Node::default() };
        (node < kswapd::NODES).then(|| self.nodes.entry(node).or_insert_with(new))
    }

    /// IO of this operation on the device; `None` if there is no room for the device.
    pub(crate) fn device_io(&mut self, device: Device, operation: Operation, time: u64) -> Option<&mut DeviceIo> {
        let new = || Box::new(DeviceIo { created: time, ..DeviceIo::default() });
        Some(self.device(device)?.operations[operation as usize].get_or_insert_with(new))
    }

    /// Names a device; `None` if there is no room for it. Numbers and names are reused: a device that had either of them before
    /// is another one, and its figures are removed.
    pub(crate) fn name_device(&mut self, device: Device, name: &str) -> Option<()> {
        self.devices.retain(|&other, known| (other == device) == (&*known.name == name) || unnamed(other, known, name));
        self.device(device)?.name = name.into();
        Some(())
    }

    fn device(&mut self, device: Device) -> Option<&mut BlockDevice> {
        if self.devices.len() >= DEVICES && !self.devices.contains_key(&device) {
            return None;
        }
        let new = || BlockDevice { name: device.to_string().into(), operations: Default::default() };
        Some(self.devices.entry(device).or_insert_with(new))
    }
}

fn unnamed(device: Device, known: &BlockDevice, name: &str) -> bool {
    &*known.name != name && *known.name == *device.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Device = Device { major: 259, minor: 0 };
    const B: Device = Device { major: 259, minor: 1 };

    fn names(host: &Host) -> Vec<&str> {
        host.devices.values().map(|device| &*device.name).collect()
    }

    #[test]
    fn io_before_the_name_is_kept() {
        let mut host = Host::default();
        host.device_io(A, Operation::Read, 1).unwrap().bytes = 7;
        assert_eq!(names(&host), ["259:0"]);
        host.name_device(A, "nvme0n1").unwrap();
        assert_eq!(names(&host), ["nvme0n1"]);
        assert_eq!(host.devices[&A].operations[0].as_ref().unwrap().bytes, 7);
        host.name_device(A, "nvme0n1").unwrap();
        assert!(host.devices[&A].operations[0].is_some(), "the same name again changes nothing");
    }

    #[test]
    fn a_name_belongs_to_one_device_and_a_number_to_one_name() {
        let mut host = Host::default();
        host.name_device(A, "nvme0n1").unwrap();
        host.device_io(A, Operation::Read, 1).unwrap().bytes = 7;
        host.name_device(B, "nvme0n1").unwrap();
        assert_eq!(names(&host), ["nvme0n1"]);
        assert!(host.devices[&B].operations[0].is_none());

        host.device_io(B, Operation::Read, 1).unwrap().bytes = 7;
        host.name_device(B, "nvme9n1").unwrap();
        assert_eq!(names(&host), ["nvme9n1"]);
        assert!(host.devices[&B].operations[0].is_none());
    }

    #[test]
    fn devices_are_bounded() {
        let mut host = Host::default();
        for minor in 0..DEVICES as u32 {
            assert!(host.device_io(Device { major: 8, minor }, Operation::Read, 1).is_some());
        }
        assert!(host.device_io(A, Operation::Read, 1).is_none());
        assert!(host.name_device(A, "nvme0n1").is_none());
        assert!(host.device_io(Device { major: 8, minor: 0 }, Operation::Write, 1).is_some());
    }
}
