//! What clients may cost.

use std::time::Duration;

/// Pages that are rendered or compressed at the same time, each by a thread of the runtime's blocking pool.
pub(super) const RENDERS: usize = 2;

/// Threads of the blocking pool that [`serve`](super::serve) uses at most: the renders, one that reads the file of
/// [`access`](super::access) anew, and one that checks a password.
pub const POOL: usize = RENDERS + 2;

/// What clients may cost. A connection carries one request, so that none is held idle and each has an end:
/// `head` + `response` after it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; one beyond is answered 503, closed and counted.
    pub connections: usize,
    /// Scrapes at once, each from being accepted until its client has read the body: no more bodies than these are held in
    /// memory beside those of the current snapshot. Scrapes of one snapshot share a body.
    pub scrapes: usize,
    /// How long a scrape, or a password, waits for its turn before it is answered 503 and counted.
    pub queue: Duration,
    /// How long a client may take for the handshake of TLS, and again to send the head of its request.
    pub head: Duration,
    /// Bytes in the head of a request, at least 8 KiB; one with more is refused.
    pub head_bytes: usize,
    /// How long a client may take to read its response.
    pub response: Duration,
    /// How long responses in flight may go on once the endpoint is shut down.
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
