//! When a reservation that is made ahead begins: a time of day, a moment, or in so long. Reads no clock.

use std::str::FromStr;
use std::time::Duration;

use anyhow::anyhow;

use crate::cli::moment::Moment;
use crate::exit::{Exit, Failure};
use crate::zone;

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Seconds after midnight, of local time or of UTC: the next time that a clock shows this.
    Clock {
        seconds: u64,
        utc: bool,
    },
    Moment(Moment),
    In(Duration),
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<At, String> {
        let clock = text.strip_suffix('Z').unwrap_or(text);
        let wrong = || format!("{text:?}: expected 07:45, 2026-11-20T07:45, or 8h");
        if let Some((hours, minutes)) = clock.split_once(':').filter(|_| !clock.contains('-')) {
            let number = |text: &str, most: u64| {
                let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse::<u64>().ok().filter(|number| digits && *number <= most).ok_or_else(wrong)
            };
            let seconds = number(hours, 23)? * 3600 + number(minutes, 59)? * 60;
            return Ok(At::Clock { seconds, utc: text.ends_with('Z') });
        }
        if let Ok(moment) = text.parse() {
            return Ok(At::Moment(moment));
        }
        humantime::parse_duration(text).map(At::In).map_err(|_| wrong())
    }
}

impl At {
    /// Seconds from now (nanoseconds since the Unix epoch) until then.
    ///
    /// # Errors
    /// If it is over.
    pub fn ahead(self, now: u64) -> Result<u64, Failure> {
        match self {
            At::In(ahead) => Ok(ahead.as_secs()),
            At::Moment(moment) => {
                let over = || Failure::new(Exit::Usage, anyhow!("--at: that moment is over"));
                Ok(moment.time().checked_sub(now).ok_or_else(over)? / SECOND)
            }
            At::Clock { seconds, utc } => {
                let now = now / SECOND;
                let ahead_of_utc = if utc { 0 } else { zone::at(now).map_or(0, |(ahead, _)| ahead) };
                let local = now.saturating_add_signed(ahead_of_utc) % DAY;
                Ok((seconds + DAY - local) % DAY)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_the_next_one() {
        let ahead = |text: &str, now: u64| text.parse::<At>().unwrap().ahead(now * SECOND).unwrap();
        assert_eq!(ahead("07:45Z", 7 * 3600), 45 * 60);
        assert_eq!(ahead("07:45Z", 8 * 3600 + 20_000 * DAY), DAY - 15 * 60);
        assert_eq!((ahead("8h", 5), ahead("1970-01-02T00:00Z", 60)), (8 * 3600, DAY - 60));
        assert!(ahead("00:00", 5) < DAY);
        assert!("1970-01-01T00:00Z".parse::<At>().unwrap().ahead(60 * SECOND).is_err(), "it is over");
        for wrong in ["", "7:45", "24:00", "07:60", "0a:00", "soon", "-1h"] {
            assert!(wrong.parse::<At>().is_err(), "{wrong}");
        }
    }
}
