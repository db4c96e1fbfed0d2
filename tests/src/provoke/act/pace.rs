//! Keeps work at a rate.

use std::time::{Duration, Instant};

pub struct Pace {
    begun: Instant,
    /// Per second; 0: as fast as it goes.
    rate: u64,
    done: u64,
}

impl Pace {
    pub fn new(rate: u64) -> Pace {
        Pace { begun: Instant::now(), rate, done: 0 }
    }

    /// Call after this much work: waits until it is due.
    pub fn after(&mut self, work: u64) {
        self.done += work;
        if self.rate == 0 {
            return;
        }
        let due = Duration::from_secs_f64(self.done as f64 / self.rate as f64);
        if let Some(early) = due.checked_sub(self.begun.elapsed()).filter(|early| early.as_millis() >= 5) {
            std::thread::sleep(early);
        }
    }
}
