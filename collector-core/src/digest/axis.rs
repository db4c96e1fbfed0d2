//! What stands at the axes of a chart: round values with units, and round moments of local time.

use crate::amount;
use crate::zone::Zone;

const DAY: u64 = 24 * 3600;
/// About so many values and moments.
const HEIGHTS: f64 = 5.0;
const TIMES: u64 = 8;

/// What a number is, and so how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Share,
    Celsius,
}

impl Unit {
    pub fn shown(self, value: f64) -> String {
        match self {
            Unit::Bytes => amount::bytes(value as u64),
            Unit::Share => amount::percent(value),
            Unit::Celsius => format!("{value:.0} °C"),
        }
    }

    /// The distance of two neighbouring values.
    fn step(self, top: f64) -> f64 {
        let least = top / HEIGHTS;
        match self {
            Unit::Bytes => least.max(1.0).log2().ceil().exp2(),
            Unit::Share | Unit::Celsius => {
                let power = 10f64.powf(least.max(1e-6).log10().floor());
                let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
                steps.into_iter().find(|step| *step >= least * 0.999).unwrap_or(10.0 * power)
            }
        }
    }

    /// Like [`Self::shown`], without digits that say nothing.
    fn round(self, value: f64) -> String {
        let text = match self {
            // Sums of steps are not exact.
            Unit::Celsius => format!("{value:.1} °C"),
            _ => self.shown(value),
        };
        match text.split_once(' ') {
            Some((number, unit)) if number.contains('.') => {
                format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
            }
            _ => text,
        }
    }
}

/// The value at the upper edge, and the values at which there is a line, from zero on.
pub fn heights(unit: Unit, most: f64) -> (f64, Vec<(f64, String)>) {
    let most = if most > 0.0 && most.is_finite() { most } else { 1.0 };
    let step = unit.step(most);
    let count = (most / step - 1e-6).ceil().max(1.0);
    // More than all of something there is not.
    let top = if unit == Unit::Share && most <= 1.0 { (count * step).min(1.0) } else { count * step };
    let values = (0..=count as u32).map(|place| f64::from(place) * step).filter(|value| *value <= top * 1.0001);
    (top, values.map(|value| (value, unit.round(value))).collect())
}

/// Moments of local time in a period, written so that each can be told from the others.
pub fn times((from, to): (u64, u64), zone: &Zone) -> Vec<(u64, String)> {
    let seconds = to.saturating_sub(from) / 1_000_000_000;
    const STEPS: [u64; 11] =
        [900, 3600, 3 * 3600, 6 * 3600, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 28 * DAY, 56 * DAY, 112 * DAY];
    let step = STEPS.into_iter().find(|step| seconds / step <= TIMES).unwrap_or(112 * DAY);
    let midnight = |time: u64| zone.hour(time) == "00:00";
    let label = |time| if step >= DAY || midnight(time) { zone.day(time) } else { zone.hour(time) };
    zone.steps(from, to, step).into_iter().map(|time| (time, label(time))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(unit: Unit, most: f64) -> Vec<String> {
        heights(unit, most).1.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn values_are_round_have_units_and_reach_the_highest() {
        let gib = (1u64 << 30) as f64;
        assert_eq!(written(Unit::Bytes, 13.0 * gib), ["0 B", "4 GiB", "8 GiB", "12 GiB", "16 GiB"]);
        assert_eq!(written(Unit::Share, 0.93), ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]);
        assert_eq!(written(Unit::Share, 0.034), ["0 %", "1 %", "2 %", "3 %", "4 %"]);
        assert_eq!(written(Unit::Celsius, 87.0), ["0 °C", "20 °C", "40 °C", "60 °C", "80 °C", "100 °C"]);
        assert_eq!(written(Unit::Celsius, 0.9), ["0 °C", "0.2 °C", "0.4 °C", "0.6 °C", "0.8 °C", "1 °C"]);
        for (unit, most) in [(Unit::Bytes, 0.0), (Unit::Share, f64::NAN), (Unit::Bytes, 1e18), (Unit::Celsius, 1.3)] {
            let (top, values) = heights(unit, most);
            assert!((top >= most || most.is_nan()) && (2..=7).contains(&values.len()), "{unit:?} {most}: {values:?}");
        }
    }

    #[test]
    fn moments_are_few_and_say_which_day() {
        let at = |days: u64| days * DAY * 1_000_000_000;
        let labels = |from, to| times((from, to), &Zone::utc()).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        let day = ["Thu 3 Oct", "03:00", "06:00", "09:00", "12:00", "15:00", "18:00", "21:00"];
        assert_eq!(labels(at(19_999), at(20_000)), day);
        for days in [1, 2, 7, 14, 30, 90, 366] {
            let count = labels(at(20_000), at(20_000 + days)).len();
            assert!((3..=9).contains(&count), "{days}: {count}");
        }
    }
}
