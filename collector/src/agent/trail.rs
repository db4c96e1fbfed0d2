//! Which changes of leases go to the log and the journal one by one. Those of who leases very often become a sum: nothing is lost, and
//! nobody's many changes push others' events out. Knows neither.

use std::collections::BTreeMap;

use collector_core::lease::{Change, Step, Sum};
use collector_core::outcome::Outcome;
use collector_core::rate::{Bucket, Rates};

/// Changes of one user, and of all: fewer than the journal and the log take.
const OF_USER: Bucket = Bucket::new(1.0, 40.0);
const OF_ALL: Bucket = Bucket::new(20.0, 200.0);
/// What users are asked to give up has a share of its own, because somebody waits for it.
const ASKED: Bucket = Bucket::new(8.0, 256.0);
/// How often sums are told, in nanoseconds, and of how many users.
const INTERVAL_NS: u64 = 60_000_000_000;
const USERS: usize = 256;

pub struct Trail {
    of_user: Rates,
    of_all: Bucket,
    asked: Rates,
    sums: BTreeMap<u32, BTreeMap<&'static str, u64>>,
    /// When they were told last, in nanoseconds since the Unix epoch.
    told: u64,
}

impl Default for Trail {
    fn default() -> Trail {
        let (of_user, asked) = (Rates::new(OF_USER), Rates::new(ASKED));
        Trail { of_user, of_all: OF_ALL, asked, sums: BTreeMap::new(), told: 0 }
    }
}

impl Trail {
    /// Whether this change goes to the log and the journal; if not, it is counted. A claim that starts to wait goes to neither: its end does.
    pub fn passes(&mut self, time: u64, change: &Change) -> bool {
        let (step, uid) = (change.step, change.lease.uid);
        if step == Step::Waits {
            tracing::debug!(reservation = change.lease.id, uid, "{}", change.sentence);
            return false;
        }
        let user = uid.to_string();
        let passes = match change.lease.eviction {
            Some(_) => self.asked.allows(&user, time),
            None => self.of_user.allows(&user, time) && self.of_all.allows(time),
        };
        if !passes && (self.sums.contains_key(&uid) || self.sums.len() < USERS) {
            *self.sums.entry(uid).or_default().entry(step.label()).or_default() += 1;
        }
        passes
    }

    /// At a tick: what was counted since the last time.
    pub fn tick(&mut self, time: u64) -> Vec<Outcome> {
        if self.sums.is_empty() || time.abs_diff(self.told) < INTERVAL_NS {
            return Vec::new();
        }
        self.told = time;
        self.rest().collect()
    }

    pub fn rest(&mut self) -> impl Iterator<Item = Outcome> + use<> {
        let sum = |(uid, steps)| Outcome::LeaseSum(Box::new(Sum { uid, steps }));
        std::mem::take(&mut self.sums).into_iter().map(sum)
    }
}
