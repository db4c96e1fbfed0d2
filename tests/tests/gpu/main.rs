//! GPUs and their driver: as root, against libraries that play them, or against a real one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod device;
mod hardware;
mod many;
mod transfer;
mod trouble;
