//! Rate limit of events: a storm of events is counted, not written one by one.

/// Events per second, and the burst after a quiet time.
const EVENTS: (f64, f64) = (50.0, 500.0);

/// A token bucket, filled by the time of the samples.
pub struct Allowance {
    left: f64,
    /// Time of the last refill, in nanoseconds since the Unix epoch.
    filled: u64,
}

impl Default for Allowance {
    fn default() -> Allowance {
        Allowance { left: EVENTS.1, filled: 0 }
    }
}

impl Allowance {
    /// Whether an event may pass at this time, in nanoseconds since the Unix epoch.
    pub fn allows(&mut self, time: u64) -> bool {
        let (per_second, burst) = EVENTS;
        // A clock that was set back adds nothing; refilling continues from the new time.
        let passed = time.saturating_sub(self.filled) as f64 / 1e9;
        self.left = (self.left + passed * per_second).min(burst);
        self.filled = time;
        let allows = self.left >= 1.0;
        self.left -= f64::from(u8::from(allows));
        allows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn passed(allowance: &mut Allowance, time: u64, tries: usize) -> usize {
        (0..tries).filter(|_| allowance.allows(time)).count()
    }

    #[test]
    fn events_pass_in_a_burst_then_at_a_fixed_rate() {
        let mut allowance = Allowance::default();
        let begin = 1_700_000_000 * SECOND;
        assert_eq!(passed(&mut allowance, begin, 10_000), 500);
        assert_eq!(passed(&mut allowance, begin + SECOND, 10_000), 50);
        assert_eq!(passed(&mut allowance, begin + 3 * SECOND, 10_000), 100);
        assert_eq!(passed(&mut allowance, begin + 3600 * SECOND, 10_000), 500);
        assert_eq!(passed(&mut allowance, begin, 10_000), 0, "the clock was set back by an hour");
        assert_eq!(passed(&mut allowance, begin + SECOND, 10_000), 50);
    }
}
