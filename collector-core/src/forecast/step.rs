//! Whether a number went up or down once, and stayed there: a new version, another setting, one workload more. Knows neither what the
//! number is nor why.

/// It moved by this share of the higher level at least …
const MOVED: f64 = 0.1;
/// … most of it within so many steps, …
const AT_ONCE: usize = 2;
const MOST: f64 = 0.7;
/// … and on both sides nine values of ten are within this share of that.
const SPREAD: f64 = 0.35;
/// … and the halves of each side differ by no more than this share of that: a level does not drift.
const DRIFT: f64 = 0.1;
/// So many steps on each side: two hours of quarters of an hour, eight of hours.
const LEAST: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The index of the first value of the new level.
    pub at: usize,
    /// Medians of both sides.
    pub before: f64,
    pub after: f64,
}

/// The step in what is known of a number's past, if it is one.
pub fn step(known: &[(usize, f64)]) -> Option<Step> {
    let moved = |from: usize| (known[(from + AT_ONCE).min(known.len() - 1)].1 - known[from].1).abs();
    // The move that is largest; of several windows over the same one the last, which begins just before it.
    let from = (0..known.len().checked_sub(1)?).max_by(|one, two| moved(*one).total_cmp(&moved(*two)))?;
    let sorted = |values: &[(usize, f64)]| {
        let mut values: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let (old, new) = (&known[..=from], known.get(from + AT_ONCE..)?);
    if old.len() < LEAST || new.len() < LEAST {
        return None;
    }
    let of = |values: &[f64], share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    let median = |side: &[(usize, f64)]| of(&sorted(side), 0.5);
    let (before, after) = (median(old), median(new));
    let height = (after - before).abs();
    let is_level = |side: &[(usize, f64)]| {
        let values = sorted(side);
        let (early, late) = side.split_at(side.len() / 2);
        let drift = (median(late) - median(early)).abs();
        of(&values, 0.95) - of(&values, 0.05) <= SPREAD * height && drift <= DRIFT * height
    };
    let is_step = height > MOVED * before.abs().max(after.abs())
        && moved(from) >= MOST * height
        && is_level(old)
        && is_level(new);
    // The first value that is nearer to the new level.
    let is_new = |(_, value): &&(usize, f64)| (value - after).abs() < (value - before).abs();
    let at = known[from..].iter().find(is_new)?.0;
    is_step.then_some(Step { at, before, after })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: impl Fn(usize) -> f64) -> Option<Step> {
        step(&(0..240).map(|at| (at, value(at))).collect::<Vec<_>>())
    }

    fn noise(at: usize) -> f64 {
        (((at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) % 100) as f64 / 100.0
    }

    #[test]
    fn what_moves_once_and_stays_is_one() {
        let up = of(|at| if at < 100 { 10.0 } else { 40.0 } + noise(at)).unwrap();
        assert_eq!(up.at, 100);
        assert!((10.0..11.0).contains(&up.before) && (40.0..41.0).contains(&up.after), "{up:?}");
        let down = of(|at| if at < 200 { 40.0 } else { 10.0 } + noise(at)).unwrap();
        assert_eq!((down.at, down.before > down.after), (200, true));
        // In a quarter of an hour in the middle of which it moves, the mean is between both.
        let between = of(|at| [10.0, 25.0, 40.0][at.saturating_sub(99).min(2)]).unwrap();
        assert!((100..=101).contains(&between.at), "{between:?}");
        let seen = (0..90).chain(130..240);
        let gap: Vec<(usize, f64)> = seen.map(|at| (at, if at < 100 { 10.0 } else { 40.0 })).collect();
        assert_eq!(step(&gap).map(|step| step.at), Some(130), "nobody saw when");
    }

    #[test]
    fn days_lines_noise_peaks_and_saws_are_none() {
        assert_eq!(of(|at| at as f64), None, "a line");
        assert_eq!(of(|at| 40.0 + noise(at)), None, "noise");
        assert_eq!(of(|at| if at % 96 < 40 { 10.0 } else { 40.0 }), None, "days");
        assert_eq!(of(|at| 40.0 + (at % 26) as f64), None, "a saw");
        assert_eq!(of(|at| if (100..104).contains(&at) { 90.0 } else { 40.0 }), None, "a peak");
        assert_eq!(of(|at| if at < 120 { 40.0 } else { 43.0 }), None, "a little");
        let grows = |at: usize| if at < 100 { 10.0 } else { 40.0 + (at - 100) as f64 / 14.0 };
        assert_eq!(of(grows), None, "a new level that drifts");
        assert_eq!(of(|at| grows(239 - at)), None, "an old level that drifts");
        assert_eq!(of(|at| if at < 236 { 10.0 } else { 40.0 }), None, "an hour ago: it may come back");
        assert_eq!(step(&[]), None);
        assert_eq!(step(&[(0, 1.0)]), None);
    }
}
