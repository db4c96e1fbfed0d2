//! Block IO, by device and by the workload that caused it.

use std::fmt;

use collector_common::histogram;

use super::row::{Detail, Emit, Kind, Metric, Unit, Value, workload_and};
use crate::count::{count, sum};
use crate::signal::block::{COMPLETED, Operation};
use crate::view::View;
use crate::view::host::DeviceIo;
use crate::view::workload::Io;

const BY_DEVICE: &[&str] = &["device", "operation"];
const BY_WORKLOAD: &[&str] = &workload_and("operation");
const OPERATIONS: Detail = Detail::By(&[("read", Detail::Busy), ("write", Detail::Busy), ("", Detail::Full)]);

pub const SERVICE_SECONDS: Metric = Metric {
    name: "headroom_block_io_service_seconds",
    kind: Kind::Histogram,
    unit: Some(Unit::Seconds),
    detail: Detail::Used,
    help: "Block IOs by service time, the time that the device took: from issue to completion, with retries after a timeout. From Linux 6.9 on the issue is what the clock showed when the submitting thread read it first for a batch of IOs (its plug). What failed before it was issued has none, nor have the IOs in headroom_block_io_untimed_total.",
    labels: BY_DEVICE,
    needs: &[COMPLETED],
    read: |view, emit| {
        devices(view, |labels, io| match is_timed(io) {
            true => emit.histogram(labels, &io.service, io.created),
            false => Ok(()),
        })
    },
};

/// Without a single time, times are not known. Of an IO that failed before it was issued there is none to know.
fn is_timed(io: &DeviceIo) -> bool {
    count(&io.service) > 0 || (io.bytes == 0 && io.untimed <= io.errors)
}

pub const UNTIMED: Metric = Metric {
    name: "headroom_block_io_untimed_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Used,
    help: "Block IOs of which it is not known when they were issued: the kernel did not store it, and block_rq_issue was not attached yet, or they failed before. They are in no histogram and in no service time; their bytes are counted.",
    labels: BY_DEVICE,
    needs: &[COMPLETED],
    read: |view, emit| devices(view, |labels, io| emit.rare(labels, Value::Int(io.untimed), io.created)),
};

pub const QUEUE_SECONDS: Metric = Metric {
    name: "headroom_block_io_queue_seconds",
    kind: Kind::Histogram,
    unit: Some(Unit::Seconds),
    detail: Detail::Used,
    help: "Block IOs by queue time, the time that they waited in the kernel: from the creation of the request to its issue. From Linux 6.9 on it is 0 for IOs that were created and issued in one batch (plug), whose clock is read once. Absent for a device that keeps no statistics (queue/iostats).",
    labels: BY_DEVICE,
    needs: &[COMPLETED],
    read: |view, emit| {
        devices(view, |labels, io| match count(&io.queue) {
            0 => Ok(()),
            _ => emit.histogram(labels, &io.queue, io.created),
        })
    },
};

pub const BYTES: Metric = Metric {
    name: "headroom_block_io_bytes_total",
    kind: Kind::Counter,
    unit: Some(Unit::Bytes),
    detail: Detail::Used,
    help: "Bytes of block IO that the device completed.",
    labels: BY_DEVICE,
    needs: &[COMPLETED],
    read: |view, emit| devices(view, |labels, io| emit.counter(labels, Value::Int(io.bytes), io.created)),
};

pub const ERRORS: Metric = Metric {
    name: "headroom_block_io_errors_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Always,
    help: "Block IOs that the device completed with an error.",
    labels: BY_DEVICE,
    needs: &[COMPLETED],
    read: |view, emit| devices(view, |labels, io| emit.counter(labels, Value::Int(io.errors), io.created)),
};

pub const SLOW: Metric = Metric {
    name: "headroom_block_io_slow_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Always,
    help: "Block IOs for which the device took longer than 1.05 s: the count above that bucket of its service histogram.",
    labels: BY_DEVICE,
    needs: &[COMPLETED],
    read: |view, emit| {
        devices(view, |labels, io| {
            if !is_timed(io) {
                return Ok(());
            }
            let slow = sum(io.service[SLOW_BUCKET + 1..histogram::BUCKETS].iter().copied());
            emit.rare(labels, Value::Int(slow), io.created)
        })
    },
};

/// The bucket that ends at 1.05 s.
const SLOW_BUCKET: usize = 20;
const _: () = assert!(matches!(histogram::edge_ns(SLOW_BUCKET), Some(1_048_576_000)));

pub const WORKLOAD_IOS: Metric = Metric {
    name: "headroom_workload_block_ios_total",
    kind: Kind::Counter,
    unit: None,
    detail: OPERATIONS,
    help: "Block IOs that the workload caused, including the writeback of what it wrote. Through a loop device or dm-multipath an IO counts at each of the devices.",
    labels: BY_WORKLOAD,
    needs: &[COMPLETED],
    read: |view, emit| workloads(view, emit, |io| Some(Value::Int(io.ios))),
};

pub const WORKLOAD_BYTES: Metric = Metric {
    name: "headroom_workload_block_bytes_total",
    kind: Kind::Counter,
    unit: Some(Unit::Bytes),
    detail: OPERATIONS,
    help: "Bytes of block IO that the workload caused, including the writeback of what it wrote. Through a loop device or dm-multipath they count at each of the devices.",
    labels: BY_WORKLOAD,
    needs: &[COMPLETED],
    read: |view, emit| workloads(view, emit, |io| Some(Value::Int(io.bytes))),
};

pub const WORKLOAD_SERVICE_SECONDS: Metric = Metric {
    name: "headroom_workload_block_service_seconds_total",
    kind: Kind::Counter,
    unit: Some(Unit::Seconds),
    detail: OPERATIONS,
    help: "Service time of the block IOs that the workload caused, summed over those of which it is known. Absent where it is known of none.",
    labels: BY_WORKLOAD,
    needs: &[COMPLETED],
    read: |view, emit| workloads(view, emit, |io| (io.ios == 0 || io.ns > 0).then(|| Value::seconds(io.ns))),
};

fn devices(view: &View, mut each: impl FnMut(&[&str], &DeviceIo) -> fmt::Result) -> fmt::Result {
    for device in view.host.devices.values() {
        for (operation, io) in Operation::ALL.into_iter().zip(&device.operations) {
            if let Some(io) = io {
                each(&[&device.name, operation.label()], io)?;
            }
        }
    }
    Ok(())
}

fn workloads(view: &View, emit: &mut Emit<'_>, value: fn(&Io) -> Option<Value>) -> fmt::Result {
    for workload in emit.workloads(view) {
        let [name, namespace, pod, container] = workload.labels();
        for (operation, io) in Operation::ALL.into_iter().zip(&workload.amounts.block) {
            let labels = [name, namespace, pod, container, operation.label()];
            let Some(value) = value(io) else { continue };
            match operation {
                Operation::Read | Operation::Write => emit.counter(&labels, value, workload.created)?,
                _ => emit.rare(&labels, value, workload.created)?,
            }
        }
    }
    Ok(())
}
