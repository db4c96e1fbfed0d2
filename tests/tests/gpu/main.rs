//! GPUs and their driver: as root, with stand-ins for the libraries, or a real GPU.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot continue fails")]

mod degradation;
mod device;
mod hardware;
mod hostile;
mod link;
mod many;
mod need;
mod numa;
mod python;
mod starved;
mod together;
mod transfer;
mod trouble;
