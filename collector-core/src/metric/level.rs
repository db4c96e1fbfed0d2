//! How degraded the host and each GPU are, and how much of each limit is used.

use super::row::{Detail, Emit, Kind, Metric, Value};
use crate::view::View;
use crate::view::level::Resource;

pub const LEVEL: Metric = Metric {
    labels: &[],
    read: |view, emit| match view.level.host.level {
        Some(level) => emit.gauge(&[], Value::Int(level.number().into())),
        None => Ok(()),
    },
    ..gauge(
        "headroom_degradation_level",
        "How degraded the host is, from 0 (normal) to 4 (critical), by its use against the limits of [level] and by waits for memory; absent while it is not known. GPUs have their own.",
    )
};

pub const GPU_LEVEL: Metric = Metric {
    labels: &["gpu", "uuid"],
    read: |view, emit| {
        for (uuid, gpu) in &view.level.gpus {
            if let Some(level) = gpu.standing.level {
                emit.gauge(&[&gpu.gpu, uuid], Value::Int(level.number().into()))?;
            }
        }
        Ok(())
    },
    ..gauge(
        "headroom_gpu_degradation_level",
        "The same for the memory of a GPU, without what model servers hold on purpose. It concerns only what starts on this GPU.",
    )
};

pub const USED_RATIO: Metric = Metric {
    labels: &["resource", "mountpoint", "gpu", "uuid"],
    read: used,
    ..gauge(
        "headroom_limit_used_ratio",
        "Use of a resource as a share of its limit in [level]: of memory, of CPUs (mean of 30 s), of each filesystem that is named there, of each GPU's memory without what model servers hold. 1 and more is above the limit.",
    )
};

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        unit: None,
        detail: Detail::Always,
        help,
        labels: &[],
        needs: &[],
        read: |_, _| Ok(()),
    }
}

fn used(view: &View, emit: &mut Emit<'_>) -> std::fmt::Result {
    let levels = &view.level;
    for it in levels.uses() {
        let Some(share) = it.share() else { continue };
        let (resource, mountpoint) = match it.resource {
            Resource::Memory => ("memory", ""),
            Resource::Cpu => ("cpu", ""),
            Resource::Filesystem(mountpoint) => ("filesystem", &**mountpoint),
        };
        emit.gauge(&[resource, mountpoint, "", ""], Value::Float(share))?;
    }
    for (uuid, gpu) in &levels.gpus {
        if let Some(used) = gpu.used {
            emit.gauge(&["gpu_memory", "", &gpu.gpu, uuid], Value::Float(used / levels.limits.gpu))?;
        }
    }
    Ok(())
}
