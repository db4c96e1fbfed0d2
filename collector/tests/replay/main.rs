//! Recordings through the fold: what comes out is compared with what is known of them. Needs nothing of the machine.

#![allow(clippy::unwrap_used)]

mod clock;
mod exposition;
mod incident;
