//! Evaluates one rule on one series: the change of the series, and the phase of the alert. Times are elapsed nanoseconds that
//! never go backwards, whatever the host's clock does.

use super::{Change, Side, Threshold};

/// Points that are kept per window.
const STEPS: u64 = 8;
/// [`STEPS`], one before the window, and one incomplete step.
const POINTS: usize = STEPS as usize + 2;

/// The recent points of a series.
#[derive(Clone, Debug)]
pub struct Window {
    points: [(u64, f64); POINTS],
    length: usize,
    /// The last raw number, and the sum of all growth, which a counter reset does not reduce.
    last: f64,
    total: f64,
}

impl Window {
    /// Starts with this number. A `fresh` series began at zero.
    pub fn new(now: u64, number: f64, fresh: bool) -> Window {
        let mut points = [(0, 0.0); POINTS];
        points[0] = (now, if fresh { 0.0 } else { number });
        points[1] = (now, number);
        Window { points, length: 2, last: number, total: number }
    }

    /// Adds the current number and returns the change per second, and whether the window is full.
    pub fn change(&mut self, change: Change, now: u64, number: f64) -> Option<(f64, bool)> {
        let number_now = match change {
            Change::Rate(_) => {
                // Like Prometheus: a counter that fell was reset to zero.
                self.total += if number >= self.last { number - self.last } else { number };
                self.last = number;
                self.total
            }
            Change::Slope(_) => number,
        };
        self.keep(now, change.window(), number_now);
        let first = self.points[0];
        let age = now.saturating_sub(first.0);
        let full = age >= change.window();
        match change {
            // A partial window counts as a whole one, so that a new series does not look fast.
            Change::Rate(window) => Some(((number_now - first.1) / seconds(age.max(window)), full)),
            Change::Slope(_) => full.then(|| (self.slope(now, number_now), true)),
        }
    }

    /// When a window that has the number of now changes next if the number does not: it stores or drops a point, or is full.
    /// Until then a rate only falls.
    pub fn next(&self, now: u64, window: u64) -> u64 {
        let points = &self.points[..self.length];
        let ends = points.iter().take(2).map(|(time, _)| time.saturating_add(window)).filter(|end| *end > now);
        let step = points[self.length - 1].0.saturating_add(window / STEPS);
        ends.fold(step, u64::min)
    }

    /// Whether a counter did not grow within the window.
    pub fn is_flat(&self) -> bool {
        self.points[..self.length].iter().all(|(_, number)| *number == self.total)
    }

    /// Stores a point once per step, and drops points older than the window, except the newest of them.
    fn keep(&mut self, now: u64, window: u64, number: f64) {
        let step = window / STEPS;
        let last = self.points[self.length - 1].0;
        if now.saturating_sub(last) >= step && now > last {
            if self.length == POINTS {
                self.drop_first();
            }
            self.points[self.length] = (now, number);
            self.length += 1;
        }
        while self.length > 1 && now.saturating_sub(self.points[1].0) >= window {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        self.points.copy_within(1..self.length, 0);
        self.length -= 1;
    }

    /// Slope per second of the least-squares line.
    fn slope(&self, now: u64, number: f64) -> f64 {
        let last = self.points[self.length - 1].0 == now;
        let points = self.points[..self.length].iter().copied().chain((!last).then_some((now, number)));
        let points = points.map(|(time, number)| (-seconds(now.saturating_sub(time)), number));
        let (mut count, mut x, mut y) = (0.0, 0.0, 0.0);
        for point in points.clone() {
            (count, x, y) = (count + 1.0, x + point.0, y + point.1);
        }
        // Centred on the mean, because squares of large, close numbers would cancel.
        let (x, y) = (x / count, y / count);
        let (mut over, mut under) = (0.0, 0.0);
        for point in points {
            over += (point.0 - x) * (point.1 - y);
            under += (point.0 - x) * (point.0 - x);
        }
        if under > 0.0 { over / under } else { 0.0 }
    }
}

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

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
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
    fn a_rate_is_the_growth_per_second_over_the_window() {
        let mut window = Window::new(0, 100.0, false);
        let rate = Change::Rate(10 * S);
        assert_eq!(window.change(rate, 0, 100.0), Some((0.0, false)));
        assert_eq!(window.change(rate, 5 * S, 150.0), Some((5.0, false)), "half a window counts as a whole one");
        assert_eq!(window.change(rate, 10 * S, 200.0), Some((10.0, true)));
        // The counter is reset.
        assert_eq!(window.change(rate, 15 * S, 30.0), Some((8.0, true)));
        assert_eq!(window.change(rate, 25 * S, 30.0), Some((0.0, true)));
        let mut fresh = Window::new(0, 1.0, true);
        assert_eq!(fresh.change(rate, 0, 1.0), Some((0.1, false)), "a fresh series has grown from zero");
    }

    #[test]
    fn a_slope_is_known_once_the_window_is_full() {
        let mut window = Window::new(0, 5.0, false);
        let slope = Change::Slope(10 * S);
        for second in 1..10 {
            assert_eq!(window.change(slope, second * S, 5.0 + 3.0 * second as f64), None);
        }
        let (slope, full) = window.change(slope, 10 * S, 35.0).unwrap();
        assert!(full && (slope - 3.0).abs() < 1e-9, "{slope}");
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

        /// A rate and a slope find steady growth, however long the ticks are.
        #[test]
        fn steady_growth_is_found_whatever_the_ticks(
            ticks in proptest::collection::vec(1u64..30_000_000_000, 40..80), window in 1u64..100, speed in 0.0f64..1e9, base in 0.0f64..1e12
        ) {
            for change in [Change::Rate(window * S), Change::Slope(window * S)] {
                let mut kept = Window::new(0, base, false);
                let mut now = 0;
                for tick in &ticks {
                    now += tick;
                    let number = base + speed * seconds(now);
                    if let Some((found, true)) = kept.change(change, now, number) {
                        prop_assert!((found - speed).abs() <= 1e-6 * speed + 1e-3, "{} {} {:?}", found, speed, change);
                    }
                    prop_assert!(kept.length <= POINTS);
                }
            }
        }

        /// The rate of a counter is never negative, and never exceeds its growth.
        #[test]
        fn a_counter_reset_is_not_growth(numbers in proptest::collection::vec(0u32..1000, 1..60)) {
            let mut kept = Window::new(0, numbers[0].into(), false);
            let mut grown = 0.0;
            let mut last = numbers[0];
            for (second, number) in numbers.iter().enumerate() {
                grown += f64::from(if *number >= last { number - last } else { *number });
                last = *number;
                let (rate, _) = kept.change(Change::Rate(10 * S), second as u64 * S, (*number).into()).unwrap();
                prop_assert!(rate >= 0.0 && rate * 10.0 <= grown + 1e-9, "{} {}", rate, grown);
            }
        }
    }
}
