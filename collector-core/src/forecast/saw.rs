//! Whether something cleans up again and again: a number that rises slowly and falls at once, from about the same height. Knows neither
//! what the number is nor who cleans.

/// A fall is one by this share of what the number ranges over.
const FALL: f64 = 0.35;
/// So many falls are a habit.
const FALLS: usize = 3;
/// The heights from which it falls differ by at most this share of the range.
const ALIKE: f64 = 0.3;
/// Between falls it rises in this share of the steps.
const RISING: f64 = 0.75;
/// Less than this share of its height is no range.
const RANGE: f64 = 0.02;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Saw {
    /// The highest from which it fell, and the lowest to which it did.
    pub top: f64,
    pub floor: f64,
    /// Steps between two falls, as a mean.
    pub every: f64,
    pub falls: usize,
}

/// The saw in what is known of a number's past, if it is one.
pub fn saw(known: &[(usize, f64)]) -> Option<Saw> {
    let least = known.iter().map(|(_, value)| *value).fold(f64::INFINITY, f64::min);
    let most = known.iter().map(|(_, value)| *value).fold(f64::NEG_INFINITY, f64::max);
    let range = most - least;
    if known.len() < 4 * FALLS || range <= RANGE * most.abs() {
        return None;
    }
    let falls = |pair: &&[(usize, f64)]| pair[0].1 - pair[1].1 >= FALL * range;
    let found: Vec<&[(usize, f64)]> = known.windows(2).filter(falls).collect();
    if found.len() < FALLS {
        return None;
    }
    let [tops, floors] = [0, 1].map(|side| found.iter().map(move |pair| pair[side].1));
    let (lowest_top, top) =
        tops.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), it| (low.min(it), high.max(it)));
    let floor = floors.fold(f64::INFINITY, f64::min);
    let rest = known.len() - 1 - found.len();
    let rises = known.windows(2).filter(|pair| pair[1].1 > pair[0].1).count();
    let span = found.last()?[1].0 - found.first()?[1].0;
    let is_saw = top - lowest_top <= ALIKE * range && rises as f64 >= RISING * rest as f64;
    is_saw.then(|| Saw { top, floor, every: span as f64 / (found.len() - 1) as f64, falls: found.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rises_and_falls_at_once_from_the_same_height_is_one() {
        let teeth = |period: usize, length: usize| -> Vec<(usize, f64)> {
            (0..length).map(|at| (at, 40.0 + (at % period) as f64)).collect()
        };
        let found = saw(&teeth(26, 200)).unwrap();
        assert_eq!((found.top, found.floor, found.every, found.falls), (65.0, 40.0, 26.0, 7));
        assert_eq!(saw(&teeth(26, 70)), None, "two falls are no habit");
    }

    #[test]
    fn days_noise_lines_and_steps_are_none() {
        let of = |value: &dyn Fn(usize) -> f64| saw(&(0..240).map(|at| (at, value(at))).collect::<Vec<_>>());
        assert_eq!(of(&|at| if at % 24 < 12 { 10.0 } else { 50.0 }), None, "work of a day");
        let noise = |at: usize| {
            ((at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33).wrapping_mul(0x2545_F491) >> 24 & 0xff
        };
        assert_eq!(of(&|at| noise(at) as f64), None, "noise");
        assert_eq!(of(&|at| at as f64), None, "a line");
        assert_eq!(of(&|at| if at < 100 { 90.0 } else { 10.0 }), None, "a restart");
        assert_eq!(saw(&[]), None);
    }
}
