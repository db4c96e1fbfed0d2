//! Filesystems and block devices of the host.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::statistic::{disk, filesystem};
use crate::view::View;
use crate::view::host::{Filesystem, used_ratio};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FilesystemLine {
    pub mountpoint: String,
    pub device: String,
    pub fstype: String,
    /// Whether it answered at the last read; if not, it has no figures.
    pub up: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Including what only root may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// What users other than root can use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<u64>,
    /// Share (0 to 1), as df computes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_ratio: Option<f64>,
    /// Files that it can hold; absent if there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inodes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inodes_free: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

/// Rates and shares are over the last ten seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DiskLine {
    pub device: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_bytes_per_second: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_bytes_per_second: Option<f64>,
    /// Share (0 to 1) of time in which at least one IO was in flight. One that serves many at once may have capacity left at 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_ratio: Option<f64>,
    /// IOs in flight now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u64>,
}

pub(super) fn filesystems(view: &View) -> Vec<FilesystemLine> {
    use filesystem::Statistic::{Available, Free, Inodes, InodesFree, ReadOnly, Size};
    let line = |(mountpoint, it): (&Arc<str>, &Filesystem)| {
        let get = |statistic| it.values.as_ref().and_then(|values| values.get(statistic));
        FilesystemLine {
            mountpoint: mountpoint.to_string(),
            device: it.device.to_string(),
            fstype: it.fstype.to_string(),
            up: it.values.is_some(),
            size_bytes: get(Size),
            free_bytes: get(Free),
            available_bytes: get(Available),
            used_ratio: it.values.as_ref().and_then(used_ratio),
            inodes: get(Inodes),
            inodes_free: get(InodesFree),
            read_only: get(ReadOnly).map(|flag| flag != 0),
        }
    };
    view.host.filesystems.iter().map(line).collect()
}

pub(super) fn disks(view: &View) -> Vec<DiskLine> {
    use disk::Statistic::{Busy, InFlight, ReadBytes, WriteBytes};
    let line = |(device, values): (&Arc<str>, &disk::Values)| {
        let past = view.host.disks_past.get(device);
        let pace = |statistic| past.and_then(|past| past.pace(|values: &disk::Values| values.get(statistic)));
        DiskLine {
            device: device.to_string(),
            read_bytes_per_second: pace(ReadBytes),
            written_bytes_per_second: pace(WriteBytes),
            busy_ratio: past.and_then(|past| past.share(|values: &disk::Values| values.get(Busy))),
            in_flight: values.get(InFlight),
        }
    };
    view.host.disks.iter().map(line).collect()
}
