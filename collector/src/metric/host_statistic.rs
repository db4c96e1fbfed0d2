//! Rows whose numbers are statistics of the host: which, under which labels, is all that a row has to say.

use std::fmt;

use super::render::Emit;
use crate::statistic::host::Statistic;
use crate::view::View;

/// A series: the values of its labels, and its number.
pub(super) type Series = (&'static [&'static str], Statistic);

/// Declares metrics: `NAME: Kind Unit "name" (its labels), "help" { [values of the labels] Statistic, … }`.
macro_rules! rows {
    ($(
        $(#[$about:meta])*
        $const:ident: $kind:ident $unit:ident $name:literal $(($($label:literal),+))?, $help:literal
        { $([$($value:literal),*] $statistic:ident),+ $(,)? }
    )+) => {$(
        $(#[$about])*
        pub const $const: $crate::metric::Metric = $crate::metric::Metric {
            name: $name,
            kind: $crate::metric::Kind::$kind,
            unit: $crate::metric::host_statistic::unit!($unit),
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
        Some($crate::metric::Unit::$unit)
    };
}
pub(super) use unit;

/// Writes those that are known.
pub(super) fn emit(view: &View, emit: &mut Emit<'_, '_>, series: &[Series]) -> fmt::Result {
    let values = &view.host.statistics;
    let boot = values.get(Statistic::BootTime).unwrap_or(0);
    for (labels, statistic) in series {
        if let Some(number) = values.get(*statistic) {
            emit.statistic_since(labels, number, boot)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::metric::{Format, render};
    use crate::statistic::host::Values;
    use crate::statistic::{Nature, Statistic as _};

    #[test]
    fn every_statistic_is_shown_and_a_counter_as_one() {
        for statistic in Statistic::ALL.iter().copied() {
            let mut view = View::default();
            let shown = |view: &View| {
                let text = render(&Arc::new(view.clone()), Format::OpenMetrics, 1000).text;
                text.lines().filter(|line| line.starts_with("headroom_host_")).map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(shown(&view), Vec::<String>::new());
            view.host.statistics = Values::from_iter([(statistic, 7)]);
            // Without a time of boot there is nothing to say of when it began.
            let series = shown(&view);
            assert_eq!(series.len(), 1, "{statistic:?}: {series:?}");
            let name = series[0].split(['{', ' ']).next().unwrap();
            assert_eq!(name.ends_with("_total"), statistic.nature() == Nature::Counter, "{series:?}");
        }
    }

    #[test]
    fn a_counter_began_when_the_host_did() {
        let mut view = View::default();
        let values = [(Statistic::ContextSwitches, 7), (Statistic::BootTime, 1_500_000_000)];
        view.host.statistics = Values::from_iter(values);
        let text = render(&Arc::new(view), Format::OpenMetrics, 1000).text;
        assert!(text.contains("headroom_host_context_switches_created 1.500\n"), "{text}");
        assert!(text.contains("headroom_host_boot_time_seconds 1.5\n"), "{text}");
    }
}
