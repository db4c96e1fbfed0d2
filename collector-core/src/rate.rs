//! Rate limits: a storm is counted, not told one by one. A [`Bucket`] limits the whole, a [`Rates`] each owner of workloads.

use std::collections::BTreeMap;

/// Limit on owners that are told apart; all further ones share one bucket.
const MAX_OWNERS: usize = 1024;

/// A token bucket, filled by the time of the samples.
#[derive(Clone, Debug)]
pub struct Bucket {
    per_second: f64,
    burst: f64,
    left: f64,
    /// Time of the last refill, in nanoseconds since the Unix epoch.
    filled: u64,
}

impl Bucket {
    /// Allows `burst` after a quiet time, and `per_second` in the long run.
    pub const fn new(per_second: f64, burst: f64) -> Bucket {
        Bucket { per_second, burst, left: burst, filled: 0 }
    }

    /// Whether one more may pass at this time, in nanoseconds since the Unix epoch.
    pub fn allows(&mut self, time: u64) -> bool {
        self.fill(time);
        let allows = self.left >= 1.0;
        self.left -= f64::from(u8::from(allows));
        allows
    }

    fn fill(&mut self, time: u64) {
        // A clock that was set back adds nothing; refilling continues from the new time.
        let passed = time.saturating_sub(self.filled) as f64 / 1e9;
        self.left = (self.left + passed * self.per_second).min(self.burst);
        self.filled = time;
    }
}

/// A bucket for each owner of workloads, so that nobody's storm silences another.
#[derive(Clone, Debug)]
pub struct Rates {
    new: Bucket,
    owners: BTreeMap<Box<str>, Bucket>,
}

impl Rates {
    /// Each owner has such a bucket.
    pub fn new(new: Bucket) -> Rates {
        Rates { new, owners: BTreeMap::new() }
    }

    /// Whether one more about this owner may pass at this time, in nanoseconds since the Unix epoch.
    pub fn allows(&mut self, owner: &str, time: u64) -> bool {
        if let Some(bucket) = self.owners.get_mut(owner) {
            return bucket.allows(time);
        }
        if self.owners.len() >= MAX_OWNERS {
            self.owners.retain(|_, bucket| {
                bucket.fill(time);
                bucket.left < bucket.burst
            });
        }
        let owner = if self.owners.len() < MAX_OWNERS { owner } else { "" };
        self.owners.entry(owner.into()).or_insert_with(|| self.new.clone()).allows(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const BEGIN: u64 = 1_700_000_000 * SECOND;

    #[test]
    fn what_passes_is_a_burst_then_a_fixed_rate() {
        let mut bucket = Bucket::new(50.0, 500.0);
        let mut passed = |time| (0..10_000).filter(|_| bucket.allows(time)).count();
        assert_eq!(passed(BEGIN), 500);
        assert_eq!(passed(BEGIN + SECOND), 50);
        assert_eq!(passed(BEGIN + 3 * SECOND), 100);
        assert_eq!(passed(BEGIN + 3600 * SECOND), 500);
        assert_eq!(passed(BEGIN), 0, "the clock was set back by an hour");
        assert_eq!(passed(BEGIN + SECOND), 50);
    }

    #[test]
    fn an_owners_storm_silences_nobody_else() {
        let mut rates = Rates::new(Bucket::new(1.0, 5.0));
        let mut passed = |owner: &str| rates.allows(owner, BEGIN);
        assert_eq!((0..5000).filter(|_| passed("user-1000")).count(), 5);
        assert!(passed("prod/bank-0/ledger") && passed("user-1001") && passed("docker/web"));
        let many: Vec<String> = (0..5000).map(|number| format!("docker/{number}")).collect();
        let count = many.iter().filter(|name| passed(name)).count();
        assert!((MAX_OWNERS - 10..MAX_OWNERS + 10).contains(&count), "{count}");
        assert!(rates.owners.len() <= MAX_OWNERS + 1);
        assert!(rates.allows("docker/new", BEGIN + 10 * SECOND), "who has been quiet makes room");
    }
}
