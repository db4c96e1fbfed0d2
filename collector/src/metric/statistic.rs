//! Rows that show a workload's statistics as they are: each says which, and nothing else.

use std::fmt;

use super::render::{Emit, Value};
use super::{Kind, Unit};
use crate::statistic::workload::Statistic;
use crate::view::View;

/// A series for each workload and each of these: the statistic, and the value of the label that tells it from the others;
/// there is none where there is one statistic alone.
pub(super) fn read(view: &View, emit: &mut Emit<'_, '_>, series: &[(Statistic, &str)]) -> fmt::Result {
    for workload in view.workloads.iter() {
        let [name, namespace, pod, container] = workload.labels();
        for (statistic, label) in series {
            let Some(number) = workload.statistics.get(*statistic) else { continue };
            let labels = [name, namespace, pod, container, *label];
            let labels = if label.is_empty() { &labels[..4] } else { &labels };
            emit.statistic(labels, number)?;
        }
    }
    Ok(())
}

impl Emit<'_, '_> {
    /// Writes one number that the kernel keeps: nanoseconds if the metric is one of seconds. When the kernel's counters
    /// began is not known.
    pub fn statistic(&mut self, labels: &[&str], number: u64) -> fmt::Result {
        self.statistic_since(labels, number, 0)
    }

    /// The same of something whose beginning is known.
    pub fn statistic_since(&mut self, labels: &[&str], number: u64, created: u64) -> fmt::Result {
        let value = match self.metric().unit {
            Some(Unit::Seconds) => Value::seconds(number),
            Some(Unit::Bytes) | None => Value::Int(number),
        };
        match self.metric().kind {
            Kind::Counter => self.counter(labels, value, created),
            Kind::Gauge | Kind::Histogram | Kind::Info => self.gauge(labels, value),
        }
    }
}

/// Declares metrics that are statistics: `NAME = kind "name", unit, "Help.";`, then the statistic; or, with a label, each
/// of its values with its statistic.
macro_rules! rows {
    ($($(#[$doc:meta])* $const:ident = $kind:ident $name:literal, $unit:expr, $help:literal, $statistic:ident;)*) => {
        $($(#[$doc])*
        pub const $const: $crate::metric::Metric = $crate::metric::Metric {
            name: $name,
            kind: $crate::metric::Kind::$kind,
            unit: $unit,
            help: $help,
            labels: &$crate::metric::WORKLOAD,
            needs: &[],
            read: |view, emit| {
                const SERIES: &[($crate::statistic::workload::Statistic, &str)] =
                    &[($crate::statistic::workload::Statistic::$statistic, "")];
                $crate::metric::statistic::read(view, emit, SERIES)
            },
        };)*
    };
    ($($(#[$doc:meta])* $const:ident = $kind:ident $name:literal, $unit:expr, $help:literal,
        $label:literal { $($value:literal: $statistic:ident),+ $(,)? };)*) => {
        $($(#[$doc])*
        pub const $const: $crate::metric::Metric = $crate::metric::Metric {
            name: $name,
            kind: $crate::metric::Kind::$kind,
            unit: $unit,
            help: $help,
            labels: &$crate::metric::workload_and($label),
            needs: &[],
            read: |view, emit| {
                const SERIES: &[($crate::statistic::workload::Statistic, &str)] =
                    &[$(($crate::statistic::workload::Statistic::$statistic, $value)),+];
                $crate::metric::statistic::read(view, emit, SERIES)
            },
        };)*
    };
}
pub(super) use rows;
