//! Limits on the resources that clients may use.

use std::time::Duration;

/// Pages rendered or compressed at the same time, each on a thread of the runtime's blocking pool.
pub(super) const RENDERS: usize = 2;

/// Maximum threads that [`serve`](super::serve) uses in the blocking pool: the renders, one that re-reads the file of
/// [`access`](super::access), and one that checks a password.
pub const POOL: usize = RENDERS + 2;

/// Limits for clients. A connection carries one request, so none stays idle, and each ends at most `head` + `queue` + `response`
/// after it was accepted. Of connections and of scrapes, a peer gets half at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Concurrent connections. At this number the oldest one that was not admitted yet gives way, and is counted.
    pub connections: usize,
    /// Concurrent scrapes, each counted until its client has read the body. At this number the slowest gives way, and is counted.
    pub scrapes: usize,
    /// Bytes of all bodies in memory. Above this number, those who still read the oldest body give way, and are counted.
    pub bodies: usize,
    /// How long a scrape or a password check waits for its turn before it gets 503 and is counted.
    pub queue: Duration,
    /// Timeout of the TLS handshake, and again of receiving the request head.
    pub head: Duration,
    /// Maximum bytes of a request head, at least 8 KiB.
    pub head_bytes: usize,
    /// Timeout for a client to read its response.
    pub response: Duration,
    /// How long a client may take nothing of its response.
    pub stall: Duration,
    /// How long responses in flight may continue after shutdown.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 256,
            scrapes: 32,
            bodies: 64 << 20,
            queue: Duration::from_secs(5),
            head: Duration::from_secs(5),
            head_bytes: 16 * 1024,
            response: Duration::from_secs(30),
            stall: Duration::from_secs(5),
            grace: Duration::from_millis(500),
        }
    }
}
