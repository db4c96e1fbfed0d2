//! How full the mounted filesystems are.

use std::fmt;

use super::row::{Emit, Kind, Metric, Unit, Value};
use crate::statistic::filesystem::Statistic;
use crate::view::View;
use crate::view::host::Filesystem;

/// As node_exporter spells them.
const LABELS: &[&str] = &["device", "mountpoint", "fstype"];

/// Size.
pub const SIZE: Metric = Metric {
    unit: Some(Unit::Bytes),
    read: |view, emit| figures(view, emit, Statistic::Size),
    ..gauge("headroom_host_filesystem_size_bytes", "What the filesystem can hold.")
};

/// Free.
pub const FREE: Metric = Metric {
    unit: Some(Unit::Bytes),
    read: |view, emit| figures(view, emit, Statistic::Free),
    ..gauge("headroom_host_filesystem_free_bytes", "What is free, what only root may use included.")
};

/// Available.
pub const AVAILABLE: Metric = Metric {
    unit: Some(Unit::Bytes),
    read: |view, emit| figures(view, emit, Statistic::Available),
    ..gauge("headroom_host_filesystem_available_bytes", "What is free for others than root.")
};

/// Files.
pub const INODES: Metric = Metric {
    read: |view, emit| figures(view, emit, Statistic::Inodes),
    ..gauge("headroom_host_filesystem_inodes", "How many files the filesystem can hold; absent if there is no limit.")
};

/// Free files.
pub const INODES_FREE: Metric = Metric {
    read: |view, emit| figures(view, emit, Statistic::InodesFree),
    ..gauge("headroom_host_filesystem_inodes_free", "How many more files the filesystem can hold.")
};

/// How full.
pub const USED_RATIO: Metric = Metric {
    read: |view, emit| {
        for (mountpoint, filesystem) in &view.host.filesystems {
            let value = |statistic| filesystem.values.as_ref()?.get(statistic);
            let values = [Statistic::Size, Statistic::Free, Statistic::Available].map(value);
            let [Some(size), Some(free), Some(available)] = values else { continue };
            let used = size.saturating_sub(free);
            // What only root may use is nobody's.
            if let usable @ 1.. = used.saturating_add(available) {
                let labels = [&*filesystem.device, mountpoint, &filesystem.fstype];
                emit.gauge(&labels, Value::Float(used as f64 / usable as f64))?;
            }
        }
        Ok(())
    },
    ..gauge(
        "headroom_host_filesystem_used_ratio",
        "The share of what others than root can use that is used, as df has it.",
    )
};

/// Whether it can be written.
pub const READ_ONLY: Metric = Metric {
    read: |view, emit| figures(view, emit, Statistic::ReadOnly),
    ..gauge("headroom_host_filesystem_read_only", "1 if nothing can be written there, else 0.")
};

/// Whether it answers.
pub const UP: Metric = Metric {
    read: |view, emit| each(view, emit, |filesystem| Some(filesystem.values.is_some().into())),
    ..gauge(
        "headroom_host_filesystem_up",
        "Whether the filesystem answered in time when it was asked the last time; if not, it has no other series.",
    )
};

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit: None, help, labels: LABELS, needs: &[], read: |_, _| Ok(()) }
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
