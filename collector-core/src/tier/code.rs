//! Numbers of the coarse tiers in 16 bits: six bits of exponent, ten of mantissa, so that a step is a thousandth or less. A minimum is
//! rounded down and a maximum up, so that none of them hides a peak.

use serde::Serialize;

use crate::series::Series;

/// A number that is not negative, or unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Code(pub u16);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    Down,
    Nearest,
    Up,
}

/// Minimum, mean and maximum, in the order in which they are kept.
pub const ROUNDS: [Round; 3] = [Round::Down, Round::Nearest, Round::Up];

/// Bits of a single-precision number that are left out.
const DROPPED: u32 = 13;
const ZERO: u16 = 0;
const LARGEST: u16 = u16::MAX - 1;

/// Where the numbers of a kind are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From 1/16 to 2^60.
    Bytes,
    /// From 2^-40 to 2^24.
    Number,
}

impl From<Series> for Scale {
    fn from(series: Series) -> Scale {
        if series.name().contains("bytes") { Scale::Bytes } else { Scale::Number }
    }
}

impl Scale {
    /// The smallest number above zero.
    fn smallest(self) -> u32 {
        let exponent = match self {
            Scale::Bytes => -4,
            Scale::Number => -40,
        };
        (((127 + exponent) as u32) << 23) >> DROPPED
    }
}

impl Code {
    pub const UNKNOWN: Code = Code(u16::MAX);

    pub fn of(scale: impl Into<Scale>, value: f32, round: Round) -> Code {
        if value.is_nan() {
            return Code::UNKNOWN;
        }
        if value <= 0.0 {
            return Code(ZERO);
        }
        // The bits of positive numbers are in the order of the numbers.
        let more = match round {
            Round::Down => 0,
            Round::Nearest => 1 << (DROPPED - 1),
            Round::Up => (1 << DROPPED) - 1,
        };
        let bits = value.min(f32::MAX / 4.0).to_bits().saturating_add(more) >> DROPPED;
        match bits.checked_sub(scale.into().smallest()) {
            None => Code(if round == Round::Up { 1 } else { ZERO }),
            Some(steps) => Code(u16::try_from(steps + 1).unwrap_or(LARGEST).min(LARGEST)),
        }
    }

    /// `None` if it is unknown.
    pub fn value(self, scale: impl Into<Scale>) -> Option<f32> {
        match self.0 {
            ZERO => Some(0.0),
            u16::MAX => None,
            steps => Some(f32::from_bits((u32::from(steps) - 1 + scale.into().smallest()) << DROPPED)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn back(series: Series, value: f32) -> [f32; 3] {
        ROUNDS.map(|round| Code::of(series, value, round).value(series).unwrap())
    }

    proptest! {
        #[test]
        fn a_step_is_a_thousandth_and_rounding_keeps_the_order(
            exponent in -3.0..50.0f64, other in -3.0..50.0f64,
        ) {
            let (one, other) = (exponent.min(other).exp2() as f32, exponent.max(other).exp2() as f32);
            let [[low, mean, high], [more_low, more_mean, more_high]] = [one, other].map(|it| back(Series::Memory, it));
            prop_assert!(low <= one && one <= high && high <= low * 1.001, "{} {} {}", low, one, high);
            prop_assert!((mean / one - 1.0).abs() <= 0.0005);
            prop_assert!(low <= mean && mean <= high);
            prop_assert!(low <= more_low && mean <= more_mean && high <= more_high);
        }
    }

    #[test]
    fn zero_and_unknown_are_apart_and_what_is_out_of_range_stays_on_the_safe_side() {
        let code = |value, round| Code::of(Series::MemoryWaiting, value, round);
        for round in ROUNDS {
            assert_eq!(code(0.0, round).value(Series::MemoryWaiting), Some(0.0));
            assert_eq!(code(f32::NAN, round).value(Series::MemoryWaiting), None);
            assert_eq!(code(1.0, round).value(Series::MemoryWaiting), Some(1.0));
            assert!(code(f32::INFINITY, round).value(Series::MemoryWaiting).unwrap() > 1e7);
        }
        assert_eq!(code(1e-20, Round::Down).value(Series::MemoryWaiting), Some(0.0));
        assert!(code(1e-20, Round::Up).value(Series::MemoryWaiting).unwrap() > 0.0);
        for bytes in [1.0, 4096.0, 1e15] {
            let [low, _, high] = back(Series::Vram, bytes);
            assert!(low <= bytes && bytes <= high && low > 0.0, "{bytes}");
        }
    }
}
