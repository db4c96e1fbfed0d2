//! [`Hold`]: a level over time. It is entered at once and left after a hold, which grows with every relapse and decays while nothing
//! happens. Knows neither resources nor limits.

use crate::level::Level;

/// The first hold, and how much each relapse adds, in nanoseconds.
const STEP_NS: u64 = 10_000_000_000;
const LONGEST_NS: u64 = 30_000_000_000;
/// The hold decays by one nanosecond in this many.
const DECAY: u64 = 2;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hold {
    level: Level,
    /// Since when the level holds, in nanoseconds since the Unix epoch.
    since: u64,
    /// How long a level is held; below one step it has decayed.
    hold_ns: u64,
    /// It rose since it last fell: a further rise is the same lapse.
    risen: bool,
    /// Since when less would do, and the most that was wanted since then.
    less: Option<(u64, Level)>,
    last: u64,
}

impl Hold {
    /// What is wanted at this time, in nanoseconds since the Unix epoch.
    pub fn step(&mut self, time: u64, wanted: Level) {
        if self.last == 0 || time < self.last {
            // The first, or the clock was set back: what was held before is held from now on.
            self.less = self.less.map(|(_, most)| (time, most));
            self.since = if self.last == 0 { time } else { self.since.min(time) };
            self.last = time;
        }
        let elapsed = time - self.last;
        self.last = time;
        if wanted > self.level {
            if !self.risen {
                self.hold_ns = (self.hold_ns + STEP_NS).min(LONGEST_NS);
                self.risen = true;
            }
            self.enter(time, wanted);
        } else if wanted == self.level {
            self.hold_ns = self.hold_ns.saturating_sub(elapsed / DECAY);
            self.less = None;
        } else {
            let (from, most) = self.less.unwrap_or((time, wanted));
            let most = most.max(wanted);
            self.less = Some((from, most));
            if time - from >= self.hold_ns() {
                self.risen = false;
                self.enter(time, most);
                // What is still less than this is held again.
                self.less = (wanted < most).then_some((time, wanted));
            }
        }
    }

    fn enter(&mut self, time: u64, level: Level) {
        (self.level, self.since, self.less) = (level, time, None);
    }

    pub fn level(&self) -> Level {
        self.level
    }

    pub fn since(&self) -> u64 {
        self.since
    }

    pub fn hold_ns(&self) -> u64 {
        self.hold_ns.max(STEP_NS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Level::{Critical, Heavy, Light, Moderate, Normal};
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    /// The levels second by second, for what is wanted for how many seconds.
    fn levels(hold: &mut Hold, from: u64, wanted: &[(Level, u64)]) -> Vec<Level> {
        let seconds = wanted.iter().flat_map(|(level, count)| (0..*count).map(|_| *level));
        let step = |(second, wanted): (u64, Level)| {
            hold.step((from + second) * SECOND, wanted);
            hold.level()
        };
        (0..).zip(seconds).map(step).collect()
    }

    /// After how many seconds it is left that is wanted no more.
    fn left_after(hold: &mut Hold, from: u64) -> u64 {
        let was = hold.level();
        let second = (0..100).find(|second| {
            hold.step((from + second) * SECOND, Normal);
            hold.level() < was
        });
        second.unwrap()
    }

    #[test]
    fn it_is_entered_at_once_and_left_after_ten_seconds() {
        let mut hold = Hold::default();
        let levels = levels(&mut hold, 1, &[(Normal, 2), (Heavy, 1), (Normal, 11)]);
        assert_eq!(levels[..3], [Normal, Normal, Heavy]);
        assert_eq!(levels[3..13], [Heavy; 10]);
        assert_eq!((levels[13], hold.since()), (Normal, 14 * SECOND));
    }

    #[test]
    fn every_relapse_holds_ten_seconds_longer_up_to_thirty() {
        let mut hold = Hold::default();
        let mut now = 1;
        let mut holds = Vec::new();
        for _ in 0..5 {
            hold.step(now * SECOND, Moderate);
            let after = left_after(&mut hold, now + 1);
            holds.push(after);
            now += after + 2;
        }
        // Little decays in the second between leaving and the next relapse.
        assert_eq!(holds[..3], [10, 20, 30]);
        assert!(holds[3..].iter().all(|after| (29..=30).contains(after)), "{holds:?}");
    }

    #[test]
    fn the_hold_decays_by_half_a_second_a_second() {
        let mut hold = Hold::default();
        let mut now = 1;
        for _ in 0..3 {
            hold.step(now * SECOND, Moderate);
            now += left_after(&mut hold, now + 1) + 2;
        }
        let longest = hold.hold_ns();
        levels(&mut hold, now, &[(Normal, 21)]);
        assert!(longest - hold.hold_ns() >= 10 * SECOND, "{longest} {}", hold.hold_ns());
        levels(&mut hold, now + 21, &[(Normal, 60)]);
        hold.step((now + 81) * SECOND, Moderate);
        assert_eq!(left_after(&mut hold, now + 82), 10, "as if there had been none");
    }

    #[test]
    fn a_rise_in_steps_is_one_lapse_and_a_dip_none() {
        let mut hold = Hold::default();
        levels(&mut hold, 1, &[(Light, 1), (Moderate, 1), (Critical, 1), (Normal, 5), (Critical, 1)]);
        assert_eq!(left_after(&mut hold, 10), 10);
    }

    #[test]
    fn it_falls_to_the_most_that_was_wanted_meanwhile() {
        let mut hold = Hold::default();
        let levels = levels(&mut hold, 1, &[(Critical, 1), (Normal, 3), (Moderate, 2), (Normal, 20)]);
        assert_eq!(levels[10..12], [Critical, Moderate]);
        assert_eq!(levels[20..22], [Moderate, Normal]);
    }

    #[test]
    fn a_clock_set_back_ends_no_hold_early_and_lets_none_last_for_ever() {
        let mut hold = Hold::default();
        levels(&mut hold, 1000, &[(Heavy, 1), (Normal, 9)]);
        assert_eq!(left_after(&mut hold, 100), 10);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// It is never below what is wanted, and no fall comes within ten seconds of when more was wanted.
        #[test]
        fn it_is_never_less_than_wanted(wanted in proptest::collection::vec((0u8..5, 1u64..15), 1..60)) {
            let mut hold = Hold::default();
            let (mut now, mut before, mut reached) = (1, Normal, [0; 5]);
            for (number, seconds) in wanted {
                let wanted = Level::try_from(number).unwrap();
                for _ in 0..seconds {
                    now += 1;
                    hold.step(now * SECOND, wanted);
                    let level = hold.level();
                    prop_assert!(level >= wanted);
                    prop_assert!((10 * SECOND..=30 * SECOND).contains(&hold.hold_ns()));
                    if level < before {
                        let more = reached[usize::from(level.number()) + 1..].iter().max().unwrap();
                        prop_assert!(now - more >= 10, "fell {} s after more was wanted", now - more);
                    }
                    reached[..=usize::from(number)].iter_mut().for_each(|last| *last = now);
                    before = level;
                }
            }
        }
    }
}
