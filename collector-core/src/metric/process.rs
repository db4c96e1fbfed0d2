//! Cost of the agent itself, under the names that every Prometheus client uses, and what it costs in the kernel.

use std::fmt;

use super::row::{Detail, Emit, Kind, Metric, Unit, Value};
use crate::sample::Process;
use crate::view::View;

pub const CPU_SECONDS: Metric = Metric {
    name: "process_cpu_seconds_total",
    kind: Kind::Counter,
    unit: Some(Unit::Seconds),
    detail: Detail::Always,
    help: "User and system CPU time that Headroom used.",
    labels: &[],
    needs: &[],
    read: |view, emit| match &view.coverage.process {
        Some(process) => emit.counter(&[], Value::seconds(process.cpu_ns), process.start_time),
        None => Ok(()),
    },
};

pub const RESIDENT_BYTES: Metric =
    gauge("process_resident_memory_bytes", Some(Unit::Bytes), "Headroom's resident memory.", |view, emit| {
        figure(view, emit, |process| Value::Int(process.resident_bytes))
    });

pub const VIRTUAL_BYTES: Metric =
    gauge("process_virtual_memory_bytes", Some(Unit::Bytes), "Headroom's virtual memory.", |view, emit| {
        figure(view, emit, |process| Value::Int(process.virtual_bytes))
    });

pub const OPEN_FDS: Metric =
    gauge("process_open_fds", None, "File descriptors that Headroom has open.", |view, emit| {
        figure(view, emit, |process| Value::Int(process.open_fds))
    });

pub const MAX_FDS: Metric =
    gauge("process_max_fds", None, "File descriptors that Headroom may have open.", |view, emit| {
        figure(view, emit, |process| Value::Int(process.max_fds))
    });

pub const START_TIME: Metric = gauge(
    "process_start_time_seconds",
    Some(Unit::Seconds),
    "When Headroom started, in seconds since the Unix epoch.",
    |view, emit| figure(view, emit, |process| Value::seconds(process.start_time)),
);

pub const MAP_MEMORY_BYTES: Metric = gauge(
    "headroom_map_memory_bytes",
    Some(Unit::Bytes),
    "Kernel memory of Headroom's eBPF maps, as the kernel accounts it.",
    |view, emit| match view.coverage.process.as_ref().and_then(|process| process.map_bytes) {
        Some(bytes) => emit.gauge(&[], Value::Int(bytes)),
        None => Ok(()),
    },
);

const fn gauge(
    name: &'static str,
    unit: Option<Unit>,
    help: &'static str,
    read: fn(&View, &mut Emit<'_>) -> fmt::Result,
) -> Metric {
    Metric { name, kind: Kind::Gauge, unit, detail: Detail::Always, help, labels: &[], needs: &[], read }
}

fn figure(view: &View, emit: &mut Emit<'_>, value: fn(&Process) -> Value) -> fmt::Result {
    match &view.coverage.process {
        Some(process) => emit.gauge(&[], value(process)),
        None => Ok(()),
    }
}
