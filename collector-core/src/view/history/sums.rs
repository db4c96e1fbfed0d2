//! What a period adds up to: least, mean and most of each series that outlives the minutes. Knows neither when a period begins nor
//! where it is kept.

use super::Point;
use crate::series::{Kind, Series};
use crate::tier::{Code, KEPT, ROUNDS, Row, Scale};

/// Which of them are levels, and not rates. At hand, because every workload needs it at every tick.
const LEVELS: [bool; KEPT.len()] = {
    let mut levels = [false; KEPT.len()];
    let mut place = 0;
    while place < KEPT.len() {
        levels[place] = matches!(KEPT[place].kind(), Kind::Gauge);
        place += 1;
    }
    levels
};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Sums([Sum; KEPT.len()]);

/// What one number adds up to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum {
    /// NaN as long as nothing is known.
    least: f32,
    most: f32,
    /// The mean multiplied by the seconds for which it is known.
    total: f32,
    seconds: f32,
}

impl Default for Sums {
    fn default() -> Sums {
        Sums([Sum::default(); KEPT.len()])
    }
}

impl Default for Sum {
    fn default() -> Sum {
        Sum { least: f32::NAN, most: f32::NAN, total: 0.0, seconds: 0.0 }
    }
}

impl Sum {
    pub fn see(&mut self, least: f32, most: f32) {
        // A minimum with NaN is the other one.
        (self.least, self.most) = (self.least.min(least), self.most.max(most));
    }

    /// Adds a mean and for how long it stands. NaN: it is not known.
    pub fn last(&mut self, mean: f32, seconds: f32) {
        if !mean.is_nan() {
            self.total += mean * seconds;
            self.seconds += seconds;
        }
    }

    /// For how many seconds it is known.
    pub fn seconds(&self) -> f32 {
        self.seconds
    }

    /// Minimum, mean and maximum.
    pub fn codes(&self, scale: impl Into<Scale>) -> [Code; 3] {
        let (scale, values) = (scale.into(), [self.least, self.mean(), self.most]);
        std::array::from_fn(|part| Code::of(scale, values[part], ROUNDS[part]))
    }

    fn mean(&self) -> f32 {
        // Rounding may carry a mean of equal numbers beyond them.
        if self.seconds > 0.0 { (self.total / self.seconds).max(self.least).min(self.most) } else { f32::NAN }
    }
}

impl Sums {
    /// Adds the point of a tick. `seconds`: how long a complete point stands for. A point that later ticks share is not complete: a
    /// level in it is one that was seen, but its rates are those of a fraction.
    pub fn add(&mut self, point: &Point, seconds: Option<f32>) {
        for ((sum, series), level) in self.0.iter_mut().zip(KEPT).zip(LEVELS) {
            let value = point[series as usize];
            if value.is_nan() {
                continue;
            }
            let (least, mean, most) = between(series, value, point);
            if seconds.is_some() || level {
                sum.see(least, most);
            }
            if let Some(seconds) = seconds {
                sum.last(mean, seconds);
            }
        }
    }

    /// Adds a part of the period; or the period of a workload that is this one from now on. The two may have run one after the other:
    /// a sum would be a peak that never was.
    pub fn extend(&mut self, part: &Sums) {
        for (sum, part) in self.0.iter_mut().zip(part.0) {
            sum.see(part.least, part.most);
            sum.total += part.total;
            sum.seconds += part.seconds;
        }
    }

    pub fn take(&mut self) -> Sums {
        std::mem::take(self)
    }

    pub fn row(&self) -> Row {
        let mut row = [[Code::UNKNOWN; 3]; KEPT.len()];
        for ((codes, sum), series) in row.iter_mut().zip(&self.0).zip(KEPT) {
            *codes = sum.codes(series);
        }
        row
    }

    /// Minimum, mean and maximum of one series, as far as they are known.
    pub fn values(&self, series: usize) -> [Option<f32>; 3] {
        let sum = &self.0[series];
        [sum.least, sum.mean(), sum.most].map(|value| (!value.is_nan()).then_some(value))
    }

    /// For how many seconds anything is known.
    pub fn seconds(&self) -> f32 {
        self.0.iter().map(|sum| sum.seconds).fold(0.0, f32::max)
    }

    /// Whether nothing was ever more than zero. A limit says nothing of what was used.
    pub fn is_empty(&self) -> bool {
        let mut used = self.0.iter().zip(KEPT).filter(|(_, series)| *series != Series::MemoryLimit);
        used.all(|(sum, _)| sum.most.is_nan() || sum.most <= 0.0)
    }
}

/// Minimum, mean and maximum of one point: memory may have been read several times for it.
pub(super) fn between(series: Series, value: f32, point: &Point) -> (f32, f32, f32) {
    if series != Series::Memory {
        return (value, value, value);
    }
    let [least, mean, most] =
        [Series::MemoryLeast, Series::MemoryMean, Series::MemoryMost].map(|series| point[series as usize]);
    let (least, most) = (value.min(least), value.max(most));
    (least, if mean.is_nan() { value } else { mean }.max(least).min(most), most)
}
