//! What the configuration reserves ahead, on its way to the engine: with local time of the days around now, because the engine has no clock.
//! Clocks are set twice a year, so it is passed on again every few hours.

use collector_core::schedule::{Entry, Schedule};

use crate::zone;

const HOUR_NS: u64 = 3600 * 1_000_000_000;
/// How far back and ahead local time is read: a reservation of yesterday may still be there, and the next one may be a week ahead.
const BACK_NS: u64 = 48 * HOUR_NS;
const AHEAD_NS: u64 = 9 * 24 * HOUR_NS;
/// How often.
const INTERVAL_NS: u64 = 6 * HOUR_NS;

#[derive(Debug, Default)]
pub struct Timetable {
    entries: Vec<Entry>,
    /// When it was passed on, in nanoseconds since the Unix epoch.
    passed: u64,
}

impl Timetable {
    /// From now on these.
    pub fn replace(&mut self, entries: Vec<Entry>, time: u64) -> Schedule {
        (self.entries, self.passed) = (entries, time);
        let zone = zone::between((time.saturating_sub(BACK_NS), time.saturating_add(AHEAD_NS)));
        Schedule { entries: self.entries.clone(), zone }
    }

    /// What is to be passed on again.
    pub fn due(&mut self, time: u64) -> Option<Schedule> {
        if time.abs_diff(self.passed) < INTERVAL_NS {
            return None;
        }
        let entries = std::mem::take(&mut self.entries);
        Some(self.replace(entries, time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_is_passed_on_again_before_it_ends() {
        let now = 1_700_000_000 * 1_000_000_000;
        let mut timetable = Timetable::default();
        let first = timetable.replace(Vec::new(), now);
        assert_eq!(first.zone.ahead(now), zone::at(now / 1_000_000_000).unwrap().0);
        assert_eq!(timetable.due(now + INTERVAL_NS - 1), None);
        assert!(timetable.due(now + INTERVAL_NS).is_some());
        assert_eq!(timetable.due(now + INTERVAL_NS + 1), None);
        assert!(timetable.due(now).is_some(), "the clock was set back");
    }
}
