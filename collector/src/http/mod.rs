//! The read-only HTTP endpoint: `/metrics`, `/api/v1/workloads`, `/-/healthy`, `/-/ready`. Knows HTTP, access and limits; must
//! not know the engine: an [`Exposition`] provides the contents.

pub mod access;
mod body;
mod exposition;
mod limit;
mod negotiation;
mod route;
mod server;

pub use crate::exposition::Format;
pub use body::{Page, Pages};
pub use exposition::{Exposition, Snapshot, SnapshotFuture};
pub use limit::{Limits, POOL};
pub use route::WORKLOADS;
pub use server::{BindError, Listener, serve};
