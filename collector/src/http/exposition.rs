//! The interface between the endpoint and the agent: a snapshot to render pages from, readiness and health.

use std::pin::Pin;
use std::sync::Arc;

use crate::event::Events;

use super::body::{Page, Pages, Rendering};
use super::request::Requests;

pub type SnapshotFuture<'a> = Pin<Box<dyn Future<Output = Option<Arc<dyn Snapshot>>> + Send + 'a>>;

pub trait Exposition: Send + Sync + 'static {
    /// The current snapshot, shared by all requests until the next one. None if the agent is stopping.
    fn snapshot(&self) -> SnapshotFuture<'_>;
    /// What those who follow the agent get, if there is anything.
    fn events(&self) -> Option<Arc<Events>> {
        None
    }
    /// Where requests that change something are decided, if they are.
    fn requests(&self) -> Option<Arc<dyn Requests>> {
        None
    }
    /// The group whose members see on the socket what belongs to others.
    fn group(&self) -> Option<u32> {
        None
    }
    /// Whether the first readings are complete; if not, the reason. Must not wait.
    fn ready(&self) -> Result<(), String>;
    /// Whether the agent works; if not, the reason. Must not wait.
    fn healthy(&self) -> Result<(), String>;
}

/// The state at one moment, rendered as pages.
pub trait Snapshot: Send + Sync + 'static {
    /// Renders a page. Runs on a thread of the blocking pool, once for each page.
    fn render(&self, page: &Page) -> Rendering;
    /// The pages rendered so far. Separate from the snapshot, so that a rendered page does not keep the snapshot alive.
    fn pages(&self) -> &Arc<Pages>;
}
