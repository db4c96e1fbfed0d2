//! The read-only TCP endpoint: `/metrics`, `/api/v1/workloads`, `/-/healthy`, `/-/ready`. Knows HTTP and what a client may cost; must not know
//! what is published: an [`Exposition`] says that.

pub mod access;
mod negotiation;
mod route;
mod server;

use std::time::Duration;

use bytes::Bytes;

pub use crate::exposition::Format;
pub use server::{BindError, Listener, serve};

/// Where the workloads are listed.
pub const WORKLOADS: &str = "/api/v1/workloads";

/// What is published. Called on the runtime's only thread, so nothing in it may block.
pub trait Exposition: Send + Sync + 'static {
    /// Every metric as it stands, rendered.
    fn metrics(&self, format: Format) -> Bytes;
    /// Every workload as it stands, as JSON: a [`crate::api::workloads::Summary`].
    fn workloads(&self) -> Bytes;
    /// Whether the figures can be relied on yet; if not, why.
    fn ready(&self) -> Result<(), String>;
    /// Whether the agent works; if not, why.
    fn healthy(&self) -> Result<(), String>;
}

/// What clients may cost. A connection carries one request, so that none is held idle and each has an end:
/// `head` + `response` after it was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once; one beyond is answered 503, closed and counted.
    pub connections: usize,
    /// Expositions held in memory at once, from being rendered until their client has read them.
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
