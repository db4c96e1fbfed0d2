//! Units of amounts, how to format amounts for people, and how to read those that people write.

use std::fmt;

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
    format!("{} {}", fixed(amount, digits), UNITS[unit])
}

/// A number with this many digits after the point (nine at most). A half goes away from zero, as on the page (JavaScript's `toFixed`);
/// Rust alone would write the even one.
pub fn fixed(value: f64, digits: usize) -> String {
    // Exact: a number in the middle between two others is an odd multiple of a power of two.
    let middle = (value * f64::from(2u32 << digits.min(9)) % 2.0).abs() == 1.0;
    let value = match middle {
        true if value < 0.0 => value.next_down(),
        true => value.next_up(),
        false => value,
    };
    format!("{value:.digits$}")
}

/// Power, and its limit if there is one: `313 of 700 W`.
pub fn watts(drawn: f64, limit: Option<f64>) -> String {
    let limit = limit.map(|limit| format!(" of {}", fixed(limit, 0))).unwrap_or_default();
    format!("{}{limit} W", fixed(drawn, 0))
}

/// Bytes as [`parse_bytes`] reads them, without rounding and as short as possible: `16G`, `2GB`, `1234`.
pub fn exact_bytes(bytes: u64) -> String {
    let units = [("P", 5), ("T", 4), ("G", 3), ("M", 2), ("K", 1)];
    let bases = [("", 1024_u64), ("B", 1000)];
    let all =
        bases.iter().flat_map(|(end, base)| units.iter().map(move |(unit, power)| (*unit, *end, base.pow(*power))));
    let fitting = all.filter(|(_, _, size)| bytes > 0 && bytes.is_multiple_of(*size));
    let texts = fitting.map(|(unit, end, size)| format!("{}{unit}{end}", bytes / size));
    texts.min_by_key(String::len).unwrap_or_else(|| bytes.to_string())
}

/// Why a text is no amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    NoNumber(Form),
    Negative,
    Unit(String, Form),
    TooLarge,
}

/// How an amount is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Bytes,
    Decimal,
    Plain,
}

impl Form {
    const fn expected(self) -> &'static str {
        match self {
            Form::Bytes => "a number with a unit, such as 18G or 512MiB",
            Form::Decimal => "a number with a prefix, such as 500M or 1G",
            Form::Plain => "a number alone, such as 4 or 0.5",
        }
    }

    const fn units(self) -> &'static str {
        match self {
            Form::Bytes => {
                "use B, K, M, G, T, P (powers of 1024, as in KiB, MiB, …) or KB, MB, GB, TB, PB (powers of 1000)"
            }
            Form::Decimal => "use K, M, G, T, P (powers of 1000)",
            Form::Plain => "use a number alone, such as 4 or 0.5",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Malformed::NoNumber(form) => write!(f, "expected {}", form.expected()),
            Malformed::Negative => f.write_str("an amount cannot be negative"),
            Malformed::Unit(unit, form) => write!(f, "unknown unit `{unit}`: {}", form.units()),
            Malformed::TooLarge => f.write_str("the amount does not fit in 64 bits"),
        }
    }
}

/// Bytes as people write them: `18G`, `512MiB`, `1.5 g`. A letter alone is a power of 1024, as for systemd and Docker; `GB` is a
/// power of 1000. Without a unit it is bytes. Fractions are rounded up.
pub fn parse_bytes(text: &str) -> Result<u64, Malformed> {
    parse(text, Form::Bytes, |unit| {
        let unit = unit.to_ascii_lowercase();
        let (letter, base) = match unit.strip_suffix("ib") {
            Some(letter) => (letter, 1024),
            None => match unit.strip_suffix('b') {
                Some("") => ("", 1),
                Some(letter) => (letter, 1000),
                None => (&*unit, 1024),
            },
        };
        power(letter).filter(|power| *power > 0 || unit.len() <= 1).map(|power| u128::pow(base, power))
    })
}

/// A plain number with decimal prefixes, as links are rated: `1G` is 1 000 000 000.
pub fn parse_decimal(text: &str) -> Result<u64, Malformed> {
    parse(text, Form::Decimal, |unit| power(&unit.to_ascii_lowercase()).map(|power| u128::pow(1000, power)))
}

/// A plain number in thousandths: `0.5` is 500.
pub fn parse_thousandths(text: &str) -> Result<u64, Malformed> {
    parse(text, Form::Plain, |unit| unit.is_empty().then_some(1000))
}

fn power(letter: &str) -> Option<u32> {
    ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == letter).and_then(|power| power.try_into().ok())
}

/// `unit` is what the suffix multiplies by. Exact: no float rounds here.
fn parse(text: &str, form: Form, unit: impl Fn(&str) -> Option<u128>) -> Result<u64, Malformed> {
    let text = text.trim();
    if text.starts_with('-') {
        return Err(Malformed::Negative);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return Err(Malformed::NoNumber(form));
    }
    let factor = unit(suffix.trim()).ok_or_else(|| Malformed::Unit(suffix.trim().to_owned(), form))?;
    // Nine digits after the point are less than a byte of all but the largest units; `digits` cannot overflow then.
    let fraction = &fraction[..fraction.len().min(9)];
    let digits =
        |text: &str| if text.is_empty() { Ok(0) } else { text.parse::<u128>().map_err(|_| Malformed::TooLarge) };
    let scale = 10u128.pow(fraction.len().try_into().unwrap_or(0));
    let part = (digits(fraction)? * factor).div_ceil(scale);
    let bytes = digits(whole)?.checked_mul(factor).and_then(|bytes| bytes.checked_add(part));
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(Malformed::TooLarge)
}

/// A ratio as a percentage: `42 %`.
pub fn percent(ratio: f64) -> String {
    let percent = 100.0 * ratio;
    let digits = if (0.05..9.95).contains(&percent.abs()) { 1 } else { 0 };
    format!("{} %", fixed(percent, digits))
}

/// A duration: `12 ms`, `1.0 s`, `2 min`.
pub fn seconds(seconds: f64) -> String {
    match seconds.abs() {
        _ if seconds == 0.0 => "0 s".to_owned(),
        it if it < 0.9995 => format!("{} ms", fixed(seconds * 1e3, 0)),
        it if it < 9.95 => format!("{} s", fixed(seconds, 1)),
        it if it < 120.0 => format!("{} s", fixed(seconds, 0)),
        _ => format!("{} min", fixed(seconds / 60.0, 0)),
    }
}

/// A duration that may be of milliseconds and of days: [`seconds`] where it is short, else [`span`].
pub fn duration(seconds: f64) -> String {
    match seconds {
        ..120.0 => self::seconds(seconds),
        _ => span(seconds.round() as u64),
    }
}

/// How long something took or has lasted, coarser the longer: `12 s`, `5 min`, `3 h 20 min`, `2 d 4 h`.
pub fn span(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let two = |whole: u64, one: &str, rest: u64, other: &str| match rest {
        0 => format!("{whole} {one}"),
        rest => format!("{whole} {one} {rest} {other}"),
    };
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{minutes} min"),
        7200..172_800 => two(hours, "h", minutes % 60, "min"),
        _ => two(hours / 24, "d", hours % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_coarser_the_longer_they_are() {
        let spans = [0, 119, 120, 3599, 7200, 12_000, 86_400, 172_800, 187_200].map(span);
        assert_eq!(spans, ["0 s", "119 s", "2 min", "59 min", "2 h", "3 h 20 min", "24 h", "2 d", "2 d 4 h"]);
        assert_eq!([0.25, 119.0, 75_600.0].map(duration), ["250 ms", "119 s", "21 h"]);
    }

    #[test]
    fn exact_bytes_are_read_as_the_same_number() {
        for (bytes, text) in
            [(16 << 30, "16G"), (2_000_000_000, "2GB"), (1536 << 20, "1536M"), (1234, "1234"), (0, "0")]
        {
            assert_eq!((exact_bytes(bytes).as_str(), parse_bytes(text)), (text, Ok(bytes)));
        }
    }

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
    fn amounts_are_read_as_people_write_them() {
        let read = |texts: &[&str]| texts.iter().map(|text| parse_bytes(text).unwrap()).collect::<Vec<_>>();
        assert_eq!(read(&["0", "7", "7B", "1K", "1k", " 1 KiB "]), [0, 7, 7, 1024, 1024, 1024]);
        assert_eq!(
            read(&["18G", "18g", "18GiB", "512MiB", "1.5M", ".5K"]),
            [18 << 30, 18 << 30, 18 << 30, 512 << 20, 3 << 19, 512]
        );
        assert_eq!(read(&["1KB", "2GB", "0.1B"]), [1000, 2_000_000_000, 1]);
        assert_eq!(read(&["16383P", "18446744073709551615"]), [16383 << 50, u64::MAX]);
        assert_eq!(parse_decimal("1G"), Ok(1_000_000_000));
        assert_eq!(parse_decimal("2.5k"), Ok(2500));
        assert_eq!(parse_thousandths("0.5"), Ok(500));
    }

    #[test]
    fn what_is_no_amount_is_named() {
        for text in ["", " ", "G", ".", "1.2.3", "x"] {
            assert_eq!(parse_bytes(text), Err(Malformed::NoNumber(Form::Bytes)), "{text:?}");
        }
        assert_eq!(parse_bytes("-1G"), Err(Malformed::Negative));
        for (text, unit) in [("1X", "X"), ("1iB", "iB"), ("1e9", "e9"), ("1 G G", "G G"), ("1Gi", "Gi"), ("5é", "é")]
        {
            assert_eq!(parse_bytes(text), Err(Malformed::Unit(unit.to_owned(), Form::Bytes)), "{text:?}");
        }
        for text in ["18446744073709551616", "16384P", &"9".repeat(500), "99999999999999999999999G"] {
            assert_eq!(parse_bytes(text), Err(Malformed::TooLarge), "{text:?}");
        }
        let shown = |parsed: Result<u64, Malformed>| parsed.unwrap_err().to_string();
        assert_eq!(shown(parse_decimal("1GiB")), "unknown unit `GiB`: use K, M, G, T, P (powers of 1000)");
        assert_eq!(shown(parse_decimal("")), "expected a number with a prefix, such as 500M or 1G");
        assert_eq!(shown(parse_thousandths("4k")), "unknown unit `k`: use a number alone, such as 4 or 0.5");
        assert_eq!(shown(parse_thousandths("x")), "expected a number alone, such as 4 or 0.5");
    }

    #[test]
    fn a_half_goes_away_from_zero_and_nothing_else_does() {
        let halves = [312.5, 313.5, 0.5, -0.5, 312.499_999_999_999_94, 0.0].map(|drawn| watts(drawn, None));
        assert_eq!(halves, ["313 W", "314 W", "1 W", "-1 W", "312 W", "0 W"]);
        assert_eq!(watts(70.25, Some(112.5)), "70 of 113 W");
        assert_eq!(
            ["0.3", "0.3", "0.1"],
            [0.25, 0.35, 0.05].map(|value| fixed(value, 1)),
            "0.35 is less than that, 0.05 more"
        );
        assert_eq!(["1.13", "1.00", "0.61"], [1.125, 1.005, 0.615].map(|value| fixed(value, 2)));
        assert_eq!([percent(0.125), bytes(9 << 7), seconds(10.5)], ["13 %", "1.13 KiB", "11 s"]);
        assert_eq!([f64::MAX, f64::INFINITY].map(|value| fixed(value, 9).is_empty()), [false; 2]);
    }

    #[test]
    fn shares_and_times_have_few_digits() {
        let shares = [0.0, 0.0001, 0.004, 0.0994, 0.0996, 0.5, 1.0, 12.0].map(percent);
        assert_eq!(shares, ["0 %", "0 %", "0.4 %", "9.9 %", "10 %", "50 %", "100 %", "1200 %"]);
        let times = [0.0, 0.012, 0.99, 1.0, 9.9, 12.3, 119.0, 120.0].map(seconds);
        assert_eq!(times, ["0 s", "12 ms", "990 ms", "1.0 s", "9.9 s", "12 s", "119 s", "2 min"]);
    }
}
