//! Local time of moments in a period. Whoever reads the clock says how far it is from UTC; this file has no clock.

use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

const SECOND: u64 = 1_000_000_000;
const DAY: i64 = 24 * 3600;
/// Names of the days of a week, which begins on Monday.
pub const DAY_NAMES: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// The day of the week of a date, counted from 1 January 1970, which was a Thursday: 0 is Monday.
pub fn weekday(date: i64) -> usize {
    date.saturating_add(3).rem_euclid(7) as usize
}

/// How far local time is from UTC. Clocks change within a period.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// From when on (nanoseconds since the Unix epoch), by how many seconds local time is ahead, and what it is called. In order.
    changes: Vec<(u64, i64, String)>,
}

impl Zone {
    pub fn utc() -> Zone {
        Zone::default()
    }

    /// From readings in order; only those that differ from the one before are kept.
    pub fn new(readings: impl IntoIterator<Item = (u64, i64, String)>) -> Zone {
        let mut changes: Vec<(u64, i64, String)> = Vec::new();
        for (time, offset, name) in readings {
            if changes.last().is_none_or(|last| (last.1, &last.2) != (offset, &name)) {
                changes.push((time, offset, name));
            }
        }
        Zone { changes }
    }

    fn at(&self, time: u64) -> (i64, &str) {
        let before = self.changes.iter().rev().find(|(from, ..)| *from <= time);
        before.or(self.changes.first()).map_or((0, "UTC"), |(_, offset, name)| (*offset, name))
    }

    /// What local time is called: `UTC`, or `CET (UTC+1)`.
    pub fn name(&self, from: u64, to: u64) -> String {
        let within = |(begin, ..): &&(u64, i64, String)| (from..to).contains(begin);
        let times = std::iter::once(from).chain(self.changes.iter().filter(within).map(|(begin, ..)| *begin));
        let mut names: Vec<String> = Vec::new();
        for (offset, name) in times.map(|time| self.at(time)) {
            let (hours, minutes) = (offset.abs() / 3600, offset.abs() / 60 % 60);
            let sign = if offset < 0 { '-' } else { '+' };
            let whole = match (name, minutes) {
                ("UTC", _) => name.to_owned(),
                (_, 0) => format!("{name} (UTC{sign}{hours})"),
                _ => format!("{name} (UTC{sign}{hours}:{minutes:02})"),
            };
            if !names.contains(&whole) {
                names.push(whole);
            }
        }
        names.join(", ")
    }

    /// By how many hours local time is ahead of UTC at a moment, if it is by whole ones.
    pub fn hours_ahead(&self, time: u64) -> Option<i64> {
        let (ahead, _) = self.at(time);
        (ahead % 3600 == 0).then_some(ahead / 3600)
    }

    /// By how many seconds local time is ahead of UTC at a moment.
    pub fn ahead(&self, time: u64) -> i64 {
        self.at(time).0
    }

    /// Seconds of local time since the Unix epoch.
    fn local(&self, time: u64) -> i64 {
        ((time / SECOND) as i64).saturating_add(self.at(time).0)
    }

    /// The day of local time that a moment is in, counted from 1 January 1970.
    pub fn date(&self, time: u64) -> i64 {
        self.local(time).div_euclid(DAY)
    }

    /// The first moment at which clocks show this time of a day, in seconds after its midnight, or a later one. If they are set forward past
    /// it, that is when they are set; if they show it twice, it is the first time.
    pub fn first(&self, date: i64, seconds: i64) -> u64 {
        let local = date.saturating_mul(DAY).saturating_add(seconds);
        let moment = |ahead: i64| u64::try_from(local.saturating_sub(ahead)).unwrap_or(0).saturating_mul(SECOND);
        for (at, (from, ahead, _)) in self.changes.iter().enumerate() {
            // Before the first reading it was the same, as far as anybody knows.
            let from = if at == 0 { 0 } else { *from };
            let until = self.changes.get(at + 1).map_or(u64::MAX, |(next, ..)| *next);
            let time = moment(*ahead).max(from);
            if time < until {
                return time;
            }
        }
        moment(0)
    }

    /// `2026-11-20 14:15`.
    pub fn minute(&self, time: u64) -> String {
        written(self.local(time)).get(..16).unwrap_or_default().replace('T', " ")
    }

    /// `Fri 20 Nov`.
    pub fn day(&self, time: u64) -> String {
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let local = self.local(time);
        let date = written(local);
        let number = |range| date.get::<std::ops::Range<usize>>(range).and_then(|text| text.parse().ok()).unwrap_or(1);
        let month = MONTHS[number(5..7).clamp(1, 12) - 1];
        format!("{} {} {month}", DAY_NAMES[weekday(local.div_euclid(DAY))], number(8..10))
    }

    /// `14:15`.
    pub fn hour(&self, time: u64) -> String {
        written(self.local(time)).get(11..16).unwrap_or_default().to_owned()
    }

    /// Moments of a period at whole steps of local time, such as its midnights. `step`: seconds, which divide a day or are days.
    pub fn steps(&self, from: u64, to: u64, step: u64) -> Vec<u64> {
        let wide = step as i64;
        let mut times = Vec::new();
        let mut local = self.local(from).div_euclid(wide) * wide;
        while times.len() < 1000 {
            // The offset of then, which may be another than that of the guess.
            let guess = (local - self.at(from).0).max(0) as u64 * SECOND;
            let time = (local - self.at(guess).0).max(0) as u64 * SECOND;
            if time >= to {
                break;
            }
            times.extend((time >= from).then_some(time));
            local += wide;
        }
        times
    }
}

fn written(seconds: i64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds.max(0) as u64)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-10-25 01:00 UTC, when central European clocks went back by an hour.
    const BACK: u64 = 1_792_890_000 * SECOND;
    const HOUR: u64 = 3600 * SECOND;

    fn berlin() -> Zone {
        let cest = |time| (time, 7200, "CEST".to_owned());
        Zone::new([cest(BACK - 50 * HOUR), cest(BACK - 2 * HOUR), (BACK, 3600, "CET".to_owned())])
    }

    #[test]
    fn moments_are_written_as_clocks_showed_them() {
        let (utc, berlin) = (Zone::utc(), berlin());
        assert_eq!(utc.minute(BACK), "2026-10-25 01:00");
        assert_eq!(
            (berlin.minute(BACK - 1), berlin.minute(BACK)),
            ("2026-10-25 02:59".into(), "2026-10-25 02:00".into())
        );
        assert_eq!((berlin.day(BACK), berlin.hour(BACK)), ("Sun 25 Oct".into(), "02:00".into()));
        assert_eq!(berlin.day(BACK - 4 * HOUR), "Sat 24 Oct");
        assert_eq!(utc.day(0), "Thu 1 Jan");
    }

    #[test]
    fn a_day_on_which_clocks_change_begins_at_midnight() {
        let berlin = berlin();
        let midnights = berlin.steps(BACK - 30 * HOUR, BACK + 50 * HOUR, 24 * 3600);
        let written: Vec<_> = midnights.iter().map(|time| berlin.minute(*time)).collect();
        assert_eq!(written, ["2026-10-24 00:00", "2026-10-25 00:00", "2026-10-26 00:00", "2026-10-27 00:00"]);
        assert_eq!(midnights[2] - midnights[1], 25 * HOUR);
        assert_eq!(Zone::utc().steps(BACK, BACK + HOUR, 1800), [BACK, BACK + HOUR / 2]);
    }

    #[test]
    fn a_time_of_day_is_the_first_moment_at_which_clocks_show_it_or_a_later_one() {
        let (berlin, day) = (berlin(), 20_751);
        assert_eq!((berlin.date(BACK), berlin.day(BACK)), (day, "Sun 25 Oct".into()));
        let at = |zone: &Zone, date, hour: i64, minute: i64| zone.first(date, hour * 3600 + minute * 60);
        // Twice: before the change and an hour later.
        assert_eq!(at(&berlin, day, 2, 30), BACK - HOUR / 2);
        assert_eq!(at(&berlin, day, 3, 0), BACK + HOUR);
        assert_eq!(at(&berlin, day - 1, 8, 30), BACK - 18 * HOUR - HOUR / 2);
        // 2026-03-29 01:00 UTC: from two to three there is none.
        let (forth, day) = (1_774_746_000 * SECOND, 20_541);
        let zone = Zone::new([(forth - 50 * HOUR, 3600, "CET".to_owned()), (forth, 7200, "CEST".to_owned())]);
        assert_eq!(zone.date(forth), day);
        for (hour, minute, wanted) in
            [(1, 59, forth - HOUR / 60), (2, 0, forth), (2, 30, forth), (3, 0, forth), (3, 1, forth + HOUR / 60)]
        {
            assert_eq!(at(&zone, day, hour, minute), wanted, "{hour}:{minute}");
        }
        assert_eq!(Zone::utc().first(1, 60), 24 * HOUR + HOUR / 60);
        assert_eq!(zone.first(i64::MAX, 1), u64::MAX, "far ahead is far ahead");
        assert_eq!(zone.first(i64::MIN, 1), 0);
    }

    #[test]
    fn its_name_says_how_far_it_is_from_utc() {
        assert_eq!(Zone::utc().name(0, BACK), "UTC");
        assert_eq!(berlin().name(BACK - HOUR, BACK + HOUR), "CEST (UTC+2), CET (UTC+1)");
        assert_eq!(berlin().name(BACK + HOUR, BACK + 2 * HOUR), "CET (UTC+1)");
        assert_eq!(Zone::new([(0, -12_600, "NST".to_owned())]).name(0, 1), "NST (UTC-3:30)");
    }
}
