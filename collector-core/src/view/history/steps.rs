//! The periods of a coarse tier: which is open, and when those that are kept began. They begin at multiples of their length, so that
//! periods of a finer tier make up one of a coarser. Knows nothing of values.

use std::collections::VecDeque;

use crate::tier::Tier;

/// Stands for a period that a clock set back has made invalid.
const INVALID: u64 = u64::MAX;

#[derive(Clone, Debug)]
pub(super) struct Steps {
    tier: Tier,
    /// When the kept ones began, oldest first.
    times: VecDeque<u64>,
    /// Most that are kept.
    max: usize,
    /// Number of periods that are over. That of the open one, too.
    pub over: u64,
    /// When the open one began, once there is one.
    pub open: Option<u64>,
}

/// What a tick does to the open period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Turn {
    Same,
    /// It is over: its row, and when it began.
    Over(u64, u64),
    /// The clock was set back: it began later than now.
    Back,
}

impl Steps {
    /// `max` periods are kept.
    pub fn new(tier: Tier, max: usize) -> Steps {
        Steps { tier, times: VecDeque::new(), max, over: 0, open: None }
    }

    pub fn begin(&mut self, time: u64) -> Turn {
        let begin = time - time % self.tier.step();
        let Some(open) = self.open.replace(begin) else { return Turn::Same };
        if begin == open {
            return Turn::Same;
        }
        if begin < open {
            self.times.iter_mut().filter(|time| **time >= begin).for_each(|time| *time = INVALID);
            return Turn::Back;
        }
        let row = self.over;
        self.over += 1;
        if self.times.len() >= self.max {
            self.times.pop_front();
        }
        if self.max > 0 {
            self.times.push_back(open);
        }
        Turn::Over(row, open)
    }

    /// The kept periods that are over, by row, with their begin. Oldest first.
    pub fn rows(&self) -> impl Iterator<Item = (u64, u64)> {
        let first = self.over - self.times.len() as u64;
        let rows = self.times.iter().enumerate().map(move |(index, time)| (first + index as u64, *time));
        rows.filter(|(_, time)| *time != INVALID)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn begins(steps: &Steps) -> Vec<u64> {
        steps.rows().map(|(_, time)| time / S).collect()
    }

    #[test]
    fn they_begin_at_multiples_and_gaps_take_no_room() {
        let mut steps = Steps::new(Tier::TenSeconds, 3);
        let turns = [7, 9, 10, 19, 25, 100].map(|second| steps.begin(second * S));
        assert_eq!(
            turns,
            [Turn::Same, Turn::Same, Turn::Over(0, 0), Turn::Same, Turn::Over(1, 10 * S), Turn::Over(2, 20 * S)]
        );
        assert_eq!(begins(&steps), [0, 10, 20]);
        steps.begin(110 * S);
        assert_eq!(steps.rows().collect::<Vec<_>>(), [(1, 10 * S), (2, 20 * S), (3, 100 * S)]);
    }

    #[test]
    fn a_clock_set_back_takes_what_it_makes_later_than_now() {
        let mut steps = Steps::new(Tier::TenSeconds, 9);
        for second in [5, 15, 25, 35] {
            steps.begin(second * S);
        }
        assert_eq!(steps.begin(31 * S), Turn::Same, "within the period");
        assert_eq!(steps.begin(12 * S), Turn::Back);
        assert_eq!(begins(&steps), [0]);
        assert_eq!(steps.begin(22 * S), Turn::Over(3, 10 * S));
        assert_eq!(begins(&steps), [0, 10]);
    }
}
