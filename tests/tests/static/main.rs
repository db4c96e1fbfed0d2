//! Tests that need neither root nor the live kernel: the built object, the built binary as seen from a shell, the endpoint with
//! sockets, recorded files of hosts, what is packaged, and the house rules.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot continue fails")]

mod access;
mod action;
mod advise;
mod cli;
mod dashboard;
mod degradation;
mod endpoint;
mod explain;
mod guard;
mod history;
mod host;
mod house;
mod http;
mod isolation;
mod level;
mod manners;
mod name;
mod need;
mod object;
mod page;
mod purity;
mod python;
mod rule;
mod scaling;
mod serve;
mod ship;
mod sink;
mod statistic;
mod status;
mod tidy;
mod top;
mod tree;
mod what_if;

use collector_tests::allocation::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
