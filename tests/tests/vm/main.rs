//! What would harm a machine that others need: for one of its own, `cargo xtask test vm`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod block;
mod memory;
mod probe;
