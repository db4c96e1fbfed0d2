//! Disks by the kernel's own count (`/proc/diskstats`), available whether the eBPF programs see block IO or not.

use std::fmt;

use super::row::{Detail, Emit, Kind, Metric, Unit};
use crate::statistic::disk::Statistic;
use crate::view::View;
use Statistic::*;

const DEVICE: &[&str] = &["device"];
const OPERATION: &[&str] = &["device", "operation"];

pub const IOS: Metric = Metric {
    name: "headroom_host_disk_ios_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Used,
    help: "IOs that the disk completed since the host started, as counted by the kernel.",
    labels: OPERATION,
    needs: &[],
    read: |view, emit| operations(view, emit, [Reads, Writes, Discards], Some(Flushes)),
};

pub const MERGED: Metric = Metric {
    name: "headroom_host_disk_merged_ios_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Used,
    help: "IOs that the kernel merged into another IO before they reached the disk.",
    labels: OPERATION,
    needs: &[],
    read: |view, emit| operations(view, emit, [ReadsMerged, WritesMerged, DiscardsMerged], None),
};

pub const BYTES: Metric = Metric {
    name: "headroom_host_disk_bytes_total",
    kind: Kind::Counter,
    unit: Some(Unit::Bytes),
    detail: Detail::Used,
    help: "Bytes that the disk read, wrote and discarded since the host started.",
    labels: OPERATION,
    needs: &[],
    read: |view, emit| operations(view, emit, [ReadBytes, WriteBytes, DiscardBytes], None),
};

pub const IO_SECONDS: Metric = Metric {
    name: "headroom_host_disk_io_seconds_total",
    kind: Kind::Counter,
    unit: Some(Unit::Seconds),
    detail: Detail::Used,
    help: "Time that IOs took from submission to completion, summed over the IOs.",
    labels: OPERATION,
    needs: &[],
    read: |view, emit| operations(view, emit, [ReadTime, WriteTime, DiscardTime], Some(FlushTime)),
};

pub const BUSY_SECONDS: Metric = Metric {
    name: "headroom_host_disk_busy_seconds_total",
    kind: Kind::Counter,
    unit: Some(Unit::Seconds),
    detail: Detail::Always,
    help: "Time in which at least one IO was in flight; a disk that serves many IOs at once may have capacity left even if this is all of the time.",
    labels: DEVICE,
    needs: &[],
    read: |view, emit| disks(view, emit, Busy, &[]),
};

pub const WAITING_SECONDS: Metric = Metric {
    name: "headroom_host_disk_waiting_seconds_total",
    kind: Kind::Counter,
    unit: Some(Unit::Seconds),
    detail: Detail::Always,
    help: "Time multiplied by the number of IOs in flight: its rate is the average number of IOs in flight.",
    labels: DEVICE,
    needs: &[],
    read: |view, emit| disks(view, emit, Waiting, &[]),
};

pub const IN_FLIGHT: Metric = Metric {
    name: "headroom_host_disk_in_flight",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Always,
    help: "IOs in flight now.",
    labels: DEVICE,
    needs: &[],
    read: |view, emit| disks(view, emit, InFlight, &[]),
};

fn operations(
    view: &View,
    emit: &mut Emit<'_>,
    [read, write, discard]: [Statistic; 3],
    flush: Option<Statistic>,
) -> fmt::Result {
    let rows = [("read", Some(read)), ("write", Some(write)), ("discard", Some(discard)), ("flush", flush)];
    for (operation, statistic) in rows {
        if let Some(statistic) = statistic {
            disks(view, emit, statistic, &[operation])?;
        }
    }
    Ok(())
}

fn disks(view: &View, emit: &mut Emit<'_>, statistic: Statistic, operation: &[&str]) -> fmt::Result {
    for (device, values) in &view.host.disks {
        let Some(number) = values.get(statistic) else { continue };
        let labels = [&**device, operation.first().copied().unwrap_or_default()];
        emit.number(&labels[..1 + operation.len()], number)?;
    }
    Ok(())
}
