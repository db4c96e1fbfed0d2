//! Readings of the last seconds, for rates.

use std::collections::VecDeque;

/// How far back rates reach, in nanoseconds.
const REACH_NS: u64 = 10_000_000_000;
/// A reading that follows the one before sooner is replaced by the next.
const APART_NS: u64 = 900_000_000;
const KEPT: usize = 13;

/// Readings of one subject, oldest first.
#[derive(Clone, Debug)]
pub struct Past<T>(VecDeque<(u64, T)>);

impl<T> Default for Past<T> {
    fn default() -> Past<T> {
        Past(VecDeque::new())
    }
}

impl<T> Past<T> {
    /// Keeps a reading, with its time in nanoseconds since the Unix epoch.
    pub(super) fn keep(&mut self, time: u64, reading: T) {
        let Past(kept) = self;
        if kept.capacity() == 0 {
            kept.reserve_exact(KEPT);
        }
        if kept.back().is_some_and(|(last, _)| time < *last) {
            // The clock was set back.
            kept.clear();
        }
        let [last, before] = [1, 2].map(|back| kept.len().checked_sub(back).map(|index| kept[index].0));
        if last.zip(before).is_some_and(|(last, before)| last - before < APART_NS) {
            kept.pop_back();
        }
        // One stays that is as old as the reach, or older.
        while kept.len() == KEPT || kept.get(1).is_some_and(|(second, _)| time - second >= REACH_NS) {
            kept.pop_front();
        }
        kept.push_back((time, reading));
    }

    /// Growth per second of a number over the last ten seconds, or since it is known; `None` if that is not known.
    pub fn pace(&self, number: impl Fn(&T) -> Option<u64>) -> Option<f64> {
        let (now, last) = self.0.back().and_then(|(time, reading)| Some((*time, number(reading)?)))?;
        let (then, first) = self.0.iter().find_map(|(time, reading)| Some((*time, number(reading)?)))?;
        (now > then && last >= first).then(|| (last - first) as f64 / ((now - then) as f64 / 1e9))
    }

    /// The same of a time in nanoseconds, which cannot grow faster than the clock: a share of 0 to 1.
    pub fn share(&self, number: impl Fn(&T) -> Option<u64>) -> Option<f64> {
        self.pace(number).map(|pace| (pace / 1e9).min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn past(readings: &[(u64, u64)]) -> Past<u64> {
        let mut past = Past::default();
        readings.iter().for_each(|(time, number)| past.keep(*time, *number));
        past
    }

    fn pace(readings: &[(u64, u64)]) -> Option<f64> {
        past(readings).pace(|number| Some(*number))
    }

    #[test]
    fn a_pace_reaches_back_ten_seconds_however_often_readings_come() {
        for step in [SECOND / 100, SECOND / 5, SECOND, 3 * SECOND] {
            // It grew by one a second for a minute, then by seven.
            let number = |time: u64| time / SECOND + 6 * (time / SECOND).saturating_sub(60);
            let past = past(&(0..90 * SECOND).step_by(step as usize).map(|at| (at, number(at))).collect::<Vec<_>>());
            let pace = past.pace(|number| Some(*number)).unwrap();
            assert!((pace - 7.0).abs() < 0.8, "{step}: {pace}");
            assert!(past.0.len() <= KEPT && past.0.capacity() <= KEPT, "{}", past.0.capacity());
        }
        assert_eq!(pace(&[(0, 5), (SECOND / 5, 6)]), Some(5.0), "two readings are enough");
    }

    #[test]
    fn what_is_not_known_has_no_pace() {
        assert_eq!([pace(&[]), pace(&[(1, 5)]), pace(&[(1, 5), (1, 5)]), pace(&[(1, 5), (9, 4)])], [None; 4]);
        assert_eq!(pace(&[(5 * SECOND, 5), (SECOND, 50)]), None, "the clock was set back");
        assert_eq!(past(&[(0, 0), (SECOND, 3 * SECOND)]).share(|number| Some(*number)), Some(1.0));
        let since = past(&[(0, 0), (SECOND, 4), (2 * SECOND, 6)]).pace(|number| (*number > 0).then_some(*number));
        assert_eq!(since, Some(2.0), "since it is known");
    }
}
