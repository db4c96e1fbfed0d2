//! Recordings through the fold: what comes out is compared with what is known of them. Needs nothing of the machine, and links
//! nothing but the core.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod alert;
mod clock;
mod fixture;
mod golden;
mod incident;
mod kill;
mod series;
