//! Reads the history: the minute before a moment.

use std::collections::BTreeMap;
use std::ops::Range;

use super::value::ROWS;
use super::{CHUNKS, History, REACH_NS, Track, place};
use crate::series::Series;

/// The points of the minute before a moment, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Window {
    /// Index and time of each.
    points: Vec<(u64, u64)>,
    /// The points that are judged: growth and totals are over these.
    part: Range<usize>,
    /// The point after the one at which levels are taken.
    at: usize,
}

impl History {
    pub(crate) fn window(&self, until: u64) -> Window {
        let timed = self.points().map(|point| (point, self.times[place(point)]));
        let within = |(_, time): &(u64, u64)| *time <= until && until - *time <= REACH_NS;
        let points: Vec<(u64, u64)> = timed.filter(within).collect();
        Window { part: 0..points.len(), at: points.len(), points }
    }
}

impl History {
    /// The points that a track may have.
    pub(super) fn points(&self) -> Range<u64> {
        self.first.max(self.begun.saturating_sub(CHUNKS as u64 * ROWS))..self.begun
    }

    /// The points of the host within `reach` nanoseconds before the newest, newest first: time and value. Allocates nothing.
    fn recent(&self, series: Series, reach: u64) -> impl Iterator<Item = (u64, f64)> {
        let newest = self.times[place(self.begun.saturating_sub(1))];
        let timed = self.points().rev().map(|point| (point, self.times[place(point)]));
        let within = timed.take_while(move |(_, time)| newest.saturating_sub(*time) <= reach);
        within.filter_map(move |(point, time)| Some((time, self.host.get(point, series)?)))
    }

    /// The mean of a series of the host over the last `reach` nanoseconds, as far as it is known.
    pub(crate) fn mean(&self, series: Series, reach: u64) -> Option<f64> {
        let (count, sum) =
            self.recent(series, reach).fold((0u32, 0.0), |(count, sum), (_, value)| (count + 1, sum + value));
        (count > 0).then(|| sum / f64::from(count))
    }

    /// Growth per second of a series of the host over the last `reach` nanoseconds; `None` if less than a third of that is known.
    pub(crate) fn pace(&self, series: Series, reach: u64) -> Option<f64> {
        let mut recent = self.recent(series, reach);
        let (now, last) = recent.next()?;
        let (then, first) = recent.last()?;
        let elapsed = now.saturating_sub(then);
        (elapsed >= reach / 3 && elapsed > 0).then(|| (last - first) / (elapsed as f64 / 1e9))
    }
}

impl Window {
    /// The same points, of which only those of a period are judged, and levels at a moment in it.
    pub(crate) fn judged(self, from: u64, until: u64, at: u64) -> Window {
        let after = |time: u64| self.points.iter().take_while(|(_, then)| *then <= time).count();
        // A rate covers the time since the point before: that one belongs to the period.
        let part = after(from).saturating_sub(1)..after(until);
        let at = after(at).clamp(part.start, part.end.max(part.start));
        Window { part, at, ..self }
    }

    /// When the first and the last of the judged points were written.
    pub(crate) fn period(&self) -> Option<(u64, u64)> {
        let judged = self.points.get(self.part.clone())?;
        Some((judged.first()?.1, judged.last()?.1))
    }

    /// When the points were written.
    pub(crate) fn times(&self) -> impl Iterator<Item = u64> {
        self.points.iter().map(|(_, time)| *time)
    }

    /// A series, point by point.
    pub(crate) fn column(&self, track: &Track, series: Series) -> Vec<Option<f64>> {
        self.points.iter().map(|(point, _)| track.get(*point, series).map(|value| round(series, value))).collect()
    }

    /// Every series of an incident with at least one known value, by name.
    pub(crate) fn lines(&self, track: &Track) -> BTreeMap<String, Vec<Option<f64>>> {
        let series = Series::ALL.into_iter().filter(|series| series.is_evidence());
        let lines = series.map(|series| (series.name().to_owned(), self.column(track, series)));
        lines.filter(|(_, line)| line.iter().any(Option::is_some)).collect()
    }

    /// The value of a series at the newest point, or at the moment that is judged; `None` if only older values are known.
    pub(crate) fn newest(&self, track: &Track, series: Series) -> Option<f64> {
        track.get(self.points[..self.at].last()?.0, series)
    }

    /// Growth of a series from the first point with a known value to the newest.
    pub(crate) fn growth(&self, track: &Track, series: Series) -> Option<f64> {
        let judged = self.points.get(self.part.clone())?;
        let first = judged.iter().find_map(|(point, _)| track.get(*point, series))?;
        Some(self.newest(track, series)? - first)
    }

    /// The integral of a rate over the time for which it is known.
    pub(crate) fn total(&self, track: &Track, series: Series) -> Option<f64> {
        let judged = self.points.get(self.part.clone())?;
        let spans = judged.windows(2).map(|pair| (pair[1].0, (pair[1].1 - pair[0].1) as f64 / 1e9));
        let known = spans.filter_map(|(point, seconds)| Some(track.get(point, series)? * seconds));
        known.fold(None, |sum, more| Some(sum.unwrap_or(0.0) + more))
    }
}

/// Drops the digits that single precision does not have.
fn round(series: Series, value: f64) -> f64 {
    if series.name().contains("bytes") { value.round() } else { (value * 1e4).round() / 1e4 }
}
