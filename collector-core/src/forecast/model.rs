//! One way to forecast a number: a level that forgets, a line or none, a daily or weekly pattern or none. Knows neither how sure it is nor
//! which way is best.

use crate::trend::line;

/// Of a day or a week, so much is known at least, or it has no mean.
const KNOWN: f64 = 0.75;
/// A pattern of a day is the mean of at most so many days, and of at least so many.
const DAYS: usize = 14;
const DAYS_LEAST: usize = 3;
const WEEKS_LEAST: usize = 2;
/// The line goes through at most so many points.
const POINTS: usize = 32;
/// Weights below that count for nothing.
const FORGOTTEN: f64 = 1e-4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    None,
    Daily,
    Weekly,
}

/// A way to forecast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Way {
    /// The share by which a step counts less than the one after it.
    pub forgets: f64,
    pub line: bool,
    pub pattern: Pattern,
}

impl Way {
    /// All that are tried, the simplest first.
    pub fn all() -> impl Iterator<Item = Way> {
        [Pattern::None, Pattern::Daily, Pattern::Weekly].into_iter().flat_map(|pattern| {
            [false, true]
                .into_iter()
                .flat_map(move |line| [0.02, 0.15, 0.6].into_iter().map(move |forgets| Way { forgets, line, pattern }))
        })
    }

    /// How much there is to it: of two that are as good, the simpler one is taken.
    pub fn parts(self) -> u32 {
        u32::from(self.line) + self.pattern as u32
    }
}

/// What a way made of a number's past.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    pub level: f64,
    /// Growth a step.
    pub slope: f64,
    /// By how many steps ago (modulo its length) it was; empty without a pattern.
    pattern: Vec<f64>,
}

impl Fit {
    /// Of a number's past, the last step at the end. `None` if that is too little for this way.
    pub fn of(past: &[Option<f64>], a_day: usize, way: Way) -> Option<Fit> {
        let slope = if way.line { slope(past, a_day)? } else { 0.0 };
        // Ages count from one, for the last step. What is left once the line is taken away, as if all had happened now.
        let level_of = |age: usize| {
            let value = past[past.len() - age]?;
            Some(value + slope * (age - 1) as f64)
        };
        let pattern = match way.pattern {
            Pattern::None => Vec::new(),
            Pattern::Daily => daily(past.len(), a_day, &level_of)?,
            Pattern::Weekly => weekly(past.len(), a_day, &level_of)?,
        };
        let (mut sum, mut weights, mut weight) = (0.0, 0.0, 1.0);
        for age in 1..=past.len() {
            if let Some(value) = level_of(age) {
                sum += weight * (value - at(&pattern, age as i64));
                weights += weight;
            }
            weight *= 1.0 - way.forgets;
            if weight < FORGOTTEN && weights > 0.0 {
                break;
            }
        }
        (weights > 0.0).then(|| Fit { level: sum / weights, slope, pattern })
    }

    /// So many steps ahead, from one on.
    pub fn ahead(&self, steps: usize) -> f64 {
        self.level + self.slope * steps as f64 + at(&self.pattern, 1 - steps as i64)
    }

    /// From the least to the most of its pattern.
    pub fn swing(&self) -> f64 {
        let least = self.pattern.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.pattern.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if self.pattern.is_empty() { 0.0 } else { most - least }
    }
}

fn at(pattern: &[f64], age: i64) -> f64 {
    match pattern.len() {
        0 => 0.0,
        length => pattern[age.rem_euclid(length as i64) as usize],
    }
}

/// Means of whole blocks, the last one first, with the age of their middle.
fn blocks(past: &[Option<f64>], length: usize) -> Vec<(f64, f64)> {
    let mut found = Vec::new();
    for (number, block) in past.rchunks(length).enumerate() {
        let known: Vec<f64> = block.iter().copied().flatten().collect();
        if block.len() == length && known.len() as f64 >= KNOWN * length as f64 {
            let age = (number as f64 + 0.5) * length as f64 + 0.5;
            found.push((age, known.iter().sum::<f64>() / known.len() as f64));
        }
    }
    found
}

/// Growth a step. Over whole days if there are enough of them, so that a pattern of the day is no growth.
fn slope(past: &[Option<f64>], a_day: usize) -> Option<f64> {
    let mut points = blocks(past, a_day);
    points.truncate(DAYS);
    if points.len() <= DAYS_LEAST {
        points = blocks(past, past.len().div_ceil(POINTS).max(1));
        points.truncate(POINTS);
    }
    let mut points: Vec<(f64, f64)> = points.into_iter().map(|(age, mean)| (-age, mean)).collect();
    points.reverse();
    line(&points).map(|line| line.slope)
}

/// How each step of a period differs from the period's mean, by its age; the mean of several periods, drawn to none if these are few.
fn periods(
    length: usize,
    period: usize,
    most: usize,
    level_of: &impl Fn(usize) -> Option<f64>,
) -> (Vec<f64>, Vec<f64>, usize) {
    let (mut sums, mut counts, mut whole) = (vec![0.0; period], vec![0.0; period], 0);
    for block in 0..(length / period).min(most) {
        let values: Vec<Option<f64>> = (1..=period).map(|place| level_of(block * period + place)).collect();
        let known: Vec<f64> = values.iter().copied().flatten().collect();
        if (known.len() as f64) < KNOWN * period as f64 {
            continue;
        }
        whole += 1;
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        for (place, value) in values.into_iter().enumerate() {
            if let Some(value) = value {
                sums[(place + 1) % period] += value - mean;
                counts[(place + 1) % period] += 1.0;
            }
        }
    }
    (sums, counts, whole)
}

fn daily(length: usize, a_day: usize, level_of: &impl Fn(usize) -> Option<f64>) -> Option<Vec<f64>> {
    let (sums, counts, days) = periods(length, a_day, DAYS, level_of);
    (days >= DAYS_LEAST).then(|| sums.iter().zip(&counts).map(|(sum, count)| sum / (count + 1.0)).collect())
}

fn weekly(length: usize, a_day: usize, level_of: &impl Fn(usize) -> Option<f64>) -> Option<Vec<f64>> {
    let day = daily(length, a_day, level_of)?;
    let (sums, counts, weeks) = periods(length, 7 * a_day, DAYS / 7 + 2, level_of);
    let one = |place: usize| {
        let usual = day[place % a_day];
        // As the day has it, and by how much the week differs.
        (sums[place] - usual * counts[place]) / (counts[place] + 1.0) + usual
    };
    (weeks >= WEEKS_LEAST).then(|| (0..7 * a_day).map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOURS: usize = 24;

    fn way(forgets: f64, line: bool, pattern: Pattern) -> Way {
        Way { forgets, line, pattern }
    }

    #[test]
    fn a_line_goes_on_and_a_level_stays() {
        let past: Vec<Option<f64>> = (0..100).map(|hour| Some(50.0 + f64::from(hour))).collect();
        let fit = Fit::of(&past, HOURS, way(0.15, true, Pattern::None)).unwrap();
        assert!((fit.slope - 1.0).abs() < 1e-9 && (fit.ahead(10) - 159.0).abs() < 1e-6, "{fit:?}");
        let flat = Fit::of(&past, HOURS, way(0.6, false, Pattern::None)).unwrap();
        assert!((flat.ahead(1) - flat.ahead(50)).abs() < 1e-9 && (145.0..150.0).contains(&flat.level), "{flat:?}");
    }

    #[test]
    fn a_pattern_of_the_day_and_one_of_the_week_come_again() {
        let work = |hour: usize| {
            let (day, hour) = (hour / 24 % 7, hour % 24);
            if day < 5 && (8..18).contains(&hour) { 100.0 } else { 20.0 }
        };
        let past: Vec<Option<f64>> = (0..28 * 24).map(|hour| Some(work(hour))).collect();
        let weekly = Fit::of(&past, HOURS, way(0.02, false, Pattern::Weekly)).unwrap();
        for ahead in [1, 10, 30, 24 * 5 + 12] {
            let expected = work(28 * 24 - 1 + ahead);
            assert!((weekly.ahead(ahead) - expected).abs() < 25.0, "{ahead}: {} {expected}", weekly.ahead(ahead));
        }
        let daily = Fit::of(&past, HOURS, way(0.02, false, Pattern::Daily)).unwrap();
        assert!(daily.ahead(12) > daily.ahead(3) + 30.0 && daily.swing() > 40.0);
        assert_eq!(Fit::of(&past[..48], HOURS, way(0.02, false, Pattern::Daily)), None, "two days are no pattern");
        assert_eq!(Fit::of(&past[..10 * 24], HOURS, way(0.02, false, Pattern::Weekly)), None);
    }

    #[test]
    fn gaps_change_nothing_and_nothing_known_is_nothing() {
        let past: Vec<Option<f64>> = (0..200).map(|hour| (hour % 5 > 0).then_some(7.0)).collect();
        let ahead = Fit::of(&past, HOURS, way(0.15, true, Pattern::None)).unwrap().ahead(20);
        assert!((ahead - 7.0).abs() < 1e-9, "{ahead}");
        assert_eq!(Fit::of(&[None; 9], HOURS, way(0.15, false, Pattern::None)), None);
        assert_eq!(Fit::of(&[], HOURS, way(0.15, true, Pattern::None)), None);
    }
}
