//! Rows whose numbers are statistics of the host: a row names the statistics and their labels, nothing else.

use std::fmt;

use super::row::Emit;
use crate::statistic::host::Statistic;
use crate::view::View;

/// A series: the values of its labels, and its statistic.
pub(super) type Series = (&'static [&'static str], Statistic);

/// Declares metrics: `NAME: Kind Unit "name" (its labels), "help" { [values of the labels] Statistic, … }`.
macro_rules! rows {
    ($(
        $(#[$about:meta])*
        $const:ident: $kind:ident $unit:ident $name:literal $(($($label:literal),+))?, $help:literal
        { $([$($value:literal),*] $statistic:ident),+ $(,)? }
    )+) => {$(
        $(#[$about])*
        pub const $const: $crate::metric::row::Metric = $crate::metric::row::Metric {
            name: $name,
            kind: $crate::metric::row::Kind::$kind,
            unit: $crate::metric::host_statistic::unit!($unit),
            detail: $crate::metric::row::Detail::Always,
            help: $help,
            labels: &[$($($label),+)?],
            needs: &[],
            read: |view, emit| $crate::metric::host_statistic::emit(
                view,
                emit,
                &[$((&[$($value),*], $crate::statistic::host::Statistic::$statistic)),+],
            ),
        };
    )+};
}
pub(super) use rows;

macro_rules! unit {
    (None) => {
        None
    };
    ($unit:ident) => {
        Some($crate::metric::row::Unit::$unit)
    };
}
pub(super) use unit;

/// Emits the series whose statistics are known.
pub(super) fn emit(view: &View, emit: &mut Emit<'_>, series: &[Series]) -> fmt::Result {
    let values = &view.host.statistics;
    let boot = values.get(Statistic::BootTime).unwrap_or(0);
    for (labels, statistic) in series {
        if let Some(number) = values.get(*statistic) {
            emit.number_since(labels, number, boot)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::METRICS;
    use crate::metric::row::Kind;
    use crate::metric::visit::{Part, visit};
    use crate::statistic::host::Values;
    use crate::statistic::{self, Statistic as _};

    /// The host's series: name, kind, number, and when it began.
    fn shown(view: &View) -> Vec<(&'static str, Kind, f64, u64)> {
        let mut shown = Vec::new();
        for metric in METRICS.iter().filter(|metric| metric.name.starts_with("headroom_host_")) {
            let part = if metric.kind == Kind::Histogram { Part::Count } else { Part::Whole };
            visit(view, metric, part, &mut |_, number, created| {
                shown.push((metric.name, metric.kind, number, created));
            });
        }
        shown
    }

    #[test]
    fn every_statistic_has_a_series_of_its_kind() {
        for statistic in Statistic::ALL.iter().copied() {
            let mut view = View::default();
            assert_eq!(shown(&view), []);
            view.host.statistics = Values::from_iter([(statistic, 7)]);
            let series = shown(&view);
            assert_eq!(series.len(), 1, "{statistic:?}: {series:?}");
            assert_eq!(series[0].1 == Kind::Counter, statistic.kind() == statistic::Kind::Counter, "{series:?}");
        }
    }

    #[test]
    fn a_counter_starts_at_boot() {
        let mut view = View::default();
        let values = [(Statistic::ContextSwitches, 7), (Statistic::BootTime, 1_500_000_000)];
        view.host.statistics = Values::from_iter(values);
        let series = shown(&view);
        assert!(series.contains(&("headroom_host_context_switches_total", Kind::Counter, 7.0, 1_500_000_000)));
        assert!(series.contains(&("headroom_host_boot_time_seconds", Kind::Gauge, 1.5, 0)), "{series:?}");
    }
}
