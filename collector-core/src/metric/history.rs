//! What the history in memory takes, and how many workloads have which part of it.

use super::row::{Detail, Kind, Metric, Unit, Value};

/// Bytes that the memory is rounded up to.
const STEP: u64 = 64 << 10;

pub const WORKLOADS: Metric = Metric {
    name: "headroom_history_workloads",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Always,
    help: "Workloads by how many minutes back their history in memory reaches: a day, five minutes, or one. Who matters least has the least, where there is not room for all.",
    labels: &["minutes"],
    needs: &[],
    read: |view, emit| {
        let used = view.history.usage();
        // Not before it was first looked at.
        for (minutes, count) in [("1440", used.full), ("5", used.minutes), ("1", used.minute)] {
            if used.bytes > 0 {
                emit.gauge(&[minutes], Value::Int(count as u64))?;
            }
        }
        Ok(())
    },
};

pub const PAST: Metric = Metric {
    name: "headroom_past_seconds",
    kind: Kind::Gauge,
    unit: Some(Unit::Seconds),
    detail: Detail::Always,
    help: "Seconds of the last 28 days of which the history on disk has anything of the host, as it was read last. Advice and forecasts rest on them.",
    labels: &[],
    needs: &[],
    read: |view, emit| match view.past.time {
        0 => Ok(()),
        _ => emit.gauge(&[], Value::Int(view.past.host.seconds())),
    },
};

pub const PAST_WORKLOADS: Metric = Metric {
    name: "headroom_past_workloads",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Always,
    help: "Workloads of which the last 28 days are known, as the history on disk and the journal were read last: at most 512, those with kills and with the highest peaks.",
    labels: &[],
    needs: &[],
    read: |view, emit| match view.past.time {
        0 => Ok(()),
        _ => emit.gauge(&[], Value::Int(view.past.workloads.len() as u64)),
    },
};

pub const MEMORY_BYTES: Metric = Metric {
    name: "headroom_history_memory_bytes",
    kind: Kind::Gauge,
    unit: Some(Unit::Bytes),
    detail: Detail::Always,
    help: "Memory that the history takes; history.memory bounds it.",
    labels: &[],
    needs: &[],
    read: |view, emit| match view.history.usage().bytes {
        0 => Ok(()),
        // Not to the byte: a page of a recording is the same however large a pointer is.
        bytes => emit.gauge(&[], Value::Int(bytes.next_multiple_of(STEP))),
    },
};
