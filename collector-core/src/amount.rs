//! Units of amounts, and how to format amounts for people.

/// The unit that a name ends in. A name without a unit is a count or a ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    Bytes,
}

impl Unit {
    /// The suffix in a name.
    pub const fn name(self) -> &'static str {
        match self {
            Unit::Seconds => "seconds",
            Unit::Bytes => "bytes",
        }
    }

    /// The unit in this name.
    pub(crate) const fn of(name: &str) -> Option<Unit> {
        if ends(name, Unit::Seconds.name()) {
            Some(Unit::Seconds)
        } else if ends(name, Unit::Bytes.name()) {
            Some(Unit::Bytes)
        } else {
            None
        }
    }
}

/// [`str::ends_with`] at compile time.
const fn ends(name: &str, end: &str) -> bool {
    let (name, end) = (name.as_bytes(), end.as_bytes());
    let mut left = end.len();
    if left > name.len() {
        return false;
    }
    while left > 0 {
        if name[name.len() - end.len() + left - 1] != end[left - 1] {
            return false;
        }
        left -= 1;
    }
    true
}

/// Bytes with three significant digits and a binary unit: `1.50 GiB`.
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

/// A ratio as a percentage: `42 %`.
pub fn percent(ratio: f64) -> String {
    let percent = 100.0 * ratio;
    let digits = if (0.05..9.95).contains(&percent.abs()) { 1 } else { 0 };
    format!("{percent:.digits$} %")
}

/// A duration: `12 ms`, `1.0 s`, `2 min`.
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
    fn a_name_ends_in_its_unit() {
        let names = ["memory_bytes", "cpu_seconds", "bytes", "yes", "reclaim_stalls", "bytes_per_second"];
        let [memory, cpu, bytes, yes, stalls, rate] = names.map(Unit::of);
        assert_eq!([memory, cpu, bytes], [Some(Unit::Bytes), Some(Unit::Seconds), Some(Unit::Bytes)]);
        assert_eq!([yes, stalls, rate], [None; 3]);
    }

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
    fn shares_and_times_have_few_digits() {
        let shares = [0.0, 0.0001, 0.004, 0.0994, 0.0996, 0.5, 1.0, 12.0].map(percent);
        assert_eq!(shares, ["0 %", "0 %", "0.4 %", "9.9 %", "10 %", "50 %", "100 %", "1200 %"]);
        let times = [0.0, 0.012, 0.99, 1.0, 9.9, 12.3, 119.0, 120.0].map(seconds);
        assert_eq!(times, ["0 s", "12 ms", "990 ms", "1.0 s", "9.9 s", "12 s", "119 s", "2 min"]);
    }
}
