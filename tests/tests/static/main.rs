//! What needs neither root nor the live kernel: the built object, the built binary as a shell sees it, the endpoint over
//! sockets, files of hosts that were recorded, what is shipped, and the house rules.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod access;
mod cli;
mod endpoint;
mod explain;
mod host;
mod http;
mod name;
mod object;
mod purity;
mod rule;
mod ship;
mod sink;
mod statistic;
mod tidy;
mod tree;

use collector_tests::allocation::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
