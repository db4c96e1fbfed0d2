//! [`Rest`]: when a llama-server that falls asleep may be asked for numbers.
//!
//! It unloads its model after some idle time (`--sleep-idle-seconds`). Asking it for `/metrics` or `/slots` while it is awake counts as work
//! (`server_queue::post` sets `time_last_task`): asked every few seconds, it would never fall asleep. `/slots` wakes who sleeps. Only
//! `/props` does neither. So one that may sleep is never asked for `/slots`. It is asked for `/metrics` while it works, when it is awake
//! anyway; once it was seen idle, not before its idle time is over. Observing delays its sleep by no more than it took to see that it is
//! idle, and once more by its idle time if a request came in between. Who is asleep is asked for `/props` alone.

/// How long one whose idle time nobody knows is left alone, in nanoseconds.
const UNKNOWN_NS: u64 = 3_600_000_000_000;
/// Its clock and ours need not agree, and it looks at its own once a second.
const SPARE_NS: u64 = 2_000_000_000;

#[derive(Clone, Debug)]
pub(super) struct Rest {
    /// Its idle time, if that is known.
    sleep: Option<u64>,
    /// It was seen asleep.
    slept: bool,
    asleep: bool,
    /// It is not asked before.
    until: u64,
    before: Option<[u64; 3]>,
}

/// Whether it works: it has requests, or counters moved.
pub(super) struct Work {
    pub busy: bool,
    pub moved: [u64; 3],
}

impl Rest {
    pub fn new(sleep: Option<u64>) -> Rest {
        Rest { sleep, slept: false, asleep: false, until: 0, before: None }
    }

    /// Whether it may fall asleep, as far as that is known.
    pub fn sleeps(&self) -> bool {
        self.sleep.is_some() || self.slept
    }

    /// Whether it may be asked for numbers in this round.
    pub fn round(&mut self, now: u64, asleep: bool) -> bool {
        if self.asleep && !asleep {
            // A request woke it.
            self.until = 0;
        }
        self.asleep = asleep;
        self.slept |= asleep;
        !asleep && now >= self.until
    }

    /// It was asked, and this is what it did.
    pub fn worked(&mut self, now: u64, work: Work) {
        let moved = self.before.is_none_or(|before| before != work.moved);
        // The first time nobody knows whether anything moved.
        let idle = !work.busy && (!moved || self.before.is_none());
        self.before = Some(work.moved);
        if idle && self.sleeps() {
            self.until = now.saturating_add(self.sleep.map_or(UNKNOWN_NS, |sleep| sleep.saturating_add(SPARE_NS)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    /// A server as llama.cpp makes it, at whole seconds: it works while it has requests, and sleeps after `sleep` idle seconds.
    struct Server {
        sleep: u64,
        busy: fn(u64) -> bool,
        last: u64,
        steps: u64,
        asleep: bool,
    }

    impl Server {
        fn second(&mut self, now: u64) {
            if (self.busy)(now) {
                (self.last, self.asleep, self.steps) = (now, false, self.steps + 1);
            }
            self.asleep |= now - self.last >= self.sleep;
        }
    }

    /// When it is first seen asleep, if it is asked every so many seconds; and how often it was asked for numbers.
    fn observed(sleep: u64, every: u64, told: Option<u64>, busy: fn(u64) -> bool) -> (Option<u64>, u64) {
        let mut server = Server { sleep, busy, last: 0, steps: 0, asleep: false };
        let (mut rest, mut asked) = (Rest::new(told.map(|sleep| sleep * S)), 0);
        for now in 0..1000 {
            server.second(now);
            if now % every == 0 && rest.round(now * S, server.asleep) {
                asked += 1;
                server.last = now;
                rest.worked(now * S, Work { busy: busy(now), moved: [server.steps, 0, 0] });
            }
            if server.asleep {
                return (Some(now), asked);
            }
        }
        (None, asked)
    }

    #[test]
    fn an_idle_server_falls_asleep_while_it_is_observed() {
        for (sleep, every) in [(6, 1), (6, 5), (60, 5), (300, 5), (5, 5), (3, 5)] {
            let (at, _) = observed(sleep, every, Some(sleep), |_| false);
            assert!(at.is_some_and(|at| at <= sleep + every), "{sleep} {every}: {at:?}");
        }
        // Requests until second 100.
        let (at, asked) = observed(30, 5, Some(30), |now| now < 100);
        assert!(at.is_some_and(|at| at <= 100 + 30 + 2 * 5), "{at:?}");
        assert!(asked >= 20, "while it works it is asked: {asked}");
        // One request a minute, each of which is over between two rounds: it may stay awake for another idle time.
        let (at, _) = observed(30, 5, Some(30), |now| now % 60 == 1 && now < 200);
        assert!(at.is_some_and(|at| at <= 181 + 2 * 32), "{at:?}");
    }

    #[test]
    fn one_that_does_not_sleep_is_asked_every_round() {
        assert_eq!(observed(u64::MAX, 5, None, |_| false), (None, 200));
    }

    #[test]
    fn one_that_was_seen_asleep_is_left_alone_until_it_woke() {
        let mut rest = Rest::new(None);
        assert!(!rest.round(0, true) && rest.sleeps());
        assert!(rest.round(S, false), "a request woke it");
        rest.worked(S, Work { busy: true, moved: [1, 0, 0] });
        assert!(rest.round(2 * S, false));
        rest.worked(2 * S, Work { busy: false, moved: [2, 0, 0] });
        assert!(rest.round(3 * S, false), "it worked in between");
        rest.worked(3 * S, Work { busy: false, moved: [2, 0, 0] });
        assert!(!rest.round(600 * S, false), "nobody knows its idle time");
    }
}
