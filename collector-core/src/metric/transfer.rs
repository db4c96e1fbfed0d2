//! Copies between host and GPU, and the pinned and GPU memory that workloads hold, as requested from the CUDA driver.

use std::fmt;

use super::row::{Detail, Emit, Kind, Metric, Unit, Value, WORKLOAD, workload_and};
use crate::signal::transfer::{COPIES, Direction, HELD, Memory};
use crate::view::View;
use crate::view::number::{Known, Number};
use crate::view::workload::Transfer;

const BY_DIRECTION: &[&str] = &workload_and("direction");
const BY_MEMORY: &[&str] = &workload_and("memory");

pub const TRANSFERS: Metric = Metric {
    name: "headroom_workload_gpu_transfers_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Used,
    help: "Copies between host and GPU that the workload's processes asked the CUDA driver for; host_to_device is from the host's memory to the GPU's, unknown is a copy whose direction is not known. A batch counts as many as it has copies, in the direction of its first one. Absent for a workload that never made any.",
    labels: BY_DIRECTION,
    needs: &COPIES,
    read: |view, emit| copies(view, emit, |transfer| &transfer.calls),
};

pub const BYTES: Metric = Metric {
    name: "headroom_workload_gpu_transfer_bytes_total",
    kind: Kind::Counter,
    unit: Some(Unit::Bytes),
    detail: Detail::Used,
    help: "Bytes of copies between host and GPU that the workload's processes asked the CUDA driver for: the bus carries a little more.",
    labels: BY_DIRECTION,
    needs: &COPIES,
    read: |view, emit| copies(view, emit, |transfer| &transfer.bytes),
};

pub const SECONDS: Metric = Metric {
    name: "headroom_gpu_transfer_seconds",
    kind: Kind::Histogram,
    unit: Some(Unit::Seconds),
    detail: Detail::Used,
    help: "Copies between host and GPU, by how long the calling thread was in the CUDA driver: the whole copy where the call waits for it, and only its submission where it does not. A batch counts as one.",
    labels: &["direction"],
    needs: &COPIES,
    read: |view, emit| {
        for direction in Direction::ALL {
            if emit.sees(direction as usize) {
                emit.histogram(&[direction.label()], &view.host.transfer[direction as usize], view.started)?;
            }
        }
        Ok(())
    },
};

pub const PINNED_BYTES: Metric = Metric {
    name: "headroom_workload_pinned_host_bytes",
    kind: Kind::Gauge,
    unit: Some(Unit::Bytes),
    detail: Detail::Always,
    help: "Pinned host memory that the workload's processes hold, allocated as such or pinned in place by the CUDA driver; what was pinned before the agent started is not counted.",
    labels: &WORKLOAD,
    needs: Number::Pinned.needs(),
    read: |view, emit| held(view, emit, Number::Pinned),
};

pub const DEVICE_BYTES: Metric = Metric {
    name: "headroom_workload_gpu_allocated_bytes",
    kind: Kind::Gauge,
    unit: Some(Unit::Bytes),
    detail: Detail::Always,
    help: "GPU memory that the workload's processes explicitly asked the CUDA driver for and hold; memory that the driver takes for itself, virtual address ranges, and what was allocated before the agent started are not counted.",
    labels: &WORKLOAD,
    needs: Number::GpuAllocated.needs(),
    read: |view, emit| held(view, emit, Number::GpuAllocated),
};

pub const REFUSED: Metric = Metric {
    name: "headroom_workload_gpu_allocation_failures_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Used,
    help: "Allocations of pinned host memory and of GPU memory that the CUDA driver refused to the workload's processes, for any reason.",
    labels: BY_MEMORY,
    needs: &HELD,
    read: |view, emit| {
        for workload in emit.workloads(view) {
            let [name, namespace, pod, container] = workload.labels();
            for memory in Memory::ALL {
                if emit.sees(memory as usize) {
                    let labels = [name, namespace, pod, container, memory.label()];
                    let refused = workload.amounts.transfer.refused[memory as usize];
                    emit.rare(&labels, Value::Int(refused), workload.created)?;
                }
            }
        }
        Ok(())
    },
};

fn copies(view: &View, emit: &mut Emit<'_>, amounts: fn(&Transfer) -> &[u64; Direction::ALL.len()]) -> fmt::Result {
    for workload in emit.workloads(view) {
        let [name, namespace, pod, container] = workload.labels();
        for direction in Direction::ALL {
            if emit.sees(direction as usize) {
                let amount = amounts(&workload.amounts.transfer)[direction as usize];
                let labels = [name, namespace, pod, container, direction.label()];
                emit.rare(&labels, Value::Int(amount), workload.created)?;
            }
        }
    }
    Ok(())
}

/// Only for workloads that use a GPU: most do not.
fn held(view: &View, emit: &mut Emit<'_>, number: Number) -> fmt::Result {
    for workload in emit.workloads(view).filter(|it| it.amounts.transfer != Transfer::default()) {
        if let Some(bytes) = number.of(workload, Known::MET) {
            emit.gauge(&workload.labels(), Value::Int(bytes))?;
        }
    }
    Ok(())
}
