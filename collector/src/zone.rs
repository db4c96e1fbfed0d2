//! Local time, as the C library knows it from TZ or /etc/localtime.

use std::ffi::CStr;
use std::time::{Duration, UNIX_EPOCH};

use collector_core::zone::Zone;

const SECOND: u64 = 1_000_000_000;
/// Clocks are set at a full hour, or at half of one.
const STEP: u64 = 1800;

/// Local time between two moments, in nanoseconds since the Unix epoch.
pub fn between((from, to): (u64, u64)) -> Zone {
    let seconds = (from / SECOND / STEP * STEP..=to / SECOND).step_by(STEP as usize);
    Zone::new(seconds.filter_map(|second| at(second).map(|(ahead, name)| (second * SECOND, ahead, name))))
}

/// By how many seconds local time is ahead of UTC at a moment, and what it is called; `None` if the C library does not know.
pub fn at(second: u64) -> Option<(i64, String)> {
    let time = libc::time_t::try_from(second).ok()?;
    // SAFETY: All zero is a valid `tm`: numbers, and a pointer that may be null.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: Both point to variables of this function.
    if unsafe { libc::localtime_r(&time, &mut local) }.is_null() {
        return None;
    }
    if local.tm_zone.is_null() {
        return Some((local.tm_gmtoff, "UTC".to_owned()));
    }
    // SAFETY: The C library keeps the names of zones, and nothing here changes TZ.
    let name = unsafe { CStr::from_ptr(local.tm_zone) }.to_string_lossy().into_owned();
    Some((local.tm_gmtoff, if name == "GMT" && local.tm_gmtoff == 0 { "UTC".to_owned() } else { name }))
}

/// A moment in nanoseconds since the Unix epoch, to the second: `2026-11-21 15:55:13` of local time, `2026-11-21T14:55:13Z` of UTC.
pub fn second(ns: u64, utc: bool) -> String {
    let seconds = ns / SECOND;
    let text = |seconds: u64| humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string();
    match at(seconds).filter(|_| !utc) {
        Some((ahead, _)) => text(seconds.saturating_add_signed(ahead)).replace('T', " ").replace('Z', ""),
        None => text(seconds),
    }
}

/// The same for a screen: `2026-11-21 15:55:13`, of UTC too.
pub fn clock(ns: u64, utc: bool) -> String {
    second(ns, utc).replace('T', " ").replace('Z', "")
}

/// The same with the name of the zone at its end: `2026-11-21 15:55:13 CET`.
pub fn named(ns: u64, utc: bool) -> String {
    let name = at(ns / SECOND).filter(|_| !utc).map_or_else(|| "UTC".to_owned(), |(_, name)| name);
    format!("{} {name}", clock(ns, utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_a_zone_whose_clock_is_less_than_a_day_ahead() {
        let (ahead, name) = at(1_700_000_000).unwrap();
        assert!(ahead.abs() < 86_400 && !name.is_empty(), "{ahead} {name}");
        assert_eq!(between((0, SECOND)).minute(0).len(), 16);
        let ns = 1_700_000_000 * SECOND;
        let local = humantime::format_rfc3339_seconds(
            UNIX_EPOCH + Duration::from_secs(1_700_000_000u64.saturating_add_signed(ahead)),
        );
        assert_eq!(second(ns, false), local.to_string().replace('T', " ").replace('Z', ""));
        assert_eq!(
            (second(ns, true).as_str(), named(ns, false)),
            ("2023-11-14T22:13:20Z", format!("{} {name}", second(ns, false)))
        );
        assert_eq!((named(ns, true).as_str(), clock(ns, true).len()), ("2023-11-14 22:13:20 UTC", 19));
    }
}
