//! How full the mounted filesystems are.

use std::fmt;

use super::row::{Detail, Emit, Kind, Metric, Unit, Value};
use crate::statistic::filesystem::Statistic;
use crate::view::View;
use crate::view::host::{Filesystem, used_ratio};

/// The names that node_exporter uses.
const LABELS: &[&str] = &["device", "mountpoint", "fstype"];

pub const SIZE: Metric = Metric {
    unit: Some(Unit::Bytes),
    read: |view, emit| figures(view, emit, Statistic::Size),
    ..gauge("headroom_host_filesystem_size_bytes", "Capacity of the filesystem.")
};

pub const FREE: Metric = Metric {
    unit: Some(Unit::Bytes),
    read: |view, emit| figures(view, emit, Statistic::Free),
    ..gauge("headroom_host_filesystem_free_bytes", "Free space of the filesystem, including what only root may use.")
};

pub const AVAILABLE: Metric = Metric {
    unit: Some(Unit::Bytes),
    read: |view, emit| figures(view, emit, Statistic::Available),
    ..gauge(
        "headroom_host_filesystem_available_bytes",
        "Free space of the filesystem that users other than root can use.",
    )
};

pub const INODES: Metric = Metric {
    read: |view, emit| figures(view, emit, Statistic::Inodes),
    ..gauge(
        "headroom_host_filesystem_inodes",
        "Files (inodes) that the filesystem can hold; absent if there is no limit.",
    )
};

pub const INODES_FREE: Metric = Metric {
    read: |view, emit| figures(view, emit, Statistic::InodesFree),
    ..gauge("headroom_host_filesystem_inodes_free", "Files (inodes) that the filesystem can still take.")
};

pub const USED_RATIO: Metric = Metric {
    read: |view, emit| {
        for (mountpoint, filesystem) in &view.host.filesystems {
            if let Some(used) = filesystem.values.as_ref().and_then(used_ratio) {
                let labels = [&*filesystem.device, mountpoint, &filesystem.fstype];
                emit.gauge(&labels, Value::Float(used))?;
            }
        }
        Ok(())
    },
    ..gauge(
        "headroom_host_filesystem_used_ratio",
        "Share (0 to 1) of the filesystem's space that is used, without what only root may use, as df computes it.",
    )
};

pub const READ_ONLY: Metric = Metric {
    read: |view, emit| figures(view, emit, Statistic::ReadOnly),
    ..gauge("headroom_host_filesystem_read_only", "1 if the filesystem is read-only, else 0.")
};

pub const UP: Metric = Metric {
    read: |view, emit| each(view, emit, |filesystem| Some(filesystem.values.is_some().into())),
    ..gauge(
        "headroom_host_filesystem_up",
        "1 if the filesystem answered in time at the last read, else 0; if not, it has no other series.",
    )
};

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        unit: None,
        detail: Detail::Always,
        help,
        labels: LABELS,
        needs: &[],
        read: |_, _| Ok(()),
    }
}

fn figures(view: &View, emit: &mut Emit<'_>, statistic: Statistic) -> fmt::Result {
    each(view, emit, |filesystem| filesystem.values.as_ref()?.get(statistic))
}

fn each(view: &View, emit: &mut Emit<'_>, value: impl Fn(&Filesystem) -> Option<u64>) -> fmt::Result {
    for (mountpoint, filesystem) in &view.host.filesystems {
        if let Some(value) = value(filesystem) {
            emit.gauge(&[&filesystem.device, mountpoint, &filesystem.fstype], Value::Int(value))?;
        }
    }
    Ok(())
}
