//! What the endpoint asks of whoever publishes: a snapshot to render pages from, and two verdicts.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use super::body::{Page, Pages};

/// A snapshot that is on its way.
pub type SnapshotFuture<'a> = Pin<Box<dyn Future<Output = Option<Arc<dyn Snapshot>>> + Send + 'a>>;

/// What is published.
pub trait Exposition: Send + Sync + 'static {
    /// The current snapshot: the same for all that ask before the next one. None if the agent is stopping.
    fn snapshot(&self) -> SnapshotFuture<'_>;
    /// Whether the figures can be relied on yet; if not, why. Must not wait.
    fn ready(&self) -> Result<(), String>;
    /// Whether the agent works; if not, why. Must not wait.
    fn healthy(&self) -> Result<(), String>;
}

/// The state at one moment, as pages.
pub trait Snapshot: Send + Sync + 'static {
    /// Renders a page. Called by a thread of the pool, which may take its time, and once for each page.
    fn render(&self, page: Page) -> Bytes;
    /// What was rendered so far. Apart from the snapshot, which nobody needs to hold for what is rendered already.
    fn pages(&self) -> &Arc<Pages>;
}
