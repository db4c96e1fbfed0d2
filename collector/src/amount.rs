//! Amounts as people read them.

/// Bytes with three figures and a binary unit.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 999.5 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    let digits = match amount {
        _ if unit == 0 => 0,
        amount if amount < 9.995 => 2,
        amount if amount < 99.95 => 1,
        _ => 0,
    };
    format!("{amount:.digits$} {}", UNITS[unit])
}

/// A share of the whole, in percent.
pub fn percent(ratio: f64) -> String {
    let percent = 100.0 * ratio;
    let digits = if (0.05..9.95).contains(&percent.abs()) { 1 } else { 0 };
    format!("{percent:.digits$} %")
}

/// A time in seconds.
pub fn seconds(seconds: f64) -> String {
    match seconds.abs() {
        _ if seconds == 0.0 => "0 s".to_owned(),
        it if it < 0.9995 => format!("{:.0} ms", seconds * 1e3),
        it if it < 9.95 => format!("{seconds:.1} s"),
        it if it < 120.0 => format!("{seconds:.0} s"),
        _ => format!("{:.0} min", seconds / 60.0),
    }
}

/// A date and a time of day (UTC) of nanoseconds since the Unix epoch: year, month, day, hour, minute, second.
pub fn date(ns: u64) -> [u64; 6] {
    let seconds = ns / 1_000_000_000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March, so that the leap day is the last: 400 of them have 146,097 days.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    [era * 400 + year + later, month, day, rest / 3_600, rest / 60 % 60, rest % 60]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_three_figures() {
        let shown = [0, 1, 999, 1000, 1024, 10_240, 1 << 20, 5 << 29, 999 << 30, 1000 << 30, u64::MAX].map(bytes);
        let wanted = [
            "0 B", "1 B", "999 B", "0.98 KiB", "1.00 KiB", "10.0 KiB", "1.00 MiB", "2.50 GiB", "999 GiB", "0.98 TiB",
            "16.0 EiB",
        ];
        assert_eq!(shown, wanted);
    }

    #[test]
    fn shares_and_times_have_the_digits_that_matter() {
        let shares = [0.0, 0.0001, 0.004, 0.0994, 0.0996, 0.5, 1.0, 12.0].map(percent);
        assert_eq!(shares, ["0 %", "0 %", "0.4 %", "9.9 %", "10 %", "50 %", "100 %", "1200 %"]);
        let times = [0.0, 0.012, 0.99, 1.0, 9.9, 12.3, 119.0, 120.0].map(seconds);
        assert_eq!(times, ["0 s", "12 ms", "990 ms", "1.0 s", "9.9 s", "12 s", "119 s", "2 min"]);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (text, date_of) in [
            ("1970-01-01T00:00:00Z", [1970, 1, 1, 0, 0, 0]),
            ("2000-02-29T23:59:59Z", [2000, 2, 29, 23, 59, 59]),
            ("2000-03-01T00:00:00Z", [2000, 3, 1, 0, 0, 0]),
            ("2026-12-31T12:34:56Z", [2026, 12, 31, 12, 34, 56]),
            ("2100-03-01T00:00:01Z", [2100, 3, 1, 0, 0, 1]),
        ] {
            let time = humantime::parse_rfc3339(text).unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
            assert_eq!(date(time.as_nanos() as u64), date_of, "{text}");
        }
        // Every day of four centuries, against a library.
        for day in 0..146_097u64 {
            let [year, month, ..] = date(day * 86_400_000_000_000);
            let [year, month, of_month] = [year, month, date(day * 86_400_000_000_000)[2]];
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(day * 86_400);
            let known = humantime::format_rfc3339_seconds(time).to_string();
            assert_eq!(format!("{year:04}-{month:02}-{of_month:02}T00:00:00Z"), known);
        }
    }
}
