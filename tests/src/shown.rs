//! Numbers as a screen shows them: `1.50 GiB`, `42 %`, `12 ms`. Knows what they say and how far they were rounded, not how the
//! agent writes them.

/// What is there instead of a number that is not known.
pub const UNKNOWN: &str = "–";

/// Units, and what one of each is in bytes, seconds or shares.
const UNITS: [(&str, f64); 15] = [
    ("", 1.0),
    ("B", 1.0),
    ("KiB", 1024.0),
    ("MiB", 1048576.0),
    ("GiB", 1073741824.0),
    ("TiB", 1099511627776.0),
    ("%", 0.01),
    ("ms", 1e-3),
    ("s", 1.0),
    ("min", 60.0),
    ("h", 3600.0),
    ("°C", 1.0),
    ("W", 1.0),
    ("CPU", 1.0),
    ("CPUs", 1.0),
];

/// A number, and how far that which was rounded to it may be from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shown {
    pub value: f64,
    pub rounding: f64,
}

impl Shown {
    /// `None` if this is not a number with one of the units.
    pub fn parse(text: &str) -> Option<Shown> {
        // Digits may be in groups.
        let text = text.trim().replace('\u{202f}', "");
        let text = text.strip_suffix("/s").unwrap_or(&text);
        let end = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let (_, scale) = UNITS.into_iter().find(|(name, _)| *name == unit.trim())?;
        let digits = number.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let step = scale / 10f64.powi(digits as i32);
        Some(Shown { value: number.parse::<f64>().ok()? * scale, rounding: step / 2.0 })
    }

    /// Whether `number` is what was rounded, or differs from that by no more than this share of it.
    pub fn is(self, number: f64, share: f64) -> bool {
        // Bytes are whole, and the last bit of a fraction is nobody's.
        let slack = share * number.abs() + self.rounding * 1e-6 + if self.rounding >= 0.5 { 1.0 } else { 0.0 };
        (self.value - number).abs() <= self.rounding + slack
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_what_rounds_to_the_text() {
        for (text, right, wrong) in [
            ("1.50 GiB", 1.504 * 1073741824.0, 1.506 * 1073741824.0),
            ("381 MiB", 399_900_000.0, 400_500_000.0),
            ("42 %", 0.4249, 0.426),
            ("0.4 %", 0.0044, 0.0046),
            ("12 ms", 0.0121, 0.0130),
            ("2 min", 149.0, 152.0),
            ("61 °C", 61.0, 63.0),
            ("3.2 MiB/s", 3.24 * 1048576.0, 3.26 * 1048576.0),
            ("0.52", 0.5249, 0.526),
        ] {
            let shown = Shown::parse(text).unwrap();
            assert!(shown.is(right, 0.0) && !shown.is(wrong, 0.0), "{text}: {shown:?}");
        }
        for text in [UNKNOWN, "", "many", "3 apples", "1.2.3", "-"] {
            assert_eq!(Shown::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_rate_may_differ_by_a_share() {
        let shown = Shown::parse("100 MiB/s").unwrap();
        assert!(shown.is(102.4 * 1048576.0, 0.02) && !shown.is(103.0 * 1048576.0, 0.02));
    }
}
