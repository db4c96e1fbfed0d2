//! Rate limits: a storm is counted, not told one by one. A [`Bucket`] limits the whole, a [`Rates`] each owner of workloads.

use std::collections::BTreeMap;

use crate::outcome::Outcome;

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

/// Who answers for a workload: the user below whose slice it is, however many cgroups and names the user makes; otherwise the
/// workload itself.
pub fn owner(workload: &str) -> &str {
    let user = workload.split_once('/').map_or(workload, |(user, _)| user);
    let uid = user.strip_prefix("user-").filter(|uid| !uid.is_empty());
    if uid.is_some_and(|uid| uid.bytes().all(|byte| byte.is_ascii_digit())) { user } else { workload }
}

impl Outcome {
    /// Who answers for the workload that it is about; `None` if it is about the host.
    pub fn owner(&self) -> Option<&str> {
        let workload = match self {
            Outcome::OomKill(kill) | Outcome::Dying(kill) => kill.workload.as_deref(),
            Outcome::Signal(signal) => signal.workload.as_deref(),
            Outcome::ReclaimStall(stall) => stall.workload.as_deref(),
            Outcome::CompactionStall(stall) => stall.workload.as_deref(),
            Outcome::SlowIo(io) | Outcome::FailedIo(io) => io.workload.as_deref(),
            Outcome::AllocationRefused(refusal) => refusal.workload.as_deref(),
            Outcome::Pressure(_) => None,
            Outcome::Incident(incident) => incident.labels.get("workload").map(String::as_str),
            Outcome::Alert(alert) => alert.labels.get("workload").map(String::as_str),
        };
        workload.map(owner)
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
    fn an_owners_storm_silences_nobody_else_and_its_many_names_are_one() {
        let mut rates = Rates::new(Bucket::new(1.0, 5.0));
        let mut passed = |workload: &str| rates.allows(owner(workload), BEGIN);
        let names: Vec<String> = (0..5000).map(|number| format!("user-1000/app{number}.service")).collect();
        assert_eq!(names.iter().filter(|name| passed(name)).count(), 5);
        assert!(passed("prod/bank-0/ledger") && passed("user-1001/x") && passed("docker/web"));
        let many: Vec<String> = (0..5000).map(|number| format!("docker/{number}")).collect();
        let count = many.iter().filter(|name| passed(name)).count();
        assert!((MAX_OWNERS - 10..MAX_OWNERS + 10).contains(&count), "{count}");
        assert!(rates.owners.len() <= MAX_OWNERS + 1);
        assert!(rates.allows("docker/new", BEGIN + 10 * SECOND), "who has been quiet makes room");
    }

    #[test]
    fn only_a_users_workloads_share_an_owner() {
        for (workload, expected) in [
            ("user-1000/docker/web", "user-1000"),
            ("user-1000", "user-1000"),
            ("user-mode/linux", "user-mode/linux"),
            ("user-/x", "user-/x"),
            ("docker/user-7", "docker/user-7"),
            ("", ""),
        ] {
            assert_eq!(owner(workload), expected);
        }
    }
}
