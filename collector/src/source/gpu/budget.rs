//! The CPU time that may be spent on reading PCIe counters between rounds: those of 32 bits wrap within fractions of a second, and
//! each reading keeps a CPU busy for up to a millisecond. Pure: the caller supplies times.

use std::time::Duration;

/// Seconds whose share may be saved up: one slow call, or one busy moment of the driver, is no reason to give up counters.
const SAVED: u64 = 10;

/// CPU time that comes in steadily, and is saved up to a limit.
#[derive(Debug)]
pub struct Budget {
    /// Nanoseconds per second.
    rate: u64,
    left: u64,
    /// When that was (CLOCK_MONOTONIC, in nanoseconds).
    at: u64,
}

impl Budget {
    pub fn new(per_second: Duration) -> Budget {
        let rate = u64::try_from(per_second.as_nanos()).unwrap_or(u64::MAX);
        Budget { rate, left: rate.saturating_mul(SAVED), at: 0 }
    }

    /// Takes what a reading took; `false` if there was not that much.
    pub fn spend(&mut self, spent: u64, now: u64) -> bool {
        let passed = u128::from(now.saturating_sub(std::mem::replace(&mut self.at, now)));
        let came = u64::try_from(u128::from(self.rate) * passed / 1_000_000_000).unwrap_or(u64::MAX);
        let left = self.left.saturating_add(came).min(self.rate.saturating_mul(SAVED));
        self.left = left.saturating_sub(spent);
        spent <= left
    }

    /// The counters of one link are given up: the others start with what can be saved, so that one after the other is given up, and
    /// no more than necessary.
    pub fn refill(&mut self) {
        self.left = self.rate.saturating_mul(SAVED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const SECOND: u64 = 1000 * MS;

    /// How many readings of this cost and interval go through, of a thousand.
    fn readings(budget: Duration, cost: u64, interval: u64) -> usize {
        let mut budget = Budget::new(budget);
        (0..1000).take_while(|reading| budget.spend(cost, 70 * SECOND + reading * interval)).count()
    }

    #[test]
    fn what_is_within_the_budget_goes_on_for_ever_and_more_does_not() {
        let budget = Duration::from_millis(10);
        assert_eq!(readings(budget, MS / 2, 68 * MS), 1000, "7.4 ms per second");
        assert_eq!(readings(budget, MS, 100 * MS), 1000, "10 ms per second");
        let over = readings(budget, 5 * MS, 68 * MS);
        assert!((20..30).contains(&over), "100 ms were saved, and each reading takes 4.3 ms of it: {over}");
    }

    #[test]
    fn one_slow_call_is_no_reason_to_stop() {
        let mut budget = Budget::new(Duration::from_millis(10));
        assert!(budget.spend(MS, SECOND));
        assert!(budget.spend(95 * MS, SECOND + 68 * MS));
        assert!(!budget.spend(95 * MS, SECOND + 136 * MS));
        budget.refill();
        assert!(budget.spend(95 * MS, SECOND + 200 * MS));
        assert!(budget.spend(100 * MS, 700 * SECOND), "no more is saved than that");
        assert!(!budget.spend(101 * MS, 7000 * SECOND));
    }

    #[test]
    fn without_a_budget_nothing_is_read() {
        assert_eq!(readings(Duration::ZERO, 1, SECOND), 0);
    }
}
