//! Tests that load programs into this machine's kernel: as root, and one test at a time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot continue fails")]

mod alert;
mod api;
mod block;
mod cgroup;
mod churn;
mod confine;
mod dirty;
mod dying;
mod exit;
mod fault;
mod handshake;
mod history;
mod host;
mod hostile;
mod incident;
mod journal;
mod kill;
mod level;
mod limit;
mod lines;
mod map;
mod mcp;
mod monitor;
mod name;
mod oom;
mod pass;
mod price;
mod process;
mod reclaim;
mod ring;
mod rule;
mod sampled;
mod service;
mod slot;
mod soak;
mod staged;
mod start;
mod statistic;
mod storm;
mod trouble;
mod untrusted;
mod user;
mod volume;
mod workload;
