//! The read-only TCP endpoint: `/metrics`, `/api/v1/workloads`, `/-/healthy`, `/-/ready`. Knows HTTP and what a client may
//! cost; must not know what is published: an [`Exposition`] says that.

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
