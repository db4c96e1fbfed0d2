//! What the tests share: the agent as a child process, temporary cgroups, and a parser of expositions.
//!
//! The tests run the built `headroom` and check what it publishes. They compare it with the kernel's own files or with
//! what the test itself did, never with the agent's own numbers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot continue fails")]

pub mod actuator;
pub mod agent;
pub mod allocation;
pub mod alone;
pub mod attack;
pub mod binary;
pub mod bpf;
pub mod browser;
pub mod cached;
pub mod cgroup;
pub mod cuda;
pub mod dashboard;
pub mod deep;
pub mod exposition;
pub mod forest;
pub mod gguf;
pub mod home;
pub mod llama;
pub mod load;
pub mod loopback;
pub mod model;
pub mod monitor;
pub mod mount;
pub mod nvml;
pub mod past;
pub mod process;
pub mod provocation;
pub mod python;
pub mod receiver;
pub mod record;
pub mod require;
pub mod scaling;
pub mod scratch;
pub mod serve;
pub mod shown;
pub mod soak;
pub mod stage;
pub mod swap;
pub mod sysctl;
pub mod tail;
pub mod terminal;
pub mod tick;
pub mod trace;
pub mod user;
