//! The last minutes of the host or of one workload, series by series: what the answers of `/api/v1/history` add up to.

use std::collections::{BTreeMap, VecDeque};

use collector_core::api::window::{History, USUAL};
use collector_core::series::Series;

const SECOND: u64 = 1_000_000_000;
/// A point stands for the time since the one before it, but not for more than this: what is longer is a gap.
const STEP: u64 = 15 * SECOND;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Track {
    /// When it ends, in nanoseconds since the Unix epoch.
    end: u64,
    /// Times and means, the oldest first.
    series: BTreeMap<String, VecDeque<(u64, Option<f64>)>>,
}

impl Track {
    pub fn of(history: &History) -> Track {
        let mut track = Track::default();
        track.add(history);
        track
    }

    /// Adds the points that are newer than those here, and drops those before the window.
    pub fn add(&mut self, history: &History) {
        self.end = history.time;
        let from = self.from();
        for points in &history.series {
            let mine = self.series.entry(points.series.clone()).or_default();
            let last = mine.back().map_or(0, |(time, _)| *time);
            let new = points.times.iter().copied().zip(points.mean.iter().copied());
            mine.extend(new.filter(|(time, _)| *time > last));
        }
        for points in self.series.values_mut() {
            while points.front().is_some_and(|(time, _)| *time < from) {
                points.pop_front();
            }
        }
        self.series.retain(|_, points| points.iter().any(|(_, value)| value.is_some()));
    }

    /// The window to ask for next, in seconds: all of it, or what is new since the last answer and a little more.
    pub fn wanted(&self, now: u64) -> u64 {
        let gap = now.saturating_sub(self.end) / SECOND;
        if self.series.is_empty() { USUAL } else { (gap + 10).min(USUAL) }
    }

    fn from(&self) -> u64 {
        self.end.saturating_sub(USUAL * SECOND)
    }

    /// The newest value that is known.
    pub fn last(&self, series: Series) -> Option<f64> {
        self.series.get(series.name())?.iter().rev().find_map(|(_, value)| *value)
    }

    pub fn most(&self, series: Series) -> Option<f64> {
        self.series.get(series.name())?.iter().filter_map(|(_, value)| *value).reduce(f64::max)
    }

    pub fn is_known(&self, series: Series) -> bool {
        self.series.contains_key(series.name())
    }

    /// The whole window in this many columns, the last of which ends now: the highest of the points in each.
    pub fn columns(&self, series: Series, columns: usize) -> Vec<Option<f64>> {
        let mut heights = vec![None; columns];
        let (Some(points), Some(last)) = (self.series.get(series.name()), columns.checked_sub(1)) else {
            return heights;
        };
        let from = self.from();
        let column = |time: u64| {
            let share = time.saturating_sub(from) as f64 / (USUAL * SECOND) as f64;
            ((share * columns as f64) as usize).min(last)
        };
        let mut before = None;
        for (time, value) in points {
            let begin = before.filter(|before| time - before <= STEP).map_or(*time, |before| before + 1);
            before = Some(*time);
            let Some(value) = value else { continue };
            for height in &mut heights[column(begin)..=column(*time)] {
                *height = Some(height.map_or(*value, |height: f64| height.max(*value)));
            }
        }
        heights
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use collector_core::api::history::{Points, Tier};

    fn history(end: u64, points: &[(u64, f32)]) -> History {
        let values = points.iter().map(|(time, value)| (time * SECOND, [Some(*value); 3]));
        let series = vec![Points::new(None, Series::Memory, Tier::Second, 0, values)];
        History { time: end * SECOND, window_seconds: USUAL, workload: None, series, missing: Vec::new() }
    }

    #[test]
    fn answers_add_up_and_what_is_old_goes() {
        let mut track = Track::of(&history(1000, &[(700, 1.0), (999, 2.0), (1000, 3.0)]));
        assert_eq!(track.wanted(1002 * SECOND), 12);
        track.add(&history(1002, &[(1000, 3.0), (1001, 9.0), (1002, 4.0)]));
        let times: Vec<u64> = track.series[Series::Memory.name()].iter().map(|(time, _)| time / SECOND).collect();
        assert_eq!(times, [999, 1000, 1001, 1002]);
        assert_eq!((track.last(Series::Memory), track.most(Series::Memory)), (Some(4.0), Some(9.0)));
        assert_eq!((track.last(Series::Vram), track.is_known(Series::Vram)), (None, false));
        assert_eq!(Track::default().wanted(5), USUAL);
    }

    #[test]
    fn a_column_has_the_highest_point_and_a_gap_stays_one() {
        let track = Track::of(&history(300, &[(10, 1.0), (11, 5.0), (12, 2.0), (290, 7.0), (300, 3.0)]));
        let columns = track.columns(Series::Memory, 10);
        assert_eq!(columns, [Some(5.0), None, None, None, None, None, None, None, None, Some(7.0)]);
        assert_eq!(track.columns(Series::Memory, 0), []);
        assert_eq!(track.columns(Series::Vram, 2), [None, None]);
        let fine = track.columns(Series::Memory, 300);
        assert_eq!(fine[291..].iter().flatten().count(), 9, "ten seconds between two points are no gap");
    }
}
