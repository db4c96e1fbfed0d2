//! How full the volumes in memory of containers and pods are.

use std::fmt;

use super::row::{Detail, Emit, Kind, Metric, Unit, Value, workload_and};
use crate::statistic::filesystem::Statistic;
use crate::view::View;
use crate::view::host::{Volume, used_ratio};

const LABELS: &[&str] = &workload_and("mountpoint");

pub const SIZE: Metric = Metric {
    unit: Some(Unit::Bytes),
    read: |view, emit| figures(view, emit, Statistic::Size),
    ..gauge(
        "headroom_workload_tmpfs_size_bytes",
        "Most memory that the workload's volume in memory may take: its /dev/shm, or an emptyDir of medium Memory, by the name of that volume. What all containers of a pod share is the pod's.",
    )
};

pub const FREE: Metric = Metric {
    unit: Some(Unit::Bytes),
    read: |view, emit| figures(view, emit, Statistic::Free),
    detail: Detail::Full,
    ..gauge("headroom_workload_tmpfs_free_bytes", "Free space of the workload's volume in memory.")
};

pub const USED_RATIO: Metric = Metric {
    read: |view, emit| each(view, emit, |volume| used_ratio(volume.values.as_ref()?).map(Value::Float)),
    ..gauge("headroom_workload_tmpfs_used_ratio", "Share (0 to 1) of the workload's volume in memory that is used.")
};

pub const MOST_USED_RATIO: Metric = Metric {
    read: |view, emit| each(view, emit, |volume| volume.most_used(&view.workloads).map(Value::Float)),
    ..gauge(
        "headroom_workload_tmpfs_most_used_ratio",
        "Share (0 to 1) of the workload's /dev/shm that can be used at most, where it is in a mount namespace that the agent may not look into: an estimate from the shared memory, tmpfs and swap charged to the workload, all of which may be elsewhere. Absent if that is more than fits there, which tells nothing. What another workload wrote there is not in it.",
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
    each(view, emit, |volume| volume.values.as_ref()?.get(statistic).map(Value::Int))
}

fn each(view: &View, emit: &mut Emit<'_>, value: impl Fn(&Volume) -> Option<Value>) -> fmt::Result {
    for ((workload, name), volume) in &view.host.volumes {
        if let Some(value) = value(volume) {
            let [namespace, pod, container] = &volume.labels;
            emit.gauge(&[workload, namespace, pod, container, name], value)?;
        }
    }
    Ok(())
}
