//! Limits on the resources that clients may use.

use std::time::Duration;

/// Pages rendered or compressed at the same time, each on a thread of the runtime's blocking pool.
pub(super) const RENDERS: usize = 2;

/// Maximum threads that [`serve`](super::serve) uses in the blocking pool: the renders, one that re-reads the file of
/// [`access`](super::access), and one that checks a password.
pub const POOL: usize = RENDERS + 2;

/// Limits for clients. A connection carries one request, so none stays idle, and each ends at most `head` + `response` after it
/// was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Concurrent connections; further ones get 503, are closed and counted.
    pub connections: usize,
    /// Concurrent scrapes, each counted until its client has read the body: this bounds the bodies in memory beside those of
    /// the current snapshot. Scrapes of one snapshot share a body.
    pub scrapes: usize,
    /// How long a scrape or a password check waits for its turn before it gets 503 and is counted.
    pub queue: Duration,
    /// Timeout of the TLS handshake, and again of receiving the request head.
    pub head: Duration,
    /// Maximum bytes of a request head, at least 8 KiB.
    pub head_bytes: usize,
    /// Timeout for a client to read its response.
    pub response: Duration,
    /// How long responses in flight may continue after shutdown.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 256,
            scrapes: 8,
            queue: Duration::from_secs(5),
            head: Duration::from_secs(5),
            head_bytes: 16 * 1024,
            response: Duration::from_secs(30),
            grace: Duration::from_millis(500),
        }
    }
}
