//! Rows that show numbers of workloads as they are: each says which, and nothing else.

use std::fmt;

use super::row::{Emit, Kind};
use crate::signal::Need;
use crate::statistic;
use crate::view::View;
use crate::view::number::{Known, Number};

/// A series for each workload and each of these: the number, and the value of the label that tells it from the others;
/// there is none where there is one number alone.
pub(super) fn read(view: &View, emit: &mut Emit<'_>, series: &[(Number, &str)]) -> fmt::Result {
    // Several in one row are all read from files.
    let own = series.iter().any(|(number, _)| number.is_own());
    for workload in view.workloads.iter() {
        let created = if own { workload.created } else { 0 };
        let [name, namespace, pod, container] = workload.labels();
        for (number, label) in series {
            let Some(value) = number.of(workload, Known::MET) else { continue };
            let labels = [name, namespace, pod, container, *label];
            let labels = if label.is_empty() { &labels[..4] } else { &labels };
            emit.statistic_since(labels, value, created)?;
        }
    }
    Ok(())
}

/// The needs of several numbers in one row: none, for all are read from files.
pub(super) const fn needs(series: &[(Number, &str)]) -> &'static [Need] {
    let mut index = 0;
    while index < series.len() {
        assert!(series[index].0.needs().is_empty(), "each would have to be asked for");
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

/// Declares metrics that are numbers of workloads: `NAME = "name", "Help.";`, then the number; or, with a label, each of its
/// values with its number, of which the first stands for the kind and unit of all.
macro_rules! rows {
    ($($(#[$doc:meta])* $const:ident = $name:literal, $help:literal, $number:ident;)*) => {
        $($(#[$doc])*
        pub const $const: $crate::metric::row::Metric = {
            use $crate::view::number::Number;
            $crate::metric::row::Metric {
                name: $name,
                kind: $crate::metric::number::kind(Number::$number),
                unit: Number::$number.unit(),
                help: $help,
                labels: &$crate::metric::row::WORKLOAD,
                needs: Number::$number.needs(),
                read: |view, emit| $crate::metric::number::read(view, emit, &[(Number::$number, "")]),
            }
        };)*
    };
    ($($(#[$doc:meta])* $const:ident = $name:literal, $help:literal,
        $label:literal { $($value:literal: $number:ident),+ $(,)? };)*) => {
        $($(#[$doc])*
        pub const $const: $crate::metric::row::Metric = {
            use $crate::view::number::Number;
            const SERIES: &[(Number, &str)] = &[$((Number::$number, $value)),+];
            $crate::metric::row::Metric {
                name: $name,
                kind: $crate::metric::number::kind(SERIES[0].0),
                unit: SERIES[0].0.unit(),
                help: $help,
                labels: &$crate::metric::row::workload_and($label),
                needs: $crate::metric::number::needs(SERIES),
                read: |view, emit| $crate::metric::number::read(view, emit, SERIES),
            }
        };)*
    };
}
pub(super) use rows;
