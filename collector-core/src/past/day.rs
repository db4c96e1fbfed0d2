//! Days from quarters of an hour. Knows neither hours of the week nor which workloads matter.

use super::Day;
use crate::series::Series;
use crate::tier::{Extent, Known, Tier, joined, kept};

pub const DAY_NS: u64 = 86_400 * 1_000_000_000;

/// A quarter that was lived through twice, because the clock was set back, has no more seconds than others.
const LONGEST: u16 = (Tier::QuarterHour.step() / 1_000_000_000) as u16;

/// When the day of a moment began.
pub fn midnight(time: u64) -> u64 {
    time / DAY_NS * DAY_NS
}

impl Day {
    /// From what is known of its quarters, the oldest first.
    pub fn of(time: u64, quarters: &[Known]) -> Day {
        let all = |series| {
            let kept = kept(series);
            quarters.iter().map(move |it| (kept.map_or([None; 3], |kept| it.values[kept]), seconds(it)))
        };
        let extent = |series| bytes(joined(all(series)));
        let total = |series| {
            let known = all(series).filter_map(|([_, mean, _], seconds)| Some(f64::from(mean?) * f64::from(seconds)));
            known.reduce(|sum, more| sum + more)
        };
        let limit = all(Series::MemoryLimit).filter_map(|([.., most], _)| most.map(f64::from)).next_back();
        Day {
            time,
            seconds: quarters.iter().map(|it| u32::from(seconds(it) as u16)).sum(),
            memory: extent(Series::Memory),
            anon: extent(Series::Anon),
            vram: extent(Series::Vram),
            cpus: spread(joined(all(Series::Cpu))).map(|values| values.map(short)),
            limit,
            memory_waiting: total(Series::MemoryWaiting).map(short),
            stalls: total(Series::Stalls).map(short),
            kills: None,
            kills_here: None,
        }
    }
}

pub(super) fn seconds(quarter: &Known) -> f32 {
    f32::from(quarter.seconds.min(LONGEST))
}

fn bytes([least, mean, most]: Extent) -> Option<[f64; 3]> {
    let (least, most) = (f64::from(least?), f64::from(most?));
    // Rounded, a mean may come to lie above what it is the mean of.
    Some([least, short(mean?.into()).max(least).min(most), most])
}

/// Mean and most.
pub(super) fn spread([_, mean, most]: Extent) -> Option<[f64; 2]> {
    Some([f64::from(mean?), f64::from(most?)])
}

/// What was kept in ten bits, and computed from that, has no more digits than four: more only make recordings longer.
pub(super) fn short(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    // Dividing by a power of ten gives the number that prints shortest, multiplying by a fraction does not.
    match digits {
        0.. => {
            let scale = 10f64.powi(digits.min(300));
            (value * scale).round() / scale
        }
        _ => {
            let scale = 10f64.powi(-digits);
            (value / scale).round() * scale
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::KEPT;

    const QUARTER: u64 = Tier::QuarterHour.step();

    fn quarter(index: u64, seconds: u16, values: &[(Series, Extent)]) -> Known {
        let mut all = [[None; 3]; KEPT.len()];
        values.iter().for_each(|(series, extent)| all[kept(*series).unwrap()] = *extent);
        Known { time: index * QUARTER, seconds, values: all }
    }

    #[test]
    fn a_day_has_the_extremes_the_weighted_mean_the_last_limit_and_rates_summed_over_time() {
        let of = |low: f32, mean: f32, high: f32| [Some(low), Some(mean), Some(high)];
        let day = Day::of(
            0,
            &[
                quarter(0, 900, &[(Series::Memory, of(1.0, 4.0, 8.0)), (Series::MemoryLimit, of(10.0, 10.0, 10.0))]),
                quarter(1, 300, &[(Series::Memory, of(2.0, 8.0, 9.0)), (Series::MemoryLimit, of(20.0, 20.0, 20.0))]),
                quarter(2, 600, &[(Series::Stalls, of(0.0, 0.5, 3.0))]),
            ],
        );
        assert_eq!(day.seconds, 1800);
        assert_eq!(day.memory, Some([1.0, 5.0, 9.0]));
        assert_eq!((day.limit, day.stalls), (Some(20.0), Some(300.0)));
        assert_eq!((day.anon, day.cpus, day.memory_waiting, day.kills), (None, None, None, None), "absent is not zero");
        assert_eq!(Day::of(7, &[]), Day { time: 7, ..Day::default() });
    }

    #[test]
    fn a_quarter_that_was_lived_through_twice_counts_once() {
        let quarters = [quarter(0, 1700, &[(Series::Stalls, [Some(0.0), Some(1.0), Some(1.0)])])];
        let day = Day::of(0, &quarters);
        assert_eq!((day.seconds, day.stalls), (900, Some(900.0)));
    }

    #[test]
    fn numbers_are_short_and_near() {
        for (value, text) in [(0.0, "0.0"), (1.0 / 3.0, "0.3333"), (12345.678, "12350.0"), (1e-9, "1e-9"), (2.5, "2.5")]
        {
            assert_eq!(format!("{:?}", short(value)), text);
        }
        for value in [1.0, 999.95, 86_400.0, 7.7e11, 3.33e-5] {
            assert!((short(value) / value - 1.0).abs() < 0.0006, "{value}");
        }
        assert_eq!(short(f64::NAN), 0.0);
    }
}
