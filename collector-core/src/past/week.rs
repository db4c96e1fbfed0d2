//! Hours of the week from quarters of an hour. Knows neither days nor whose quarters they are.

use super::day::{seconds, short, spread};
use super::{HOURS, Hour};
use crate::series::Series;
use crate::tier::{Known, kept};

const HOUR_NS: u64 = 3_600_000_000_000;
/// The Unix epoch was a Thursday.
const SINCE_MONDAY: u64 = 3 * 24;

/// The hour of the week of a moment, in UTC, from Monday at midnight on.
pub fn hour_of_week(time: u64) -> usize {
    ((time / HOUR_NS + SINCE_MONDAY) % HOURS as u64) as usize
}

/// Hours of the week that are being summed up.
#[derive(Clone, Debug, Default)]
pub struct Week(Vec<Sums>);

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    weeks: u16,
    /// The last week of which something was known, counted from one.
    last: u64,
    /// Memory: its means times the seconds of each, these seconds, and the most.
    total: f64,
    seconds: f64,
    most: f64,
}

impl Week {
    /// Adds a quarter. They come in the order of time.
    pub fn add(&mut self, quarter: &Known) {
        if self.0.is_empty() {
            self.0 = vec![Sums::default(); HOURS];
        }
        let Some(sums) = self.0.get_mut(hour_of_week(quarter.time)) else { return };
        let week = 1 + (quarter.time / HOUR_NS + SINCE_MONDAY) / HOURS as u64;
        sums.weeks += u16::from(sums.last != week);
        sums.last = week;
        let memory = kept(Series::Memory).and_then(|kept| spread(quarter.values[kept]));
        if let Some([mean, most]) = memory {
            let weight = f64::from(seconds(quarter)).max(1.0);
            sums.total += mean * weight;
            sums.seconds += weight;
            sums.most = sums.most.max(most);
        }
    }

    /// Empty if nothing is known.
    pub fn hours(&self) -> Vec<Hour> {
        let memory = |of: &Sums| (of.seconds > 0.0).then(|| [short(of.total / of.seconds).min(of.most), of.most]);
        self.0.iter().map(|of| Hour { weeks: of.weeks, memory: memory(of) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::{KEPT, Tier};

    const DAY: u64 = 24 * HOUR_NS;

    #[test]
    fn the_week_begins_on_monday_at_midnight_in_utc() {
        // 2026-11-23 was a Monday.
        let monday = 1_795_392_000 * 1_000_000_000;
        assert_eq!((hour_of_week(0), hour_of_week(monday), hour_of_week(monday - 1)), (3 * 24, 0, HOURS - 1));
        assert_eq!(hour_of_week(monday + 4 * DAY + 8 * HOUR_NS), 4 * 24 + 8);
    }

    #[test]
    fn an_hour_is_the_mean_over_the_weeks_in_which_it_is_known() {
        let quarter = |time: u64, memory: f32| {
            let mut values = [[None; 3]; KEPT.len()];
            values[kept(Series::Memory).unwrap()] = [Some(0.0), Some(memory), Some(2.0 * memory)];
            Known { time, seconds: 900, values }
        };
        let mut week = Week::default();
        assert!(week.hours().is_empty());
        // Four quarters of an hour on each of two Thursdays, and one of the hour after on the second alone.
        for start in [0, 7 * DAY] {
            for index in 0..4 {
                week.add(&quarter(start + index * Tier::QuarterHour.step(), if start == 0 { 1.0 } else { 3.0 }));
            }
        }
        week.add(&quarter(7 * DAY + HOUR_NS, 5.0));
        let hours = week.hours();
        assert_eq!(hours.len(), HOURS);
        assert_eq!((hours[72].weeks, hours[72].memory), (2, Some([2.0, 6.0])));
        assert_eq!((hours[73].weeks, hours[73].memory), (1, Some([5.0, 10.0])));
        assert_eq!(hours[0], Hour::default(), "nothing is known of it");
    }
}
