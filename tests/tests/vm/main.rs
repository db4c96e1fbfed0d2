//! Tests that would harm a machine that others use. They run in virtual machines: `cargo xtask test vm`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot continue fails")]

mod block;
mod lockdown;
mod memory;
mod node;
mod probe;
mod slot;
