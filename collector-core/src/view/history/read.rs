//! Reads the history: the minute before a moment.

use std::collections::BTreeMap;

use super::{CAPACITY, History, REACH_NS, Track, place};
use crate::series::Series;

/// The points of the minute before a moment, oldest first: index and time of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window(Vec<(u64, u64)>);

impl History {
    pub(crate) fn window(&self, until: u64) -> Window {
        let first = self.first.max(self.begun.saturating_sub(CAPACITY as u64));
        let timed = (first..self.begun).map(|point| (point, self.times[place(point)]));
        let within = |(_, time): &(u64, u64)| *time <= until && until - *time <= REACH_NS;
        Window(timed.filter(within).collect())
    }
}

impl Window {
    /// When the points were written.
    pub(crate) fn times(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|(_, time)| *time)
    }

    /// A series, point by point.
    pub(crate) fn column(&self, track: &Track, series: Series) -> Vec<Option<f64>> {
        self.0.iter().map(|(point, _)| track.get(*point, series).map(|value| round(series, value))).collect()
    }

    /// Every series with at least one known value, by name.
    pub(crate) fn lines(&self, track: &Track) -> BTreeMap<String, Vec<Option<f64>>> {
        let lines = Series::ALL.map(|series| (series.name().to_owned(), self.column(track, series)));
        lines.into_iter().filter(|(_, line)| line.iter().any(Option::is_some)).collect()
    }

    /// The value of a series at the newest point; `None` if only older values are known.
    pub(crate) fn newest(&self, track: &Track, series: Series) -> Option<f64> {
        track.get(self.0.last()?.0, series)
    }

    /// Growth of a series from the first point with a known value to the newest.
    pub(crate) fn growth(&self, track: &Track, series: Series) -> Option<f64> {
        let first = self.0.iter().find_map(|(point, _)| track.get(*point, series))?;
        Some(self.newest(track, series)? - first)
    }

    /// The integral of a rate over the time for which it is known.
    pub(crate) fn total(&self, track: &Track, series: Series) -> Option<f64> {
        let spans = self.0.windows(2).map(|pair| (pair[1].0, (pair[1].1 - pair[0].1) as f64 / 1e9));
        let known = spans.filter_map(|(point, seconds)| Some(track.get(point, series)? * seconds));
        known.fold(None, |sum, more| Some(sum.unwrap_or(0.0) + more))
    }
}

/// Drops the digits that single precision does not have.
fn round(series: Series, value: f64) -> f64 {
    if series.name().contains("bytes") { value.round() } else { (value * 1e4).round() / 1e4 }
}
