//! Rows that emit numbers of workloads unchanged: a row names the number, nothing else.

use std::fmt;

use super::row::{Emit, Kind};
use crate::signal::Need;
use crate::statistic;
use crate::view::View;
use crate::view::number::{Known, Number};

/// Emits a series for each workload and each number, with the value of the label that distinguishes the numbers; the value is
/// empty if there is only one number.
pub(super) fn read(view: &View, emit: &mut Emit<'_>, series: &[(Number, &str)]) -> fmt::Result {
    // If a row has several numbers, all of them are read from files.
    let own = series.iter().any(|(number, _)| number.is_own());
    for workload in emit.workloads(view) {
        let created = if own { workload.created } else { 0 };
        let [name, namespace, pod, container] = workload.labels();
        for (number, label) in series {
            let Some(value) = number.of(workload, Known::MET) else { continue };
            let labels = [name, namespace, pod, container, *label];
            let labels = if label.is_empty() { &labels[..4] } else { &labels };
            if emit.shows(labels, || number.was_used(workload)) {
                emit.shown(labels, value, created)?;
            }
        }
    }
    Ok(())
}

/// The needs of several numbers in one row. There are none, because all are read from files.
pub(super) const fn needs(series: &[(Number, &str)]) -> &'static [Need] {
    let mut index = 0;
    while index < series.len() {
        assert!(series[index].0.needs().is_empty(), "the row would have to check each number's needs");
        index += 1;
    }
    &[]
}

pub(super) const fn kind(number: Number) -> Kind {
    match number.kind() {
        statistic::Kind::Counter => Kind::Counter,
        statistic::Kind::Gauge | statistic::Kind::Limit => Kind::Gauge,
    }
}

/// Declares metrics that are numbers of workloads: `NAME = "name", "Help.", Number, Detail;`; or, with a label, a number for each of
/// its values: `NAME = "name", "Help.", Detail, "label" { "value": Number, … };`. The first number gives the kind and unit of all.
macro_rules! rows {
    ($($(#[$doc:meta])* $const:ident = $name:literal, $help:literal, $number:ident, $detail:expr;)*) => {
        $($(#[$doc])*
        pub const $const: $crate::metric::row::Metric = {
            use $crate::view::number::Number;
            $crate::metric::row::Metric {
                name: $name,
                kind: $crate::metric::number::kind(Number::$number),
                unit: Number::$number.unit(),
                detail: $detail,
                help: $help,
                labels: &$crate::metric::row::WORKLOAD,
                needs: Number::$number.needs(),
                read: |view, emit| $crate::metric::number::read(view, emit, &[(Number::$number, "")]),
            }
        };)*
    };
    ($($(#[$doc:meta])* $const:ident = $name:literal, $help:literal, $detail:expr,
        $label:literal { $($value:literal: $number:ident),+ $(,)? };)*) => {
        $($(#[$doc])*
        pub const $const: $crate::metric::row::Metric = {
            use $crate::view::number::Number;
            const SERIES: &[(Number, &str)] = &[$((Number::$number, $value)),+];
            $crate::metric::row::Metric {
                name: $name,
                kind: $crate::metric::number::kind(SERIES[0].0),
                unit: SERIES[0].0.unit(),
                detail: $detail,
                help: $help,
                labels: &$crate::metric::row::workload_and($label),
                needs: $crate::metric::number::needs(SERIES),
                read: |view, emit| $crate::metric::number::read(view, emit, SERIES),
            }
        };)*
    };
}
pub(super) use rows;
