//! Evaluates one rule on one series: the phase of the alert. Times are elapsed nanoseconds that never go backwards, whatever the
//! host's clock does.

use super::{Side, Threshold};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// The condition does not hold.
    #[default]
    Idle,
    /// The condition holds, but not for long enough yet.
    Pending {
        /// Elapsed nanoseconds at its start.
        since: u64,
    },
    Firing {
        /// When the condition began to hold, in nanoseconds since the Unix epoch.
        started: u64,
        /// When the alert fired, in nanoseconds since the Unix epoch.
        fired: u64,
    },
}

/// The result of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Nothing,
    Fire {
        /// How long the condition has held, in nanoseconds.
        since: u64,
    },
    Resolve,
}

/// Advances the phase by one number, if it is known, and whether its window is full.
pub fn step(threshold: &Threshold, phase: &mut Phase, number: Option<(f64, bool)>, now: u64) -> Turn {
    let Some((number, full)) = number else { return Turn::Nothing };
    if let Phase::Firing { .. } = phase {
        // After a restart the window is not full: too little is known to resolve.
        if threshold.still_holds(number) || !full {
            return Turn::Nothing;
        }
        *phase = Phase::Idle;
        return Turn::Resolve;
    }
    // The missing part of a window can only raise a rate.
    let holds = threshold.holds(number) && (full || threshold.side == Side::Above);
    if !holds {
        *phase = Phase::Idle;
        return Turn::Nothing;
    }
    let since = match *phase {
        Phase::Pending { since } => since,
        _ => now,
    };
    *phase = Phase::Pending { since };
    let lasted = now.saturating_sub(since);
    if lasted >= threshold.lasting { Turn::Fire { since: lasted } } else { Turn::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::host_memory;
    use crate::metric::visit::Part;
    use proptest::prelude::*;

    const S: u64 = 1_000_000_000;

    fn threshold(side: Side, threshold: f64, clear: Option<f64>, lasting: u64) -> Threshold {
        let metric = &host_memory::USED_RATIO;
        Threshold { metric, part: Part::Whole, matches: Vec::new(), change: None, side, threshold, clear, lasting }
    }

    /// The turn at each of these numbers, a second apart: F fires, R resolves.
    fn turns(threshold: &Threshold, numbers: &[f64]) -> String {
        let mut phase = Phase::Idle;
        let turn = |(second, number): (usize, &f64)| match step(
            threshold,
            &mut phase,
            Some((*number, true)),
            second as u64 * S,
        ) {
            Turn::Nothing => '.',
            Turn::Fire { .. } => {
                phase = Phase::Firing { started: 0, fired: 0 };
                'F'
            }
            Turn::Resolve => 'R',
        };
        numbers.iter().enumerate().map(turn).collect()
    }

    #[test]
    fn it_fires_after_for_and_resolves_below_clear() {
        let rule = threshold(Side::Above, 0.9, Some(0.8), 2 * S);
        assert_eq!(turns(&rule, &[0.9, 0.91, 0.91, 0.91, 0.95, 0.8, 0.79, 0.91, 0.91]), "...F..R..");
        assert_eq!(turns(&rule, &[0.91, 0.91, 0.9, 0.91, 0.91, 0.91]), ".....F", "an interruption starts again");
        let rule = threshold(Side::Above, 0.9, None, 0);
        assert_eq!(turns(&rule, &[0.91, 0.9, 0.91]), "FRF");
        let rule = threshold(Side::Below, 0.1, Some(0.2), 0);
        assert_eq!(turns(&rule, &[0.1, 0.09, 0.2, 0.21]), ".F.R");
        assert_eq!(turns(&rule, &[f64::NAN, 0.0, f64::NAN]), ".FR");
    }

    #[test]
    fn while_a_window_fills_nothing_resolves_and_nothing_is_below() {
        let above = threshold(Side::Above, 5.0, None, 0);
        let mut phase = Phase::Firing { started: 1, fired: 2 };
        assert_eq!(step(&above, &mut phase, Some((0.0, false)), 9), Turn::Nothing);
        assert_eq!(step(&above, &mut phase, None, 9), Turn::Nothing);
        assert_eq!(step(&above, &mut phase, Some((0.0, true)), 9), Turn::Resolve);
        let below = threshold(Side::Below, 5.0, None, 0);
        assert_eq!(step(&below, &mut phase, Some((0.0, false)), 9), Turn::Nothing);
        assert_eq!(step(&below, &mut phase, Some((0.0, true)), 9), Turn::Fire { since: 0 });
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Compared with the simplest implementation.
        #[test]
        fn alerts_follow_the_simplest_implementation(
            numbers in proptest::collection::vec(0u8..10, 1..60), lasting in 0u64..5, clear in proptest::option::of(0u8..5)
        ) {
            let rule = threshold(Side::Above, 5.0, clear.map(f64::from), lasting * S);
            let numbers: Vec<f64> = numbers.into_iter().map(f64::from).collect();
            let mut firing = false;
            let mut expected = String::new();
            let mut held = 0;
            for number in &numbers {
                held = if !firing && *number > 5.0 { held + 1 } else { 0 };
                let over = clear.map_or(*number <= 5.0, |clear| *number < f64::from(clear));
                expected.push(match firing {
                    true if over => { firing = false; 'R' }
                    false if held > lasting => { firing = true; 'F' }
                    _ => '.',
                });
            }
            prop_assert_eq!(turns(&rule, &numbers), expected);
        }
    }
}
