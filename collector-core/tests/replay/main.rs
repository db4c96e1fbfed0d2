//! Replays recordings through the engine and compares the results with golden files. Needs nothing from the machine, and links
//! only the core.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod advice;
mod alert;
mod clock;
mod degradation;
mod fixture;
mod forecast;
mod golden;
mod incident;
mod kill;
mod latency;
mod leak;
mod learn;
mod level;
mod made;
mod model;
mod need;
mod past;
mod schedule;
mod series;
mod served;
mod told;
mod what_if;
