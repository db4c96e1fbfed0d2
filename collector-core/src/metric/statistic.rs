//! Rows that show a workload's statistics as they are: each says which, and nothing else.

use std::fmt;

use super::row::Emit;
use crate::statistic::workload::Statistic;
use crate::view::View;

/// A series for each workload and each of these: the statistic, and the value of the label that tells it from the others;
/// there is none where there is one statistic alone.
pub(super) fn read(view: &View, emit: &mut Emit<'_>, series: &[(Statistic, &str)]) -> fmt::Result {
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

/// Declares metrics that are statistics: `NAME = kind "name", unit, "Help.";`, then the statistic; or, with a label, each
/// of its values with its statistic.
macro_rules! rows {
    ($($(#[$doc:meta])* $const:ident = $kind:ident $name:literal, $unit:expr, $help:literal, $statistic:ident;)*) => {
        $($(#[$doc])*
        pub const $const: $crate::metric::row::Metric = $crate::metric::row::Metric {
            name: $name,
            kind: $crate::metric::row::Kind::$kind,
            unit: $unit,
            help: $help,
            labels: &$crate::metric::row::WORKLOAD,
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
        pub const $const: $crate::metric::row::Metric = $crate::metric::row::Metric {
            name: $name,
            kind: $crate::metric::row::Kind::$kind,
            unit: $unit,
            help: $help,
            labels: &$crate::metric::row::workload_and($label),
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
