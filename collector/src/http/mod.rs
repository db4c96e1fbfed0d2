//! The HTTP endpoint: the page at `/`, `/metrics`, `/api/v1/…`, `/-/healthy`, `/-/ready`, over TCP and a Unix socket; requests that change
//! something over the socket alone. Knows HTTP, access and limits; must not know the engine: an [`Exposition`] provides the contents.

pub mod access;
mod body;
mod connection;
mod denial;
mod exposition;
mod follow;
mod group;
mod handshake;
mod host;
mod limit;
mod listener;
mod negotiation;
mod problem;
mod render;
mod request;
mod route;
mod seat;
mod server;
mod site;
mod stream;
mod tally;
mod turn;

pub use crate::exposition::Format;
pub use body::{Answer, Page, Pages, Rendering};
pub use denial::Denial;
pub use exposition::{Exposition, Snapshot, SnapshotFuture};
pub use group::groups;
pub use host::Hosts;
pub use limit::{Limits, PAGE_SHARE, POOL};
pub use listener::{Address, BindError, Listener};
pub use request::{Client, Requests};
pub use route::{HEALTHY, WORKLOADS};
pub use seat::Peer;
pub use server::{Door, serve};
pub use tally::Tally;
pub use turn::{Lane, Turns};
