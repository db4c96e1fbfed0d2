//! Moments on a command line: a date, a date and a time, or how long ago. Knows local time; reads no clock.

use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use crate::zone;

const SECOND: u64 = 1_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since the Unix epoch: of UTC, or of local time.
    seconds: u64,
    local: bool,
}

/// A moment, or how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    Moment(Moment),
    Ago(Duration),
}

impl FromStr for Moment {
    type Err = String;

    /// A date, or a date and a time.
    fn from_str(text: &str) -> Result<Moment, String> {
        let (clock, local) = text.strip_suffix('Z').map_or((text, true), |clock| (clock, false));
        let whole = match clock.len() {
            10 => format!("{clock}T00:00:00Z"),
            16 => format!("{clock}:00Z"),
            _ => format!("{clock}Z"),
        };
        let time = humantime::parse_rfc3339_weak(&whole)
            .map_err(|_| format!("{text:?} is not a date: expected one such as 2026-11-20"))?;
        let seconds = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        if seconds > u64::MAX / SECOND {
            return Err(format!("{text:?} is too far away"));
        }
        Ok(Moment { seconds, local })
    }
}

impl Moment {
    /// Nanoseconds since the Unix epoch.
    pub fn time(self) -> u64 {
        let of = |seconds: u64| zone::at(seconds).map_or(0, |(ahead, _)| ahead);
        let ahead = if self.local { of(self.seconds.saturating_add_signed(-of(self.seconds))) } else { 0 };
        self.seconds.saturating_add_signed(-ahead).saturating_mul(SECOND)
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Since, String> {
        if let Ok(ago) = humantime::parse_duration(text) {
            return Ok(Since::Ago(ago));
        }
        let moment = text.parse().map(Since::Moment);
        moment
            .map_err(|_| format!("{text:?} is neither a time ago, such as 2h, nor a moment, such as 2026-11-20T08:00"))
    }
}

impl Since {
    /// In nanoseconds since the Unix epoch, if it is `now`.
    pub fn time(self, now: u64) -> u64 {
        match self {
            Since::Moment(moment) => moment.time(),
            Since::Ago(ago) => now.saturating_sub(u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400 * SECOND;

    #[test]
    fn a_moment_is_a_date_or_a_time_of_utc_or_local() {
        let moment = |seconds, local| Ok(Moment { seconds, local });
        assert_eq!("1970-01-02".parse(), moment(86_400, true));
        assert_eq!("1970-01-01T12:00".parse(), moment(43_200, true));
        assert_eq!("1970-01-02T00:00:00Z".parse(), moment(86_400, false));
        assert_eq!(Moment { seconds: 86_400, local: false }.time(), DAY);
        for wrong in ["", "a", "1970-13-01", "1970-01-01ZZ"] {
            assert!(wrong.parse::<Moment>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn since_is_a_time_ago_or_a_moment() {
        let of = |text: &str| text.parse::<Since>().map(|since| since.time(10 * DAY));
        assert_eq!(of("1day"), Ok(9 * DAY));
        assert_eq!(of("1970-01-03Z"), Ok(2 * DAY));
        assert_eq!(of("99years"), Ok(0));
        assert!(of("soon").unwrap_err().contains("such as 2h"));
    }
}
