//! What the endpoint denied, by reason: counted, and logged once a minute if there was much of it. Knows no sockets.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::seat::Peer;
use crate::mutex::lock;

/// This many of one reason within a minute are logged, once.
const MANY: u64 = 10;
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// A TLS handshake failed: no valid client certificate, other versions, or no TLS at all.
    Handshake,
    /// A request on the loopback address for a name that is none of the agent's.
    Host,
    /// A wrong password or user name. A request without any is only asked for one.
    Password,
}

impl Denial {
    pub const ALL: [Denial; 3] = [Denial::Handshake, Denial::Host, Denial::Password];

    fn many(self) -> &'static str {
        match self {
            Denial::Handshake => "failed TLS handshakes",
            Denial::Host => "requests for other host names",
            Denial::Password => "wrong passwords",
        }
    }
}

#[derive(Debug, Default)]
pub struct Denials {
    counts: [AtomicU64; 3],
    /// Of each reason, when its minute began, and how many there were since.
    minutes: Mutex<[Option<(Instant, u64)>; 3]>,
}

impl Denials {
    pub fn add(&self, denial: Denial, peer: Peer) {
        self.counts[denial as usize].fetch_add(1, Ordering::Relaxed);
        if self.is_much(denial, Instant::now()) {
            let what = denial.many();
            tracing::warn!("{MANY} {what} within a minute, the last from {peer}: see headroom_http_denied_total");
        }
    }

    /// In the order of [`Denial::ALL`].
    pub fn counts(&self) -> [u64; 3] {
        Denial::ALL.map(|denial| self.counts[denial as usize].load(Ordering::Relaxed))
    }

    /// Whether this one makes it [`MANY`] within a minute.
    fn is_much(&self, denial: Denial, now: Instant) -> bool {
        let mut minutes = lock(&self.minutes);
        let minute = &mut minutes[denial as usize];
        let (since, count) = minute.filter(|(since, _)| now.duration_since(*since) < MINUTE).unwrap_or((now, 0));
        *minute = Some((since, count + 1));
        count + 1 == MANY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_logged_once_a_minute_and_a_few_are_not() {
        let denials = Denials::default();
        let begin = Instant::now();
        let logged = |denial, second: u64, times: u64| {
            let at = begin + Duration::from_secs(second);
            (0..times).filter(|_| denials.is_much(denial, at)).count()
        };
        assert_eq!(logged(Denial::Password, 0, MANY - 1), 0);
        assert_eq!(logged(Denial::Host, 1, MANY - 1), 0, "each reason counts for itself");
        assert_eq!(logged(Denial::Password, 2, 1000), 1);
        assert_eq!(logged(Denial::Password, 60, MANY - 1), 0);
        assert_eq!(logged(Denial::Password, 61, 1), 1);
    }
}
