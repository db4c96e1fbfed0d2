//! Which way forecasts a number best, and how far it was off: every way is tried at moments of the number's own past, against what came
//! then. Knows nothing of what the number means.

use super::model::{Fit, Way};

/// How many moments of the past are tried, and how many at least.
const MOMENTS: usize = 40;
const LEAST: usize = 5;
/// The first moment has so many steps behind it.
const BEHIND: usize = 8;
/// How far ahead is tried, in steps.
const AHEAD: [usize; 15] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 168];
/// A way with a part more must be better by this share.
const SIMPLER: f64 = 0.02;
/// The interval that holds four of five.
const QUANTILE: f64 = 0.9;

/// The best way, fitted to all that is known, and its errors.
#[derive(Clone, Debug)]
pub struct Judged {
    pub way: Way,
    pub fit: Fit,
    /// Mean error at each of [`AHEAD`] that was tried, rising.
    errors: Vec<(usize, f64)>,
    /// What of these the lower and the upper end of the interval are away.
    ends: [f64; 2],
    /// The share of what came in the past that the interval holds.
    pub held: f64,
}

impl Judged {
    /// `None` if the past is too short to try anything. `patterns`: whether there is enough of it for one.
    pub fn of(past: &[Option<f64>], a_day: usize, patterns: bool) -> Option<Judged> {
        let first = (past.len() / 3).max(BEHIND);
        let last = past.len().checked_sub(2)?;
        let apart = (last.checked_sub(first)? / MOMENTS).max(1);
        let moments: Vec<usize> = (first..=last).step_by(apart).collect();
        let simple: Vec<Vec<Error>> = tried(past, a_day, Way::all().next()?, &moments);
        let mut best: Option<(f64, Way, Vec<Error>)> = None;
        for way in Way::all().filter(|way| patterns || way.pattern == super::model::Pattern::None) {
            let found = tried(past, a_day, way, &moments);
            let both = || found.iter().zip(&simple).filter(|(one, simple)| !one.is_empty() && !simple.is_empty());
            if both().count() < LEAST.max(moments.len() / 3) {
                continue;
            }
            let sum = |errors: &[Error]| errors.iter().map(|error| error.off.abs()).sum::<f64>();
            let (ours, theirs) =
                both().fold((0.0, 0.0), |(ours, theirs), (one, simple)| (ours + sum(one), theirs + sum(simple)));
            let score = if theirs > 0.0 { ours / theirs } else { 1.0 } * (1.0 + SIMPLER * f64::from(way.parts()));
            if best.as_ref().is_none_or(|(least, ..)| score < *least) {
                best = Some((score, way, found.into_iter().flatten().collect()));
            }
        }
        let (_, way, errors) = best?;
        Judged::with(way, Fit::of(past, a_day, way)?, &errors, moments.len())
    }

    fn with(way: Way, fit: Fit, errors: &[Error], moments: usize) -> Option<Judged> {
        let mut scale: Vec<(usize, f64)> = Vec::new();
        for ahead in AHEAD {
            let off: Vec<f64> = errors.iter().filter(|it| it.ahead == ahead).map(|it| it.off.abs()).collect();
            if off.len() >= LEAST {
                let mean = off.iter().sum::<f64>() / off.len() as f64;
                // Nobody knows more of what is further away.
                scale.push((ahead, mean.max(scale.last().map_or(0.0, |(_, before)| *before))));
            }
        }
        scale.first()?;
        let mut judged = Judged { way, fit, errors: scale, ends: [0.0; 2], held: 0.0 };
        let mut shares: Vec<f64> = errors
            .iter()
            .filter_map(|error| {
                let usual = judged.usual(error.ahead);
                (usual > 0.0).then(|| error.off / usual)
            })
            .collect();
        shares.sort_unstable_by(f64::total_cmp);
        if !shares.is_empty() {
            // Errors of neighbouring moments are alike: what counts is how many moments were tried.
            let upper = (QUANTILE * (1.0 + 1.0 / moments.max(1) as f64)).min(1.0);
            let rank = |share: f64| shares[((shares.len() - 1) as f64 * share).round() as usize];
            judged.ends = [rank(1.0 - upper).min(0.0), rank(upper).max(0.0)];
        }
        let within = |error: &&Error| {
            let usual = judged.usual(error.ahead);
            (judged.ends[0] * usual..=judged.ends[1] * usual).contains(&error.off)
        };
        judged.held = errors.iter().filter(within).count() as f64 / errors.len().max(1) as f64;
        Some(judged)
    }

    /// The usual error so many steps ahead. Beyond what was tried it grows as a random walk does.
    fn usual(&self, ahead: usize) -> f64 {
        let (Some(first), Some(last)) = (self.errors.first(), self.errors.last()) else { return 0.0 };
        if ahead <= first.0 {
            return first.1;
        }
        if ahead >= last.0 {
            return last.1 * (ahead as f64 / last.0 as f64).sqrt();
        }
        let between = self.errors.windows(2).find(|pair| pair[0].0 <= ahead && ahead <= pair[1].0);
        between.map_or(last.1, |pair| {
            let share = (ahead - pair[0].0) as f64 / (pair[1].0 - pair[0].0) as f64;
            pair[0].1 + share * (pair[1].1 - pair[0].1)
        })
    }

    /// So many steps ahead: the lower end, what is expected, and the upper end of the interval.
    pub fn ahead(&self, steps: usize) -> [f64; 3] {
        let (value, usual) = (self.fit.ahead(steps), self.usual(steps));
        [value + self.ends[0] * usual, value, value + self.ends[1] * usual]
    }
}

#[derive(Clone, Copy, Debug)]
struct Error {
    ahead: usize,
    /// What came, less what was expected.
    off: f64,
}

/// The errors of a way at each moment; none where it had too little behind it.
fn tried(past: &[Option<f64>], a_day: usize, way: Way, moments: &[usize]) -> Vec<Vec<Error>> {
    let at = |moment: &usize| {
        let Some(fit) = Fit::of(&past[..*moment], a_day, way) else { return Vec::new() };
        let came = |ahead: &usize| {
            let value = past.get(moment + ahead - 1).copied().flatten()?;
            Some(Error { ahead: *ahead, off: value - fit.ahead(*ahead) })
        };
        AHEAD.iter().filter_map(came).collect()
    };
    moments.iter().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::super::model::Pattern;
    use super::*;

    #[test]
    fn the_best_way_is_that_which_the_past_confirms() {
        let grows: Vec<Option<f64>> = (0..400).map(|hour| Some(f64::from(hour) + f64::from(hour * 7 % 5))).collect();
        let judged = Judged::of(&grows, 24, true).unwrap();
        assert!(judged.way.line && judged.way.pattern == Pattern::None, "{:?}", judged.way);
        let [low, value, high] = judged.ahead(48);
        assert!(low <= value && value <= high && (440.0..460.0).contains(&value), "{low} {value} {high}");
        let daily: Vec<Option<f64>> =
            (0..400).map(|hour| Some(f64::from((hour % 24) / 12 * 50 + hour * 7 % 5))).collect();
        let judged = Judged::of(&daily, 24, true).unwrap();
        assert!(judged.way.pattern != Pattern::None && !judged.way.line, "{:?}", judged.way);
        assert_eq!(Judged::of(&daily, 24, false).unwrap().way.pattern, Pattern::None);
    }

    #[test]
    fn intervals_grow_with_what_was_off_and_a_number_that_never_moves_has_none() {
        let flat = [Some(5.0); 100];
        let ahead = Judged::of(&flat, 24, true).unwrap().ahead(300);
        assert!(ahead.iter().all(|value| (value - 5.0).abs() < 1e-9), "{ahead:?}");
        let mut state = 1u64;
        let mut walk = 0.0;
        let past: Vec<Option<f64>> = (0..500)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                walk += (state >> 33) as f64 / f64::from(1u32 << 31) - 0.5;
                Some(walk)
            })
            .collect();
        let judged = Judged::of(&past, 24, true).unwrap();
        let width = |steps| judged.ahead(steps)[2] - judged.ahead(steps)[0];
        assert!(width(1) < width(24) && width(24) <= width(168) && width(168) < width(672), "{}", width(24));
        assert!((0.7..=0.95).contains(&judged.held), "{}", judged.held);
    }

    #[test]
    fn a_past_that_is_too_short_says_nothing() {
        for length in 0..10 {
            assert!(Judged::of(&vec![Some(1.0); length], 96, false).is_none(), "{length}");
        }
        assert!(Judged::of(&[None; 100], 24, true).is_none());
    }
}
