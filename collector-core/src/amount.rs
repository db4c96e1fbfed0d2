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
}
