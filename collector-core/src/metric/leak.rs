//! Memory that leaks: how fast, and when the limit is reached.

use std::fmt;

use super::row::{Detail, Emit, Kind, Metric, Unit, Value, workload_and};
use crate::trend::Exhaustion;
use crate::view::View;
use crate::view::leak::Told;

const LABELS: &[&str] = &workload_and("kind");

pub const PACE: Metric = Metric {
    read: |view, emit| each(view, emit, |told| Some(told.line.slope / 3600.0)),
    ..gauge(
        "headroom_leak_bytes_per_second",
        "Growth of what the workload holds at least, where that is a leak: it rose steadily for an hour or more, by 5 % of the limit an hour at \
         least, the work that was done did not, and it passed what was held before. kind: anon (heap), shared (shared memory, tmpfs), kernel, \
         pinned (for GPUs), vram. Page cache is never a leak: the kernel drops it. The first half hour after a start does not count. It is \
         judged once in 12 minutes.",
    )
};

pub const EXHAUSTION: Metric = Metric {
    unit: Some(Unit::Seconds),
    read: |view, emit| each(view, emit, |told| left(told, view.time, |seconds, _| seconds)),
    ..gauge(
        "headroom_leak_exhaustion_seconds",
        "Time until a leak reaches the workload's memory limit, or takes what is left of the host's memory, or of that of the GPUs that it uses, \
         if that comes first; 0 if it is there.",
    )
};

pub const EARLIEST: Metric = Metric {
    unit: Some(Unit::Seconds),
    read: |view, emit| each(view, emit, |told| left(told, view.time, |_, earliest| earliest)),
    ..gauge(
        "headroom_leak_exhaustion_earliest_seconds",
        "The same, if it grows as fast as the readings allow: one time in twenty it is sooner.",
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

fn each(view: &View, emit: &mut Emit<'_>, value: impl Fn(&Told) -> Option<f64>) -> fmt::Result {
    for (name, kind, told) in view.leaks.iter() {
        let Some((workload, value)) = view.workloads.find(name).zip(value(told)) else { continue };
        let [name, namespace, pod, container] = workload.labels();
        emit.gauge(&[name, namespace, pod, container, kind.label()], Value::Float(value))?;
    }
    Ok(())
}

/// Seconds from now.
fn left(told: &Told, now: u64, pick: fn(f64, f64) -> f64) -> Option<f64> {
    let over = now.saturating_sub(told.time) as f64 / 1e9;
    match told.exhaustion {
        Exhaustion::Now => Some(0.0),
        Exhaustion::Within { seconds, earliest, .. } => Some((pick(seconds, earliest) - over).max(0.0)),
        Exhaustion::Never => None,
    }
}
