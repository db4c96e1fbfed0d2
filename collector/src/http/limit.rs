//! Limits on the resources that clients may use.

use std::time::Duration;

/// How many callers are looked at together.
pub const LOOKS: usize = 2;
/// Maximum threads that [`serve`](super::serve) uses in the blocking pool: one that renders, one that compresses, one that reads the
/// history's tier on disk, one that reads processes, one that examines the
/// host, one that re-reads the file of [`access`](super::access), one that checks a password, and two that look at who makes a request.
pub const POOL: usize = 7 + LOOKS;

/// One of this many parts of [`Limits::bodies`] is the most that one page may have.
pub const PAGE_SHARE: usize = 3;

/// Limits for clients. A connection carries one request, so none stays idle, and each ends at most `head` + `queue` + `response`
/// after it was accepted. Of connections and of scrapes, a peer gets half at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Concurrent connections. At this number the oldest one that was not admitted yet gives way, and is counted.
    pub connections: usize,
    /// Concurrent scrapes, each counted until its client has read the body. At this number the slowest gives way, and is counted.
    pub scrapes: usize,
    /// Bytes of all bodies in memory, with one that is being rendered. Those who still read the oldest give way to the next page, and
    /// are counted; a compressed page may come on top.
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
