//! Local time, as the C library knows it from TZ or /etc/localtime.

use std::ffi::CStr;

use collector_core::digest::zone::Zone;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_a_zone_whose_clock_is_less_than_a_day_ahead() {
        let (ahead, name) = at(1_700_000_000).unwrap();
        assert!(ahead.abs() < 86_400 && !name.is_empty(), "{ahead} {name}");
        assert_eq!(between((0, SECOND)).minute(0).len(), 16);
    }
}
