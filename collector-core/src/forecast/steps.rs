//! Steps of equal length, from the history's quarters of an hour: what a forecast is made from. Knows no forecast.

use crate::tier::{Extent, Tier, joined};

const QUARTER_NS: u64 = Tier::QuarterHour.step();
const HOUR_NS: u64 = 4 * QUARTER_NS;
/// So much of the past counts: what was longer ago says little of tomorrow.
const REACH_NS: u64 = 28 * 24 * HOUR_NS;
/// With less than that a step is a quarter of an hour, else an hour.
const FINE_NS: u64 = 48 * HOUR_NS;

/// A quarter of an hour of one number: when it began (nanoseconds since the Unix epoch), for how many seconds anything is known of it, and
/// minimum, mean and maximum.
pub type Quarter = (u64, u16, Extent);

/// Steps without a gap between them; one of which nothing is known has no value.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    /// When the first one began, in nanoseconds since the Unix epoch.
    pub from: u64,
    /// Length of each, in nanoseconds.
    pub step: u64,
    pub means: Vec<Option<f64>>,
}

impl Steps {
    /// Of quarters in the order of time, none of which began after `now`. `None` if nothing is known.
    pub fn new(quarters: &[Quarter], now: u64) -> Option<Steps> {
        let known = |(time, _, extent): &&Quarter| *time <= now && extent[1].is_some();
        let last = quarters.iter().filter(known).map(|(time, ..)| *time).max()?;
        let recent = |(time, ..): &&Quarter| last.saturating_sub(*time) < REACH_NS;
        let quarters = || quarters.iter().filter(known).filter(recent);
        let first = quarters().map(|(time, ..)| *time).min()?;
        let step = if last - first < FINE_NS { QUARTER_NS } else { HOUR_NS };
        let place = |time: u64| (time / step - first / step) as usize;
        let mut parts: Vec<Vec<(Extent, f32)>> = vec![Vec::new(); place(last) + 1];
        for (time, seconds, extent) in quarters() {
            parts[place(*time)].push((*extent, f32::from((*seconds).max(1))));
        }
        let means = parts.into_iter().map(|part| joined(part)[1].map(f64::from)).collect();
        Some(Steps { from: first / step * step, step, means })
    }

    /// Those of which anything is known, each with its place.
    pub fn known(&self) -> Vec<(usize, f64)> {
        self.means.iter().enumerate().filter_map(|(at, mean)| Some((at, (*mean)?))).collect()
    }

    /// Of how many hours anything is known.
    pub fn known_hours(&self) -> f64 {
        let known = self.means.iter().flatten().count();
        known as f64 * self.step as f64 / HOUR_NS as f64
    }

    /// From the first to the last one, in hours.
    pub fn span_hours(&self) -> f64 {
        self.means.len() as f64 * self.step as f64 / HOUR_NS as f64
    }

    pub fn an_hour(&self) -> usize {
        (HOUR_NS / self.step) as usize
    }

    /// When the last one ends.
    pub fn end(&self) -> u64 {
        self.from + self.means.len() as u64 * self.step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quarter(place: u64, mean: f32) -> Quarter {
        (place * QUARTER_NS, 900, [Some(mean - 1.0), Some(mean), Some(mean + 1.0)])
    }

    #[test]
    fn a_gap_has_steps_without_a_value_and_long_spans_have_hours() {
        let steps = Steps::new(&[quarter(8, 10.0), quarter(11, 12.0)], u64::MAX).unwrap();
        assert_eq!((steps.step, steps.from), (QUARTER_NS, 8 * QUARTER_NS));
        assert_eq!(steps.means, [Some(10.0), None, None, Some(12.0)]);
        assert_eq!(steps.known(), [(0, 10.0), (3, 12.0)]);
        assert_eq!((steps.known_hours(), steps.span_hours(), steps.end()), (0.5, 1.0, 12 * QUARTER_NS));
        let days: Vec<Quarter> = (0..4 * 72).map(|place| quarter(place, (place % 4) as f32)).collect();
        let steps = Steps::new(&days, u64::MAX).unwrap();
        assert_eq!((steps.step, steps.means.len(), steps.an_hour()), (HOUR_NS, 72, 1));
        assert_eq!(steps.means[0], Some(1.5));
    }

    #[test]
    fn what_is_too_old_or_lies_ahead_is_left_out() {
        let old = quarter(0, 1.0);
        let now = quarter(4 * 24 * 40, 2.0);
        let ahead = quarter(4 * 24 * 900, 3.0);
        let steps = Steps::new(&[old, now, ahead], now.0).unwrap();
        assert_eq!(steps.means, [Some(2.0)]);
        assert_eq!(Steps::new(&[ahead], now.0), None);
        assert_eq!(Steps::new(&[(0, 0, [None; 3])], now.0), None);
    }
}
