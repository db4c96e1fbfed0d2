//! Reservations that the configuration makes ahead, again and again: which there are, and when each begins, as data. Local time comes with
//! them: nothing here reads a clock. `engine/lease/schedule.rs` makes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::lease::{Priority, Want};
use crate::past::DAY_NS;
use crate::zone::{DAY_NAMES, Zone, weekday};

/// So many of them at most.
pub const MOST: usize = 64;
/// The longest that one lasts, in seconds.
pub const LONGEST: u64 = 24 * 3600;

/// A span of a week has no more dates, whatever a recording says of local time.
const DATES: usize = 16;
const EVERY_DAY: &str = "every day";
const FULL: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    pub entries: Vec<Entry>,
    /// Local time of the days around now.
    pub zone: Zone,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The unit whose start takes it up.
    pub unit: String,
    /// Whose start that is.
    pub uid: u32,
    pub days: Days,
    pub at: Clock,
    /// How long it lasts.
    pub seconds: u64,
    pub want: Want,
    /// The GPUs that it may be on, by number; those with most room if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    pub priority: Priority,
}

/// Days of the week: `Mon-Fri`, `Sat,Sun`, `every day`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Days(u8);

/// A time of day of a clock on the wall: `08:30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Clock {
    /// After midnight.
    minutes: u16,
}

impl Entry {
    /// When it begins, of the moments from one to before another, at most eight days later, in nanoseconds since the Unix epoch.
    pub fn begins(&self, zone: &Zone, from: u64, to: u64) -> impl Iterator<Item = u64> {
        // A day more on both sides: clocks are set.
        let dates = (zone.date(from).saturating_sub(1)..=zone.date(to).saturating_add(1)).take(DATES);
        let begin = move |date: i64| zone.first(date, i64::from(self.at.minutes) * 60);
        dates
            .filter(move |date| self.days.has(weekday(*date)))
            .map(begin)
            .filter(move |begin| (from..to).contains(begin))
    }

    /// Whether both reserve for the same start at the same time.
    pub fn is_twice(&self, other: &Entry) -> bool {
        let is_same = self.uid == other.uid && self.unit == other.unit;
        is_same && self.at == other.at && self.days.meet(other.days)
    }

    /// When it begins next.
    pub fn next(&self, zone: &Zone, time: u64) -> Option<u64> {
        self.begins(zone, time, time.saturating_add(8 * DAY_NS)).next()
    }
}

/// `Mon-Fri at 08:30`.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.days, self.at)
    }
}

impl Days {
    pub const ALL: Days = Days(0b111_1111);

    /// Of days, counted from Monday, 0.
    pub fn of(days: impl IntoIterator<Item = usize>) -> Days {
        Days(days.into_iter().fold(0, |all, day| all | (1 << (day % 7))))
    }

    fn has(self, day: usize) -> bool {
        self.0 & (1 << (day % 7)) != 0
    }

    /// Whether there is a day that both have.
    pub fn meet(self, other: Days) -> bool {
        self.0 & other.0 != 0
    }
}

impl FromStr for Days {
    type Err = String;

    fn from_str(text: &str) -> Result<Days, String> {
        let day = |name: &str| {
            let name = name.trim();
            let find = |names: &[&str]| names.iter().position(|known| name.eq_ignore_ascii_case(known));
            let found = find(&DAY_NAMES).or_else(|| find(&FULL));
            found.ok_or_else(|| format!("{name:?} is no day: expected Mon, Tue, Wed, Thu, Fri, Sat or Sun"))
        };
        if text.trim().eq_ignore_ascii_case(EVERY_DAY) {
            return Ok(Days::ALL);
        }
        let mut days = Days(0);
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (day(first)?, day(last)?);
            // Fri-Mon goes over the end of the week.
            let count = (last + 7 - first) % 7;
            days.0 |= Days::of((0..=count).map(|step| first + step)).0;
        }
        Ok(days)
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Days::ALL {
            return f.write_str(EVERY_DAY);
        }
        let (mut day, mut parts) = (0, Vec::new());
        while day < 7 {
            let count = (day..7).take_while(|day| self.has(*day)).count();
            match count {
                0 => {}
                1 => parts.push(DAY_NAMES[day].to_owned()),
                2 => parts.push(format!("{},{}", DAY_NAMES[day], DAY_NAMES[day + 1])),
                _ => parts.push(format!("{}-{}", DAY_NAMES[day], DAY_NAMES[day + count - 1])),
            }
            day += count.max(1);
        }
        f.write_str(&parts.join(","))
    }
}

impl TryFrom<String> for Days {
    type Error = String;

    fn try_from(text: String) -> Result<Days, String> {
        text.parse()
    }
}

impl From<Days> for String {
    fn from(days: Days) -> String {
        days.to_string()
    }
}

impl Clock {
    /// So many minutes after midnight.
    pub fn new(minutes: u16) -> Clock {
        Clock { minutes: minutes % (24 * 60) }
    }
}

impl FromStr for Clock {
    type Err = String;

    fn from_str(text: &str) -> Result<Clock, String> {
        let number = |text: &str, most: u16| {
            let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>().ok().filter(|number| digits && *number <= most)
        };
        let read = text.split_once(':').and_then(|(hours, minutes)| Some((number(hours, 23)?, number(minutes, 59)?)));
        let (hours, minutes) = read.ok_or_else(|| format!("{text:?} is not a time of day, such as 08:30"))?;
        Ok(Clock { minutes: hours * 60 + minutes })
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

impl TryFrom<String> for Clock {
    type Error = String;

    fn try_from(text: String) -> Result<Clock, String> {
        text.parse()
    }
}

impl From<Clock> for String {
    fn from(clock: Clock) -> String {
        clock.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const HOUR: u64 = 3600 * SECOND;
    /// 2026-10-25 01:00 UTC, a Sunday, when central European clocks went back by an hour.
    const BACK: u64 = 1_792_890_000 * SECOND;

    fn entry(days: &str, at: &str) -> Entry {
        Entry {
            unit: "chat".into(),
            uid: 0,
            days: days.parse().unwrap(),
            at: at.parse().unwrap(),
            seconds: 3600,
            want: Want::default(),
            gpus: Vec::new(),
            priority: Priority::Normal,
        }
    }

    #[test]
    fn days_are_names_lists_and_ranges_also_over_the_end_of_the_week() {
        for (text, shown) in [
            ("Mon-Fri", "Mon-Fri"),
            ("sat, sun", "Sat,Sun"),
            ("Mon-Thu,Saturday", "Mon-Thu,Sat"),
            ("Fri-Mon", "Mon,Fri-Sun"),
            ("Wed", "Wed"),
            ("Mon-Sun", "every day"),
            (" Every day", "every day"),
            ("Tue,Mon,Wed,Sun,Sat,Fri,Thu", "every day"),
        ] {
            let days: Days = text.parse().unwrap();
            assert_eq!(days.to_string(), shown, "{text}");
            assert_eq!(Days::try_from(String::from(days)), Ok(days));
        }
        for wrong in ["", "Mo", "Mon-", "Mon,,Tue", "weekdays", "1-5", "Montag", "every", "every day,Mon"] {
            assert!(wrong.parse::<Days>().is_err(), "{wrong}");
        }
        assert!(Days::of([0, 1]).meet(Days::of([1])) && !Days::of([0]).meet(Days::of([1])));
    }

    #[test]
    fn a_time_of_day_has_two_digits_twice() {
        assert_eq!(
            ["00:00", "08:30", "23:59"].map(|text| text.parse::<Clock>().unwrap().to_string()),
            ["00:00", "08:30", "23:59"]
        );
        for wrong in ["", "8:30", "24:00", "08:60", "08:30Z", "0830", "08:3", "+8:30"] {
            assert!(wrong.parse::<Clock>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn it_begins_on_its_days_once_each_whatever_clocks_do() {
        let cest = (BACK - 50 * HOUR, 7200, "CEST".to_owned());
        let zone = Zone::new([cest, (BACK, 3600, "CET".to_owned())]);
        let begins = |entry: &Entry, from, to| {
            entry
                .begins(&zone, from, to)
                .map(|time| format!("{} {}", zone.day(time), zone.hour(time)))
                .collect::<Vec<_>>()
        };
        let span = (BACK - 40 * HOUR, BACK + 60 * HOUR);
        // Clocks show it twice on Sunday.
        let twice = entry("Sat-Mon", "02:30");
        assert_eq!(begins(&twice, span.0, span.1), ["Sat 24 Oct 02:30", "Sun 25 Oct 02:30", "Mon 26 Oct 02:30"]);
        assert_eq!(twice.next(&zone, BACK - HOUR), Some(BACK - HOUR / 2));
        assert_eq!(
            twice.next(&zone, BACK - HOUR / 2 + 1),
            Some(BACK + 24 * HOUR + HOUR / 2),
            "not an hour later again"
        );
        let working = entry("Mon-Fri", "08:30");
        assert_eq!(begins(&working, span.0, span.1), ["Mon 26 Oct 08:30", "Tue 27 Oct 08:30"]);
        // 2026-03-29: from two to three there is none.
        let forth = 1_774_746_000 * SECOND;
        let zone = Zone::new([(forth - 50 * HOUR, 3600, "CET".to_owned()), (forth, 7200, "CEST".to_owned())]);
        let begins: Vec<u64> = entry("Sun", "02:30").begins(&zone, forth - 40 * HOUR, forth + 40 * HOUR).collect();
        assert_eq!(begins, [forth], "when clocks are set forward past it");
        assert_eq!(entry("Sun", "02:30").next(&Zone::utc(), 0), Some((3 * 24 + 2) * HOUR + HOUR / 2));
    }

    #[test]
    fn it_is_the_same_after_a_recording() {
        let schedule = Schedule {
            entries: vec![entry("Mon-Fri", "08:30"), entry("Mon-Sun", "00:00")],
            zone: Zone::new([(1, 3600, "CET".to_owned())]),
        };
        let json = serde_json::to_string(&schedule).unwrap();
        assert!(json.contains("\"days\":\"Mon-Fri\",\"at\":\"08:30\""), "{json}");
        assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);
        assert!(
            serde_json::from_str::<Days>("\"never\"").is_err() && serde_json::from_str::<Clock>("\"25:00\"").is_err()
        );
    }
}
