//! `[admission]`: how much anybody may lease, how long a start may take, and what a verdict keeps to.

use std::collections::BTreeMap;
use std::time::Duration;

use collector_core::lease::Limits;

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Admission {
    /// Whether a verdict also holds to the limits of `[level]`.
    pub within_limits: bool,
    /// How long a start keeps others from its GPU at most.
    pub start_timeout: Duration,
    /// How long work must have been measured before what it needed is remembered; zero remembers nothing.
    pub learn_after: Duration,
    /// Leases of one user, and claims of one user that wait.
    pub user_reservations: usize,
    pub user_waiting: usize,
    /// Percentage of the host's memory.
    pub user_share: usize,
    /// Users who may ask for more than the usual priority, by name or number.
    pub high_priority: Vec<String>,
    /// How long an owner that was asked to give something up may take; how many are asked together, and which part of all.
    pub eviction_timeout: Duration,
    pub eviction_least: usize,
    pub eviction_part: usize,
    /// Places of each slot that all users share.
    pub slots: BTreeMap<String, u64>,
}

impl Default for Admission {
    fn default() -> Admission {
        Admission {
            within_limits: false,
            start_timeout: Duration::from_secs(300),
            learn_after: Duration::from_secs(60),
            user_reservations: 64,
            user_waiting: 64,
            user_share: 50,
            high_priority: Vec::new(),
            eviction_timeout: Duration::from_secs(30),
            eviction_least: 1,
            eviction_part: 0,
            slots: BTreeMap::new(),
        }
    }
}

impl Admission {
    /// `starts`: of one unit a minute, by the guard's settings.
    pub fn limits(&self, starts: usize) -> Limits {
        Limits {
            start_ns: u64::try_from(self.start_timeout.as_nanos()).unwrap_or(u64::MAX),
            learn_ns: u64::try_from(self.learn_after.as_nanos()).unwrap_or(u64::MAX),
            leases: self.user_reservations,
            waiting: self.user_waiting,
            share: self.user_share as u64,
            starts: u32::try_from(starts).unwrap_or(u32::MAX),
            within: self.within_limits,
            evict_ns: u64::try_from(self.eviction_timeout.as_nanos()).unwrap_or(u64::MAX),
            evict_least: self.eviction_least,
            evict_part: self.eviction_part,
            slots: self.slots.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_limits_are_those_of_the_settings() {
        let Config { admission, guard, .. } = Config::default();
        assert_eq!(admission.limits(guard.starts), Limits::default());
        let admission = Admission { slots: BTreeMap::from([("a".to_owned(), 3)]), user_share: 7, ..admission };
        let limits = admission.limits(5);
        assert_eq!((limits.slots["a"], limits.share, limits.starts), (3, 7, 5));
    }
}
